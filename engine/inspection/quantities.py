"""What a grid can show: one value a slot, by name, with the kind of scale it wants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..layout import TARGET
from .frames import BOX_NAMES, Frame

Scale = Literal["unit", "diverging", "sequential"]
"""unit: 0..1, the same everywhere. diverging: around 0. sequential: from 0 up."""

Floats = NDArray[np.float32]
Anchor = int | Literal["max"]
MAX_SAMPLES = 16_384
"""Values taken of a map when its scale is estimated."""


@dataclass(frozen=True)
class Quantity:
    """``name`` is also what the slice language calls it. ``masked``: NaN where a slot holds no truth."""

    name: str
    scale: Scale
    description: str
    masked: bool = False


_TARGET_TEXT: dict[str, tuple[Scale, str]] = {
    "mask": ("unit", "1 where the slot holds a truth"),
    "class": ("sequential", "the truth's class"),
    "x": ("unit", "the truth's centre, 0..1 of the input"),
    "y": ("unit", "the truth's centre, 0..1 of the input"),
    "w": ("unit", "the truth's width, 0..1 of the input"),
    "h": ("unit", "the truth's height, 0..1 of the input"),
    "weight": ("sequential", "the box term's weight, 2 - w h"),
    "iou": ("unit", "IoU of the decoded box with the truth, as the loss filled it in"),
}


def list_quantities(frame: Frame) -> list[Quantity]:
    """Everything this frame can show, the most looked at first; absent tensors give nothing."""
    found: list[Quantity] = []
    has_pred, has_targets = frame.pred(0) is not None, frame.targets(0) is not None
    has_boxes = frame.decoded(0) is not None
    if has_pred:
        found.append(Quantity("conf", "unit", "sigmoid of the confidence"))
    if has_boxes and has_targets:
        found.append(Quantity("iou", "unit", "IoU of the decoded box with the truth", masked=True))
    found += [
        Quantity(f"loss.{t}", "sequential", f"each slot's part of {t}") for t in frame.snapshot.map_terms
    ]
    if has_boxes and has_targets:
        found += [
            Quantity(f"error.{n}", "sequential", f"|decoded {n} - target {n}|", masked=True)
            for n in BOX_NAMES
        ]
    if frame.reference_boxes(0) is not None and has_boxes:
        found += [Quantity(f"differ.{n}", "diverging", f"decoded {n} - reference {n}") for n in BOX_NAMES]
    if frame.reference is not None and frame.reference.pred(0) is not None and has_pred:
        found.append(Quantity("differ.conf", "diverging", "confidence - the reference's confidence"))
    if has_boxes:
        found += [Quantity(f"decoded.{n}", "unit", f"decoded {n}, 0..1 of the input") for n in BOX_NAMES]
    if frame.reference_boxes(0) is not None:
        found += [Quantity(f"reference.{n}", "unit", f"the reference's decoded {n}") for n in BOX_NAMES]
    if has_pred:
        found += [Quantity(f"pred.{n}", "diverging", _describe("raw", n, frame)) for n in frame.channels(0)]
    if has_targets:
        found += [_target_quantity(n, frame) for n in frame.layout.target]
    if frame.grad(0) is not None:
        found += [
            Quantity(f"grad.{n}", "diverging", _describe("gradient of total by", n, frame))
            for n in frame.channels(0)
        ]
    return found


def find_quantity(frame: Frame, name: str) -> Quantity:
    """Raises ``KeyError`` where the frame has no such quantity."""
    for quantity in list_quantities(frame):
        if quantity.name == name:
            return quantity
    raise KeyError(name)


def quantity_map(frame: Frame, name: str, head: int) -> Tensor:
    """``[B, H, W, A]`` float32. Raises ``KeyError`` where the frame has no such quantity."""
    key = (name, head)
    if key not in frame.maps:
        with torch.no_grad():
            values = _compute(frame, name, head)
        if values is None:
            raise KeyError(name)
        frame.maps[key] = values
    return frame.maps[key]


def grid(frame: Frame, name: str, head: int, image: int, anchor: Anchor) -> Floats:
    """``[H, W]``: one image's map at one anchor, or at each cell the anchor of largest magnitude.

    With ``"max"``, a NaN wins over every number, except in masked quantities, where it means "no truth".
    """
    values = quantity_map(frame, name, head)[image]
    if anchor != "max":
        return np.ascontiguousarray(values[..., anchor].numpy())
    size = values.abs()
    lowest = float("-inf") if _is_masked(name) else float("inf")
    size = torch.where(size.isnan(), lowest, size)
    best = size.argmax(dim=-1, keepdim=True)
    return np.ascontiguousarray(values.gather(-1, best).squeeze(-1).numpy())


def positive_grid(frame: Frame, head: int, image: int, anchor: Anchor) -> NDArray[np.bool_]:
    """``[H, W]``: cells that hold a truth, at one anchor or at any."""
    positives = frame.positives(head)
    if positives is None:
        shape = frame.heads[head]
        return np.zeros((shape.grid_h, shape.grid_w), dtype=np.bool_)
    cells = positives[image].any(-1) if anchor == "max" else positives[image][..., anchor]
    return np.ascontiguousarray(cells.numpy())


def scale_of(name: str, frames: Iterable[Frame], heads: Sequence[int] | None = None) -> tuple[float, float]:
    """One (low, high) for a quantity over all the frames, so that colours mean the same through time.

    ``unit`` is 0..1. The others span the 99.5th percentile of each frame's magnitudes, so that a single
    wild slot does not grey out the rest; diverging scales are symmetric. NaN and infinity do not count.
    """
    ranges: list[tuple[float, float]] = []
    scale: Scale | None = None
    for frame in frames:
        try:
            scale = find_quantity(frame, name).scale if scale is None else scale
            if scale == "unit":
                return 0.0, 1.0
            for head in range(len(frame.heads)) if heads is None else heads:
                found = _range(frame, name, head)
                ranges += [found] if found else []
        except KeyError:
            continue
    lows, highs = [low for low, _ in ranges], [high for _, high in ranges]
    if not highs:
        return (-1.0, 1.0) if scale == "diverging" else (0.0, 1.0)
    low, high = min(lows), max(highs)
    if scale == "diverging":
        high = max(abs(low), abs(high)) or 1.0
        return -high, high
    low = min(low, 0.0)
    return (low, high) if high > low else (low, low + 1.0)


def _range(frame: Frame, name: str, head: int) -> tuple[float, float] | None:
    """The 0.5th and 99.5th percentile of a map, measured once a frame; None where nothing is finite."""
    key = (name, head)
    if key not in frame.ranges:
        values = quantity_map(frame, name, head).reshape(-1)
        values = values[:: max(1, values.numel() // MAX_SAMPLES)]
        values = values[values.isfinite()]
        if name.startswith(("targets.", "loss.")) and bool((values != 0).any()):
            values = values[values != 0]  # nearly all slots hold no truth: they would be the whole range
        if not values.numel():
            frame.ranges[key] = None
        else:
            low, high = values.quantile(torch.tensor([0.005, 0.995])).tolist()
            frame.ranges[key] = (low, high)
    return frame.ranges[key]


def _is_masked(name: str) -> bool:
    return name == "iou" or name.startswith("error.")


def _target_quantity(channel: str, frame: Frame) -> Quantity:
    """As it stands in the tensor: box channels in the declared form."""
    scale, text = _TARGET_TEXT[channel]
    form: str = "image"
    if channel in ("x", "y"):
        form = frame.layout.target_xy
    elif channel in ("w", "h"):
        form = frame.layout.target_wh
    if form != "image":
        scale, text = (
            "diverging" if form == "log-anchor" else "sequential",
            f"the truth's {channel}, {form} form",
        )
    return Quantity(f"targets.{channel}", scale, text)


def _describe(prefix: str, channel: str, frame: Frame) -> str:
    if channel.startswith("class"):
        return f"{prefix} {channel} ({frame.class_name(int(channel[5:]))})"
    return f"{prefix} {channel}"


def _compute(frame: Frame, name: str, head: int) -> Tensor | None:
    group, _, channel = name.partition(".")
    if name == "conf":
        raw = frame.pred_channel(head, "conf")
        return None if raw is None else raw.sigmoid()
    if name == "iou":
        return frame.iou(head)
    if group in ("pred", "grad") and channel in frame.channels(head):
        return frame.pred_channel(head, channel, group)
    if group == "loss":
        return frame.loss_map(channel, head)
    if group == "targets" and channel in frame.layout.target:
        return _column(frame.declared_targets(head), frame.layout.target.index(channel))
    if name == "differ.conf":
        own, theirs = frame.pred_channel(head, "conf"), frame.reference_pred(head, "conf")
        return None if own is None or theirs is None else own.sigmoid() - theirs.sigmoid()
    if channel not in BOX_NAMES:
        return None
    k = BOX_NAMES.index(channel)
    decoded, reference = _column(frame.decoded(head), k), _column(frame.reference_boxes(head), k)
    if group == "decoded":
        return decoded
    if group == "reference":
        return reference
    if group == "differ" and decoded is not None and reference is not None:
        return decoded - reference
    targets = frame.targets(head)
    if group == "error" and decoded is not None and targets is not None:
        error = (decoded - targets[..., TARGET.index(channel)]).abs()
        return error.masked_fill(targets[..., 0] == 0, float("nan"))
    return None


def _column(tensor: Tensor | None, k: int) -> Tensor | None:
    return None if tensor is None else tensor[..., k]
