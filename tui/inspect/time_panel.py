"""The focused value through the captured steps. Values are read a few at a time, between keys."""

from __future__ import annotations

import math
import time

import numpy as np

from engine.inspection.readout import value_at

from ..braille import Dots, blank, draw_spans, fit_axis, to_text, y_labels
from ..format import digits3
from ..widgets.panel import Piece
from .panel import InspectPanel
from .state import Inspection

SLICE_SECONDS = 0.006
"""Time given to reading values before keys are looked at again."""
MOST = 512
"""Steps drawn: the newest ones."""


class TimePanel(InspectPanel):
    help_title = "Time"
    help_text = (
        "The focused cell's value of the grid's quantity in each captured step; ▲ below the axis marks the "
        "step looked at. [ and ] go to the step before and after, { and } to the first and the last, f asks "
        "when something about this slot first changed. In a training each step has its own batch. A value "
        "that is not finite leaves a gap and is counted."
    )

    def __init__(self, inspection: Inspection) -> None:
        super().__init__("time")
        self.inspection = inspection
        self.number = "4"
        self._values: dict[tuple[int, str, object], float] = {}
        self._wanted: list[int] = []
        self._timer = False

    def sync(self) -> None:
        if self.display and self.size:
            self._ask()
        self.invalidate()

    def content_key(self) -> object:
        inspection = self.inspection
        return (
            inspection.quantity,
            inspection.slot,
            inspection.step,
            tuple(self._steps()),
            len(self._points()),
            self.size,
            self.has_focus,
        )

    def _steps(self) -> list[int]:
        return self.inspection.steps()[-MOST:]

    def _key(self, step: int) -> tuple[int, str, object]:
        return (step, self.inspection.quantity, self.inspection.slot)

    def forget(self) -> None:
        """The steps are others now."""
        self._values.clear()

    # reading

    def _ask(self) -> None:
        self._values[self._key(self.inspection.step)] = self._now()
        self._wanted = [step for step in reversed(self._steps()) if self._key(step) not in self._values]
        if self._wanted and not self._timer:
            self._timer = True
            self.set_timer(0.12, self._read)

    def _now(self) -> float:
        inspection = self.inspection
        value = value_at(inspection.frame, inspection.quantity, inspection.slot)
        return math.nan if value is None else value

    def _read(self) -> None:
        self._timer = False
        started = time.monotonic()
        while self._wanted and time.monotonic() - started < SLICE_SECONDS:
            step = self._wanted.pop(0)
            try:
                frame = self.inspection.timeline.frame(step)
            except KeyError:
                continue
            value = value_at(frame, self.inspection.quantity, self.inspection.slot)
            self._values[self._key(step)] = math.nan if value is None else value
        if len(self._values) > 20_000:
            self._values.clear()
        if self._wanted:
            self._timer = True
            self.set_timer(0.02, self._read)
        else:
            self.invalidate()

    def _points(self) -> list[tuple[int, float]]:
        return [
            (step, self._values[key]) for step in self._steps() if (key := self._key(step)) in self._values
        ]

    # drawing

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        inspection = self.inspection
        points = self._points()
        bad = sum(not math.isfinite(value) for _, value in points)
        left: list[Piece] = [
            self.name_piece(f"{self.number} time"),
            (f"  {inspection.quantity} at {inspection.slot}", "plain"),
        ]
        if bad and not inspection.shown.masked:
            left.append((f"  {bad} non-finite", "bad"))
        used = sum(len(text) for text, _ in left) + 4
        return (left if used <= width else left[:1]), []

    def body(self, width: int, height: int) -> list[list[Piece]]:
        points = self._points()
        finite = [value for _, value in points if math.isfinite(value)]
        rows = height - 1
        if len(self._steps()) < 2 or rows < 2 or width < 16:
            text = "one captured step: nothing to compare with yet" if len(self._steps()) < 2 else "no room"
            return [[(text.center(width)[:width], "dim")]]
        if not finite:
            text = "no finite value here" if points else "reading the steps"
            return [[(text.center(width)[:width], "dim")]]
        axis = fit_axis(min(finite), max(finite))
        labels = {row: digits3(value) for row, value in y_labels(axis, rows).items()}
        margin = max(map(len, labels.values()))
        plot = width - margin - 1
        steps = [step for step, _ in points]
        first, last = self._steps()[0], max(self._steps()[-1], self._steps()[0] + 1)
        columns = plot * 2
        where = [round((step - first) / (last - first) * (columns - 1)) for step in steps]
        low, gap = np.full(columns, np.nan), np.zeros(columns, dtype=bool)
        for column, (_, value) in zip(where, points, strict=True):
            if math.isfinite(value):
                low[column] = value
            else:
                gap[column] = True
        dots: Dots = blank(plot, rows)
        draw_spans(dots, axis, low, low, gap)
        lines: list[list[Piece]] = []
        for row, codes in enumerate(to_text(dots)):
            text = codes.astype("<u2").tobytes().decode("utf-16-le")
            label = labels.get(row)
            lines.append(
                [
                    ((label or "").rjust(margin), "axis"),
                    ("┤" if label is not None else "│", "axis"),
                    (text, "line"),
                ]
            )
        lines.append(self._steps_line(margin + 1, plot, first, last))
        return lines

    def _steps_line(self, margin: int, plot: int, first: int, last: int) -> list[Piece]:
        at = margin + round((self.inspection.step - first) / (last - first) * (plot - 1))
        text = [" "] * (margin + plot)
        left, right = f"{first:,}", f"{last:,}"
        text[margin : margin + len(left)] = left
        text[-len(right) :] = right
        here = f"▲{self.inspection.step:,}"
        at = min(at, margin + plot - len(here))
        text = text[: margin + plot]
        line = "".join(text)
        return [(line[:at], "axis"), (here, "focus"), (line[at + len(here) :], "axis")]

    def copied_name(self) -> str:
        return "the values through time"

    def plain_text(self) -> str:
        return "\n".join(["step\tvalue", *(f"{step}\t{value}" for step, value in self._points())])
