"""What the inspector looks at, and how it gets about: no screen, no tensor, only questions to the engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.inspection.cell import CellTable, cell_table
from engine.inspection.diff import Disagreement, find_disagreements
from engine.inspection.frames import Frame
from engine.inspection.history import Change, Event, Timeline, first_change
from engine.inspection.jump import Extreme, Found, Kind, find, next_in, rank
from engine.inspection.quantities import (
    Quantity,
    find_quantity,
    grid,
    list_quantities,
    positive_grid,
    scale_of,
)
from engine.inspection.readout import strongest_anchor
from engine.inspection.slots import Slot
from engine.layout import Head

FIRST = Slot(0, 0, 0, 0, 0)
SCALE_FRAMES = 5
"""Captured steps, spread over all of them, that a scale is made from."""
SCALE_SECONDS = 0.08
"""And no more of them than can be read in this time."""

KIND_WORDS: dict[Kind, str] = {
    "positive": "positive slot",
    "mismatch": "mismatch",
    "nonfinite": "NaN or infinity",
}


@dataclass(frozen=True)
class Place:
    """Somewhere to come back to."""

    step: int
    slot: Slot
    quantity: str

    def __str__(self) -> str:
        return f"step {self.step:,} {self.slot} {self.quantity}"


@dataclass
class Inspection:
    """``plain_timeline`` opens the same steps without a reference, for what needs none."""

    timeline: Timeline
    frame: Frame
    slot: Slot = FIRST
    quantity: str = ""
    all_anchors: bool = False
    fixed_scale: bool = True
    follow: bool = False
    bookmarks: list[Place] = field(default_factory=list)
    _trail: list[Place] = field(default_factory=list)
    _scales: dict[str, tuple[float, float]] = field(default_factory=dict)
    _quantities: list[Quantity] = field(default_factory=list)
    _rankings: dict[tuple[int, Extreme, str], list[Slot]] = field(default_factory=dict)
    _ranked: object = None
    """The ranking last gone through, and where it led."""
    _disagreements: tuple[Frame, list[Disagreement]] | None = None
    _grid: tuple[object, NDArray[np.float32], NDArray[np.bool_]] | None = None
    _table: tuple[object, CellTable] | None = None

    def __post_init__(self) -> None:
        self._take(self.frame)

    # what is looked at

    @property
    def step(self) -> int:
        return self.frame.step

    def steps(self) -> list[int]:
        """Captured steps, oldest first; the one looked at among them, even when the ring has dropped it."""
        return sorted({*self.timeline.steps(), self.step})

    def quantities(self) -> list[Quantity]:
        return self._quantities

    @property
    def shown(self) -> Quantity:
        return next(q for q in self._quantities if q.name == self.quantity)

    def grid(self) -> NDArray[np.float32]:
        """``[H, W]`` of the quantity, image and anchor looked at."""
        return self._grids()[0]

    def truths(self) -> NDArray[np.bool_]:
        """``[H, W]``: cells that hold a truth."""
        return self._grids()[1]

    def grid_key(self) -> tuple[object, ...]:
        """Changes when the grid does; the focused cell has no part in it."""
        anchor = -1 if self.all_anchors else self.slot.anchor
        return (id(self.frame), self.quantity, self.slot.head, self.slot.image, anchor, self.scale())

    def value(self) -> float:
        """The number of the focused cell in the grid."""
        return float(self.grid()[self.slot.y, self.slot.x])

    def table(self) -> CellTable:
        key = (id(self.frame), self.slot)
        if self._table is None or self._table[0] != key:
            self._table = (key, cell_table(self.frame, self.slot))
        return self._table[1]

    def scale(self) -> tuple[float, float]:
        """The quantity's colours: fixed when it was first shown, or this step's own."""
        key = self.quantity if self.fixed_scale else f"{self.quantity} {id(self.frame)}"
        if key not in self._scales:
            self._scales[key] = scale_of(self.quantity, self._scale_frames())
        return self._scales[key]

    def disagreements(self) -> list[Disagreement]:
        """First cause first; empty without a reference."""
        if self._disagreements is None or self._disagreements[0] is not self.frame:
            self._disagreements = (self.frame, find_disagreements(self.frame))
        return self._disagreements[1]

    def wrong_channels(self) -> list[str]:
        """The channels of the focused cell whose decoded value is not the reference's."""
        return [row.name for row in self.table().rows if row.differs]

    # getting about

    def move(self, down: int, right: int) -> None:
        head = self.frame.heads[self.slot.head]
        y = min(max(self.slot.y + down, 0), head.grid_h - 1)
        x = min(max(self.slot.x + right, 0), head.grid_w - 1)
        self.stand(self.slot._replace(y=y, x=x))

    def stand(self, slot: Slot) -> None:
        """On a slot; where all anchors are shown, on the anchor that is seen there."""
        if self.all_anchors:
            anchor = strongest_anchor(self.frame, self.quantity, slot.head, slot.image, slot.y, slot.x)
            slot = slot._replace(anchor=anchor)
        self.slot = slot

    def turn_anchor(self, by: int) -> None:
        count = self.frame.heads[self.slot.head].anchor_count
        self.all_anchors = False
        self.slot = self.slot._replace(anchor=(self.slot.anchor + by) % count)

    def turn_image(self, by: int) -> None:
        self.stand(self.slot._replace(image=(self.slot.image + by) % self.frame.batch))

    def turn_head(self, by: int) -> None:
        self.go_to_head((self.slot.head + by) % len(self.frame.heads))

    def go_to_head(self, number: int) -> None:
        """The same place in another head's grid."""
        old, new = self.frame.heads[self.slot.head], self.frame.heads[number]
        self.stand(_same_place(self.slot, old, new)._replace(head=number))

    def toggle_all_anchors(self) -> None:
        self.all_anchors = not self.all_anchors
        self.stand(self.slot)

    def show(self, quantity: str) -> None:
        """Raises ``KeyError`` where this step has no such quantity."""
        find_quantity(self.frame, quantity)
        self.quantity = quantity

    def turn_quantity(self, by: int) -> None:
        names = [q.name for q in self._quantities]
        self.quantity = names[(names.index(self.quantity) + by) % len(names)]

    def jump(self, slot: Slot, step: int | None = None, quantity: str | None = None) -> None:
        """Go there; ``back`` returns. Raises ``KeyError`` where the step is no longer held."""
        here = self.place()
        if step is not None and step != self.step:
            self.open(step)
        if quantity is not None and any(q.name == quantity for q in self._quantities):
            self.quantity = quantity
        if self.frame.holds(slot):
            self.slot = slot
        if self.place() != here:
            self._trail.append(here)
            del self._trail[:-100]

    def place(self) -> Place:
        return Place(self.step, self.slot, self.quantity)

    def back(self) -> Place | None:
        """To where the last jump started; None where there was none or its step is gone."""
        while self._trail:
            place = self._trail.pop()
            try:
                self.jump(place.slot, place.step, place.quantity)
            except KeyError:
                continue
            self._trail.pop()
            return place
        return None

    @property
    def can_go_back(self) -> bool:
        return bool(self._trail)

    def find_next(self, kind: Kind, backwards: bool) -> Found | None:
        found = find(self.frame, kind, self.slot, backwards=backwards)
        if found is not None:
            self.jump(found.slot)
        return found

    def go_to_extreme(self, extreme: Extreme, backwards: bool = False) -> tuple[int, int] | None:
        """To the worst, again to the next worst: (which, of how many); None where nothing can be ranked."""
        quantity = self.quantity
        if extreme.startswith("worst"):
            quantity = quantity if extreme == "worst loss" and quantity.startswith("loss.") else ""
        key = (id(self.frame), extreme, quantity)
        if key not in self._rankings:
            self._rankings = {key: rank(self.frame, extreme, quantity)}
        ranking = self._rankings[key]
        if not ranking:
            return None
        again = self._ranked == (key, self.slot)
        slot = next_in(ranking, self.slot, backwards=backwards) if again or backwards else ranking[0]
        assert slot is not None  # the ranking holds some
        self.jump(slot)
        self._ranked = (key, slot)
        return ranking.index(slot) + 1, len(ranking)

    def toggle_bookmark(self) -> bool:
        """Whether it is set now."""
        place = self.place()
        if place in self.bookmarks:
            self.bookmarks.remove(place)
            return False
        self.bookmarks.append(place)
        return True

    # time

    def open(self, step: int) -> None:
        """Raises ``KeyError`` where the step is no longer held."""
        if step != self.step:
            self._take(self.timeline.frame(step))

    def turn_step(self, by: int) -> bool:
        """To a captured step before or after; False at the end."""
        steps = self.steps()
        at = steps.index(self.step)
        wanted = steps[min(max(at + by, 0), len(steps) - 1)]
        while wanted != self.step:
            try:
                self.open(wanted)
                return True
            except KeyError:  # the ring has moved on meanwhile
                left = [step for step in self.steps() if (step > self.step) == (by > 0) and step != self.step]
                if not left:
                    return False
                wanted = left[0] if by > 0 else left[-1]
        return False

    def follow_newest(self) -> bool:
        """To the newest captured step; whether that is another one."""
        held = self.timeline.steps()
        if not held or held[-1] == self.step:
            return False
        try:
            self.open(held[-1])
        except KeyError:
            return False
        return True

    def when_first(self, change: Change) -> Event | None:
        """And go there."""
        event = first_change(self.timeline.frames(), self.slot, change, self.quantity)
        if event is not None:
            self.jump(self.slot, event.step)
        return event

    def replace(self, timeline: Timeline, frame: Frame) -> None:
        """Look at other steps from the same place: the user's file was read anew."""
        self.timeline = timeline
        self._take(frame)

    # within

    def _take(self, frame: Frame) -> None:
        before, self.frame = self.frame, frame
        head = self.slot.head
        if head < min(len(before.heads), len(frame.heads)):  # a batch of another size has other grids
            self.slot = _same_place(self.slot, before.heads[head], frame.heads[head])
        self._quantities = list_quantities(frame)
        names = [q.name for q in self._quantities]
        if self.quantity not in names:
            self.quantity = names[0] if names else ""
        if not frame.holds(self.slot):
            self.slot = FIRST

    def _grids(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        anchor = "max" if self.all_anchors else self.slot.anchor
        key = (id(self.frame), self.quantity, self.slot.head, self.slot.image, anchor)
        if self._grid is None or self._grid[0] != key:
            slot = self.slot
            values = grid(self.frame, self.quantity, slot.head, slot.image, anchor)  # type: ignore[arg-type]
            truths = positive_grid(self.frame, slot.head, slot.image, anchor)  # type: ignore[arg-type]
            self._grid = (key, values, truths)
        return self._grid[1], self._grid[2]

    def _scale_frames(self) -> list[Frame]:
        """This one, and where the scale is to hold through time, some spread over what is captured."""
        frames = [self.frame]
        if not self.fixed_scale or self.shown.scale == "unit":
            return frames
        steps = [step for step in self.timeline.steps() if step != self.step]
        count = min(SCALE_FRAMES - 1, len(steps))
        started = time.monotonic()
        for k in range(count):
            if time.monotonic() - started > SCALE_SECONDS:
                break
            step = steps[round(k * (len(steps) - 1) / max(1, count - 1))]
            try:
                frames.append(self.timeline.frame(step))
            except KeyError:
                continue
        return frames


def _same_place(slot: Slot, old: Head, new: Head) -> Slot:
    """The cell of another grid that holds the middle of this one."""
    y = int((slot.y + 0.5) / old.grid_h * new.grid_h)
    x = int((slot.x + 0.5) / old.grid_w * new.grid_w)
    return slot._replace(y=y, x=x, anchor=min(slot.anchor, new.anchor_count - 1))


def opening_slot(frame: Frame) -> tuple[Slot, str]:
    """Where to stand first, and why: the first mismatch, else the first positive, else the first slot."""
    kinds: Sequence[Kind] = ("mismatch", "positive") if frame.has_reference else ("positive",)
    for kind in kinds:
        found = _first(frame, kind)
        if found is not None:
            return found.slot, f"the first {KIND_WORDS[kind]} of {found.count:,}"
    return FIRST, ""


def _first(frame: Frame, kind: Kind) -> Found | None:
    """A mismatch is shown at a truth where one is among them: there it can be judged against the picture."""
    last = _last_slot(frame)
    found = find(frame, kind, last)
    if found is None or kind != "mismatch":
        return found
    positive = find(frame, "positive", last)
    tries = 0
    while positive is not None and tries < 64:
        near = find(frame, kind, _before(frame, positive.slot))
        if near is not None and near.slot == positive.slot:
            return near
        positive = find(frame, "positive", positive.slot)
        tries += 1
        if positive is None or positive.wrapped:
            break
    return found


def _last_slot(frame: Frame) -> Slot:
    head = len(frame.heads) - 1
    b, h, w, a = frame.slots(head)
    return Slot(head, b - 1, h - 1, w - 1, a - 1)


def _before(frame: Frame, slot: Slot) -> Slot:
    """The slot just before, in slot order (the first one's is itself with anchor -1)."""
    return slot._replace(anchor=slot.anchor - 1)
