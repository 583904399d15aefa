"""Networks by name: which grids they have, and how they are built."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ..config import ModelConfig
from ..errors import UserError
from ..layout import CANONICAL, Head, Layout
from . import compact, yolov2
from .darknet.network import build_darknet


@dataclass(frozen=True)
class Entry:
    """``build(heads, config, cfg)`` gives a module from images to a list of canonical predictions; ``cfg`` is
    the text of ``config.cfg``."""

    build: Callable[[Sequence[Head], ModelConfig, str], nn.Module]
    strides: tuple[int, ...] = ()
    """Of its heads where the config names none."""
    choices: tuple[int, ...] = ()
    """Strides that a head may have; empty: those its cfg has. The input's sides are multiples of the largest
    one chosen."""


NETWORKS = {
    "yolov2": Entry(lambda heads, *_: yolov2.YOLOv2(heads), yolov2.STRIDES, yolov2.STRIDES),
    "compact": Entry(lambda heads, config, _: compact.Compact(heads, config.width), (8,), compact.CHOICES),
    "darknet": Entry(build_darknet),
}


def network_entry(config: ModelConfig) -> Entry:
    """Raises ``UserError`` for an unknown name, proposing the nearest."""
    if config.name not in NETWORKS:
        close = difflib.get_close_matches(config.name, NETWORKS, 1, 0.3)
        remedy = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(NETWORKS)}"
        raise UserError(f"no network {config.name!r}", where="model.name", fix=remedy)
    return NETWORKS[config.name]


def head_strides(config: ModelConfig) -> tuple[int, ...]:
    """The strides of the heads, finest first. Raises ``UserError`` where network and input do not fit."""
    entry = network_entry(config)
    if not entry.choices:
        strides = tuple(config.strides)
    else:
        strides = tuple(config.strides) or entry.strides
        in_order = sorted(set(strides))
        if list(strides) != in_order:  # the anchors are listed a head: sorting would mix them
            raise UserError(
                f"{list(strides)} does not go from the finest head to the coarsest",
                where="model.strides",
                fix=f"write {in_order}, and model.anchors in the same order",
            )
    if not strides:
        raise UserError("names no cfg", where="model.cfg", fix='write cfg = "yolov3.cfg"')
    wrong = [stride for stride in strides if entry.choices and stride not in entry.choices]
    if wrong:
        raise UserError(
            f"{config.name} has no head of stride {wrong[0]}",
            where="model.strides",
            fix=f"choose from {', '.join(map(str, entry.choices))}",
        )
    largest = strides[-1]
    for side in config.input_wh:
        if side % largest:
            below = max(largest, side // largest * largest)
            raise UserError(
                f"{side} is no multiple of {largest}, the stride of {config.name}'s coarsest head",
                where="model.input_size",
                fix=f"try {below} or {below + largest}",
            )
    return strides


class Declared(nn.Module):
    """A network whose predictions come out in a declared layout: one tensor, or a list with several heads."""

    def __init__(self, network: nn.Module, heads: Sequence[Head], layout: Layout) -> None:
        super().__init__()
        self.network = network
        self._heads = tuple(heads)
        self._layout = layout

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        preds = [
            self._layout.write_pred(pred.float(), head)
            for pred, head in zip(self.network(images), self._heads, strict=True)
        ]
        return preds[0] if len(preds) == 1 else preds


def build_network(
    config: ModelConfig, heads: Sequence[Head], layout: Layout = CANONICAL, cfg: str = ""
) -> Declared:
    """A fresh network of the registry, weights from torch's current random state. ``cfg``: its text."""
    return Declared(network_entry(config).build(heads, config, cfg), heads, layout)
