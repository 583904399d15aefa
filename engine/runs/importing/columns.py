"""Comma, semicolon or tab separated tables under a header: Ultralytics' ``results.csv`` of any version,
Lightning's and Keras' CSV loggers, anything with an epoch or step column."""

from __future__ import annotations

import csv
import math
import re

from .points import Point, Position
from .roles import VALIDATION, role
from .values import NUMBER, Printed, printed

_EPOCH = ("epoch", "epochs", "ep")
_STEP = ("step", "iter", "iteration", "iterations", "global_step", "batch")
_VALUE = re.compile(rf"\s*{NUMBER}\s*$", re.I)
HELD = 50
"""Rows after which a time that never fell is one since the training's start."""
_NAME = re.compile(r"[A-Za-z]")


def header(text: str) -> tuple[list[str], str] | None:
    """The names of a header line and its delimiter; None where it is none."""
    for delimiter in (",", ";", "\t"):
        if text.count(delimiter) >= 1:
            names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter), [])]
            known = {name.lower() for name in names}
            named = all(_NAME.search(name) or not name for name in names) and len(names) >= 2
            if named and known & {*_EPOCH, *_STEP} and not any(_VALUE.match(name) for name in names):
                return names, delimiter
    return None


class ColumnsReader:
    name = "csv"

    def __init__(self) -> None:
        self._names: list[str] = []
        self._delimiter = ","
        self._since_start: bool | None = None
        """What the ``time`` column counts: None until its rows have told."""
        self._held: list[tuple[Point, float | None]] = []
        """Rows that wait for it, with their times."""
        self._told: list[Point] = []
        self._last_time = 0.0

    def read(self, text: str, line: int) -> list[Point] | None:
        if not self._names or not text[:1].strip() or _NAME.match(text.lstrip()[:1]):
            found = header(text)
            if found is not None:
                self._told += self._release()
                self._names, self._delimiter = found
                ultralytics = any(name.startswith(("metrics/", "train/box_loss")) for name in self._names)
                self.name = "ultralytics-csv" if ultralytics else "csv"
                timed = any(name.lower() == "time" for name in self._names)
                # Ultralytics counts from the start, and anew where it is resumed.
                self._since_start = True if ultralytics or not timed else None
                self._last_time = 0.0
                return None
        if not self._names or self._delimiter not in text:
            return None
        cells = text.split(self._delimiter)
        if len(cells) > len(self._names):
            return None
        return self._row(cells, line)

    def finish(self) -> list[Point]:
        return self._told + self._release()

    def _timed(self, point: Point, time: float | None) -> list[Point]:
        """The points that can go on with ``time`` settled; none while it may be of either kind."""
        if self._since_start is None:
            last, before = self._held[-1] if self._held else (point, None)
            place, reached = point.position, last.position
            on = (place.epoch or 0, place.iteration or 0) > (reached.epoch or 0, reached.iteration or 0)
            self._held.append((point, time))
            if time is not None and before is not None and time < before and on:
                self._since_start = False
            elif len(self._held) >= HELD:
                self._since_start = True
            else:
                return []
            ready = self._told + self._release()
            self._told = []
            return ready
        self._set_elapsed(point, time)
        ready, self._told = [*self._told, point], []
        return ready

    def _release(self) -> list[Point]:
        held, self._held = self._held, []
        for point, time in held:
            self._set_elapsed(point, time)
        return [point for point, _ in held]

    def _set_elapsed(self, point: Point, time: float | None) -> None:
        if time is None:
            return
        point.elapsed = time
        if self._since_start is not False:
            point.elapsed -= self._last_time if time >= self._last_time else 0.0
            self._last_time = time

    def _row(self, cells: list[str], line: int) -> list[Point] | None:
        place, values = Position(), {}
        time: float | None = None
        for name, cell in zip(self._names, cells, strict=False):
            if not _VALUE.match(cell):
                continue
            value, low = printed(cell.strip()), name.lower()
            if low in _EPOCH and value.value == value.value:
                place.epoch = int(value.value)
            elif low in _STEP and value.value == value.value:
                place.iteration = int(value.value)
            elif low == "time":
                time = value.value if math.isfinite(value.value) else None
            elif name:
                values[name] = value
        if not values or (place.epoch is None and place.iteration is None):
            return None
        # A line cut off in the middle of a number would give a wrong value under the last name.
        cut = len(cells) < len(self._names)
        if cut:
            values.popitem()
        if not values:
            return None
        whole = place.iteration is None
        point = Point(line, values, place, whole_epoch=whole and not cut)
        if not any(role(n) in ("term", "lr") and not VALIDATION.search(n) for n in values):
            point.phase = "evaluation"
        return self._timed(point, time)


def median_rate(values: dict[str, Printed]) -> Printed | None:
    """The learning rate that most parameter groups share (a bias group may warm up on its own)."""
    rates = sorted(
        (value for name, value in values.items() if role(name) == "lr"), key=lambda each: each.value
    )
    return rates[(len(rates) - 1) // 2] if rates else None
