"""What a name in a log means: a loss term, the learning rate, a time, a score, or nothing for a chart."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

Role = Literal[
    "term",
    "lr",
    "seconds",
    "data",
    "memory",
    "grad_norm",
    "map50",
    "map50_95",
    "map",
    "score",
    "cumulative",
    "none",
]

_LR = re.compile(r"(?:^|[/_ ])(?:lr|learning[_ ]?rate)(?:$|[/_ -]|\d)")
_SECONDS = {"time", "iter_time", "iter time", "batch_time", "batch time", "step_time", "batch", "train/time"}
_DATA = {"data_time", "data time", "data", "load_time"}
_MEMORY = re.compile(
    r"^(?:gpu|cuda|max|peak)?[_ ]?(?:mem|memory)(?:[_ ](?:occupy|reserved|allocated|used|usage))?$"
)
_GRAD = re.compile(r"^(?:total_)?(?:grad|gradient)[_ ]?norm$|^gnorm$|^grad$")
_NONE = {
    "eta", "epoch", "epochs", "iter", "iters", "iteration", "iterations", "step", "steps", "global_step",
    "size", "img_size", "image_size", "input_size", "v_num", "instances", "labels", "ep",
    "last_time", "last_data_time", "n_parameters", "parameters", "params", "gflops", "version",
    "batch_size", "bs", "num_samples", "seed", "it", "total_flos",
}  # fmt: skip
_50_95 = re.compile(
    r"(?:map|ap)[_@ ]*\(?(?:50|\.5|0\.50?)[-:_](?:0?\.)?95"
    r"|coco(?:/\w+)?[_/]bbox_map$|^(?:bbox[_/])?ap$|bbox_map$|bbox/ap$"
)
_50 = re.compile(
    r"(?:map|ap)[_@ ]*\(?(?:iou=)?(?:50|\.5|0\.50?)\b(?![-:_.]?\d|[-:]\.)|(?:map|ap)_?50(?:\(\w\))?$"
)
_MAP = re.compile(r"(?:^|[/_ ])map$")
_SCORE = re.compile(
    r"(?:^|[/_ .])(?:m?ap[smlr]?\d*|ar[sml]?\d*|acc(?:uracy)?(?:@?\d+)?"
    r"|precision|recall|f1|top-?\d)(?:$|[(/_@ ])|metrics/|\bmap|_map|^(?:p|r)$"
)
LOSS = re.compile(
    r"loss|^l_?(?:cls|class|box|obj|conf|iou|giou|ciou|coord|xy|wh|noobj|dfl|reg|total|bbox)$|^total$|_l$"
)
TOTAL = re.compile(r"^(?:train(?:ing)?[/_ ])?(?:total|total[_ ]?loss|loss[_ ]?total|loss)$", re.I)
VALIDATION = re.compile(r"^(?:val(?:id(?:ation)?)?|dev|test|eval)[/_ .]|[/_ ]val(?:$|[/_ ])", re.I)
_DERIVED = re.compile(
    r"(?:^|[/_ .-])(?:avg|average|mean|ema|smooth(?:ed)?|running|best|lowest|min|scale|scaler|unscaled)"
    r"(?:$|[/_ .-])"
)
_BEST = re.compile(r"(?:^|[/_ .-])(?:best|lowest|min)(?:$|[/_ .-])", re.I)
_TWICE = re.compile(r"[/_ ](?:step|epoch)$", re.I)


@lru_cache(maxsize=4096)
def role(name: str) -> Role:
    """The meaning of a name as the tools of the field use it."""
    low = name.lower()
    if low in _NONE:
        return "none"
    if _LR.search(low):
        return "lr"
    if low in _SECONDS:
        return "seconds"
    if low in _DATA:
        return "data"
    if _MEMORY.match(low):
        return "memory"
    if _GRAD.match(low):
        return "grad_norm"
    if "loss" not in low:
        if _50_95.search(low):
            return "map50_95"
        if _50.search(low):
            return "map50"
        if _MAP.search(low):
            return "map"
        if _SCORE.search(low):
            return "score"
    return "term"


@lru_cache(maxsize=4096)
def is_loss(name: str) -> bool:
    """Whether it is a part of a loss by its name."""
    return role(name) == "term" and LOSS.search(name.lower()) is not None


@lru_cache(maxsize=4096)
def is_term(name: str) -> bool:
    """Whether it may be back-propagated: no average, record, scale or unweighted double of a loss."""
    return is_loss(name) and not is_validation(name) and not _DERIVED.search(name.lower())


def is_best(name: str) -> bool:
    """A record kept over the epochs: infinite until there is one."""
    return _BEST.search(name) is not None


def is_printed_twice(name: str) -> bool:
    """Lightning's ``loss_step`` and ``loss_epoch``, beside the loss itself."""
    return _TWICE.search(name) is not None


def is_validation(name: str) -> bool:
    return VALIDATION.search(name) is not None


def in_bytes(value: float, unit: str) -> float:
    """Memory as printed, in bytes: ``10.7G``, ``4605Mb``; a bare number is megabytes unless too large."""
    match unit[:1].upper():
        case "G":
            return value * 1e9
        case "M":
            return value * 1e6
        case "K":
            return value * 1e3
        case "B":
            return value
        case _:
            return value if value > 1e7 else value * 1e6
