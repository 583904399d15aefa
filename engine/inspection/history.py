"""One slot through the captured steps: its values, and when something about it first changed."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..runs.snapshot_ring import SnapshotRing
from ..runs.snapshots import Snapshot, list_snapshots, load
from .frames import Frame
from .jump import Kind, kind_mask
from .readout import value_at
from .slots import Slot

Change = Literal["differs", "nonfinite", "stops positive", "becomes positive", "sign"]
"""differs: from the reference. nonfinite: a NaN or infinity in any of the slot's tensors. sign: the
quantity's, zeros passed over."""


@dataclass(frozen=True)
class Point:
    step: int
    value: float


@dataclass(frozen=True)
class Event:
    """``step`` is the first captured step after the change, ``before`` the captured step before it (None
    where it already was so in the first captured step)."""

    change: Change
    step: int
    before: int | None
    text: str


class Timeline:
    """The captured steps in order, from the ring in memory and the folder on disk, each opened when asked.

    ``make_frame`` puts a snapshot beside its reference. The last ``kept`` frames stay open.
    """

    def __init__(
        self,
        ring: SnapshotRing | None = None,
        folder: str | Path | None = None,
        make_frame: Callable[[Snapshot], Frame] = Frame,
        kept: int = 8,
    ) -> None:
        self._ring = ring
        self._folder = folder
        self._make_frame = make_frame
        self._kept = kept
        self._open: OrderedDict[int, Frame] = OrderedDict()
        self._files: dict[int, Path] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look into the folder anew: a run may be writing there."""
        self._files = dict(list_snapshots(self._folder)) if self._folder is not None else {}

    def steps(self) -> list[int]:
        """Oldest first."""
        held = self._ring.steps() if self._ring is not None else []
        return sorted({*held, *self._files})

    def frame(self, step: int) -> Frame:
        """Raises ``KeyError`` where the step is no longer held, ``UserError`` where its file is broken."""
        if step in self._open:
            self._open.move_to_end(step)
            return self._open[step]
        snapshot = self._ring.get(step) if self._ring is not None else None
        if snapshot is None:
            snapshot = load(self._files[step])
        frame = self._make_frame(snapshot)
        self._open[step] = frame
        while len(self._open) > self._kept:
            self._open.popitem(last=False)
        return frame

    def frames(self) -> Iterator[Frame]:
        """Every frame, oldest first; steps that left the ring meanwhile are passed over."""
        for step in self.steps():
            try:
                yield self.frame(step)
            except KeyError:
                continue


def values_over_time(frames: Iterable[Frame], quantity: str, slot: Slot) -> list[Point]:
    """The slot's value of a quantity in each frame that has both."""
    points = []
    for frame in frames:
        value = value_at(frame, quantity, slot)
        if value is not None:
            points.append(Point(frame.step, value))
    return points


def first_change(frames: Iterable[Frame], slot: Slot, change: Change, quantity: str = "") -> Event | None:
    """When something first happened to a slot; None where it did not, or the frames cannot tell.

    ``sign`` needs a ``quantity``. ``stops`` and ``becomes positive`` need a captured step before it.
    """
    before: int | None = None
    was: float | None = None
    for frame in frames:
        now = _state(frame, slot, change, quantity)
        if now is None:
            continue
        if _happened(change, was, now):
            return Event(change, frame.step, before, _text(change, slot, quantity, frame.step, before))
        before = frame.step
        was = was if change == "sign" and now == 0 else now
    return None


def _state(frame: Frame, slot: Slot, change: Change, quantity: str) -> float | None:
    """What the change is judged by: 1 or 0, or the value's sign."""
    if not frame.holds(slot):
        return None
    if change == "sign":
        value = value_at(frame, quantity, slot)
        return None if value is None or math.isnan(value) else float((value > 0) - (value < 0))
    kinds: dict[Change, Kind] = {"differs": "mismatch", "nonfinite": "nonfinite"}
    mask = kind_mask(frame, kinds.get(change, "positive"), slot.head)
    return None if mask is None else float(mask[tuple(slot[1:])])


def _happened(change: Change, was: float | None, now: float) -> bool:
    if change in ("differs", "nonfinite"):
        return now == 1
    if was is None:
        return False
    if change == "sign":
        return now * was < 0
    return (was, now) == ((1, 0) if change == "stops positive" else (0, 1))


def _text(change: Change, slot: Slot, quantity: str, step: int, before: int | None) -> str:
    happened = {
        "differs": "first differs from the reference",
        "nonfinite": "first holds a NaN or infinity",
        "stops positive": "stops being positive",
        "becomes positive": "becomes positive",
        "sign": f"has {quantity} change sign",
    }[change]
    since = f", after step {before}" if before is not None else ", the first captured step"
    return f"{slot} {happened} at step {step}{since}"
