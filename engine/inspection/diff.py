"""Where a step and its reference disagree, in which channels, and whose function it is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..layout import CANONICAL, TARGET
from .frames import BOX_NAMES, Frame, built_in_decode
from .slots import Slot, unravel

ASSIGN_CHANNELS = ("mask", "class", "x", "y", "w", "h")
"""What ``assign`` alone decides: the weight follows from the box, the iou is filled in by the loss."""


@dataclass(frozen=True)
class Tolerance:
    """Two values agree within ``absolute + relative * |reference|``. In a 416 px input the default absolute
    tolerance is 0.04 px of a box."""

    absolute: float = 1e-4
    relative: float = 1e-3

    def agree(self, value: float, reference: float) -> bool:
        """As ``differing``, for two numbers."""
        if math.isnan(value) or math.isnan(reference):
            return math.isnan(value) and math.isnan(reference)
        if math.isinf(value) or math.isinf(reference):
            return value == reference
        return abs(value - reference) <= self.absolute + self.relative * abs(reference)


@dataclass(frozen=True, eq=False)
class Disagreement:
    """One tensor against the reference's, over all heads and images."""

    tensor: str
    function: str
    """Which of the contract's functions makes that tensor; empty where it is the network's."""
    place: str
    """``my_yolo.py:41``, or empty where the built-in function ran."""
    masks: tuple[Tensor, ...]
    """A head: ``[B, H, W, A]`` bool, slots where any channel differs."""
    counts: dict[str, int]
    """Differing slots a channel, of all the channels compared."""
    slots: int
    worst: Slot | None
    """The slot of the largest difference; a NaN on one side alone is larger than any."""
    reads: tuple[str, ...]
    """decode: the channels it was shown to read where ``x y w h`` are declared."""
    reference_name: str

    @property
    def count(self) -> int:
        """Slots that differ."""
        return sum(int(mask.sum()) for mask in self.masks)

    @property
    def channels(self) -> list[str]:
        """The channels that differ anywhere, in order."""
        return [name for name, count in self.counts.items() if count]

    @property
    def text(self) -> str:
        """One line: "`decode` (my.py:41): 845 of 845 slots differ from the reference in x y w h"."""
        who = f"`{self.function}`" if self.function else self.tensor
        place = f" ({self.place})" if self.place else ""
        if not self.count:
            return f"{who}{place}: agrees with {self.reference_name} in all {self.slots} slots"
        reads = f" reads {' '.join(self.reads)} where x y w h are declared" if self.reads else ""
        channels = " ".join(self.channels)
        return (
            f"{who}{place}{reads}: {self.count} of {self.slots} slots differ "
            f"from {self.reference_name} in {channels}"
        )


def differing(value: Tensor, reference: Tensor, tolerance: Tolerance = Tolerance()) -> Tensor:
    """Elementwise bool. Two NaN agree, so do two infinities of one sign; a NaN and a number do not."""
    return ~torch.isclose(value, reference, rtol=tolerance.relative, atol=tolerance.absolute, equal_nan=True)


def find_disagreements(frame: Frame, tolerance: Tolerance = Tolerance()) -> list[Disagreement]:
    """What can be compared, first cause first: ``pred``, ``targets``, ``decoded``.

    Empty without a reference. A tensor that agrees is listed too, with a count of 0.
    """
    found = []
    heads = range(len(frame.heads))
    theirs = frame.reference
    if theirs is not None and theirs.pred(0) is not None and frame.pred(0) is not None:
        names = frame.channels(0)
        pairs = [
            (
                _named(frame.pred(k), frame.channels(k), names),
                _named(theirs.pred(k), theirs.channels(k), names),
            )
            for k in heads
        ]
        found.append(_compare(frame, "pred", "", names, pairs, tolerance))
    if theirs is not None and theirs.targets(0) is not None and frame.targets(0) is not None:
        channels = list(TARGET)
        names = list(ASSIGN_CHANNELS)
        pairs = [
            (_named(frame.targets(k), channels, names), _named(theirs.targets(k), channels, names))
            for k in heads
        ]
        found.append(_compare(frame, "targets", "assign", names, pairs, tolerance))
    if frame.reference_boxes(0) is not None and frame.decoded(0) is not None:
        boxes = list(BOX_NAMES)
        pairs = [
            (_named(frame.decoded(k), boxes, boxes), _named(frame.reference_boxes(k), boxes, boxes))
            for k in heads
        ]
        found.append(_compare(frame, "decoded", "decode", boxes, pairs, tolerance))
    return found


def mismatch_mask(frame: Frame, head: int, tolerance: Tolerance = Tolerance()) -> Tensor | None:
    """``[B, H, W, A]`` bool: slots where anything compared differs; None without a reference."""
    key = (f"mismatch {tolerance}", head)
    if key not in frame.maps:
        masks = [found.masks for found in find_disagreements(frame, tolerance)]
        if not masks:
            return None
        for k in range(len(frame.heads)):
            frame.maps[f"mismatch {tolerance}", k] = torch.stack([mask[k] for mask in masks]).any(0)
    return frame.maps[key]


def _named(tensor: Tensor | None, channels: Sequence[str], wanted: Sequence[str]) -> Tensor:
    assert tensor is not None
    if list(channels) == list(wanted):
        return tensor
    return tensor[..., [channels.index(name) for name in wanted]]


def _compare(
    frame: Frame,
    tensor: str,
    function: str,
    names: Sequence[str],
    pairs: Sequence[tuple[Tensor, Tensor]],
    tolerance: Tolerance,
) -> Disagreement:
    wrong = [differing(own, theirs, tolerance) for own, theirs in pairs]
    counts = {name: sum(int(mask[..., k].sum()) for mask in wrong) for k, name in enumerate(names)}
    masks = tuple(mask.any(-1) for mask in wrong)
    place = frame.snapshot.functions.get(function)
    return Disagreement(
        tensor=tensor,
        function=function,
        place=str(place) if place else "",
        masks=masks,
        counts=counts,
        slots=sum(mask.numel() for mask in masks),
        worst=_worst(pairs, wrong),
        reads=_channels_read(frame, tolerance) if tensor == "decoded" and any(counts.values()) else (),
        reference_name=frame.reference_name,
    )


def _worst(pairs: Sequence[tuple[Tensor, Tensor]], wrong: Sequence[Tensor]) -> Slot | None:
    best: tuple[float, Slot] | None = None
    for head, ((own, theirs), mask) in enumerate(zip(pairs, wrong, strict=True)):
        if not bool(mask.any()):
            continue
        size = (own - theirs).abs().nan_to_num(nan=float("inf"), posinf=float("inf"))
        size = size.masked_fill(~mask, -1).amax(-1)
        at = int(size.argmax())
        slot = Slot(head, *unravel(torch.tensor([at]), size.shape)[0].tolist())
        if best is None or float(size.flatten()[at]) > best[0]:
            best = (float(size.flatten()[at]), slot)
    return best[1] if best else None


def _channels_read(frame: Frame, tolerance: Tolerance) -> tuple[str, ...]:
    """The four channels that explain the decoded boxes, where some other four than x y w h do.

    Tried: every run of four neighbours in the declared order (a wrong slice) and every order of x y w h
    (a swap), each decoded by the reference on the first image of the first head. Nothing is claimed
    where the reference's boxes are not that decode of this very prediction.
    """
    pred, decoded, reference = frame.canonical_pred(0), frame.decoded(0), frame.reference_boxes(0)
    if pred is None or decoded is None or reference is None:
        return ()
    pred, decoded, head = pred[:1], decoded[:1], frame.heads[0]
    decode = frame.reference_decode or built_in_decode(frame.layout)
    if bool(differing(decode(pred, head), reference[:1], tolerance).any()):
        return ()
    declared, canonical = frame.channels(0), CANONICAL.pred_names(head.classes)
    runs = (tuple(declared[k : k + 4]) for k in range(len(declared) - 3))
    for names in itertools.chain(runs, itertools.permutations(BOX_NAMES)):
        if names == BOX_NAMES:
            continue
        tried = pred.clone()
        tried[..., 1:5] = pred[..., [canonical.index(name) for name in names]]
        if not bool(differing(decoded, decode(tried, head), tolerance).any()):
            return names
    return ()
