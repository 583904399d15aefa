"""Comma, semicolon or tab separated tables under a header: Ultralytics' ``results.csv`` of any version,
Lightning's and Keras' CSV loggers, anything with an epoch or step column."""

from __future__ import annotations

import csv
import re

from .points import Point, Position
from .roles import VALIDATION, role
from .values import NUMBER, Printed, printed

_EPOCH = ("epoch", "epochs", "ep")
_STEP = ("step", "iter", "iteration", "iterations", "global_step", "batch")
_VALUE = re.compile(rf"\s*{NUMBER}\s*$", re.I)
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
        self._time = 0.0

    def read(self, text: str, line: int) -> list[Point] | None:
        if not self._names or not text[:1].strip() or _NAME.match(text.lstrip()[:1]):
            found = header(text)
            if found is not None:
                self._names, self._delimiter = found
                self._time = 0.0
                ultralytics = any(name.startswith(("metrics/", "train/box_loss")) for name in self._names)
                self.name = "ultralytics-csv" if ultralytics else "csv"
                return None
        if not self._names or self._delimiter not in text:
            return None
        cells = text.split(self._delimiter)
        if len(cells) > len(self._names):
            return None
        return self._row(cells, line)

    def finish(self) -> list[Point]:
        return []

    def _row(self, cells: list[str], line: int) -> list[Point] | None:
        place, values = Position(), {}
        elapsed: float | None = None
        for name, cell in zip(self._names, cells, strict=False):
            if not _VALUE.match(cell):
                continue
            value, low = printed(cell.strip()), name.lower()
            if low in _EPOCH and value.value == value.value:
                place.epoch = int(value.value)
            elif low in _STEP and value.value == value.value:
                place.iteration = int(value.value)
            elif low == "time":
                # Ultralytics counts from the training's start.
                elapsed = value.value - self._time if value.value >= self._time else value.value
                self._time = value.value
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
        point = Point(line, values, place, elapsed=elapsed, whole_epoch=whole and not cut)
        if not any(role(n) in ("term", "lr") and not VALIDATION.search(n) for n in values):
            point.phase = "evaluation"
        return [point]


def median_rate(values: dict[str, Printed]) -> Printed | None:
    """The learning rate that most parameter groups share (a bias group may warm up on its own)."""
    rates = sorted(
        (value for name, value in values.items() if role(name) == "lr"), key=lambda each: each.value
    )
    return rates[(len(rates) - 1) // 2] if rates else None
