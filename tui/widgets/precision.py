"""Average precision over the evaluations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..braille import Axis, blank, draw_spans, fit_axis, to_text
from ..format import digits3
from ..history import Columns, Reading
from .chart import Chart
from .curves import dashed, fitting, layered
from .panel import Piece


class PrecisionChart(Chart):
    """mAP over the evaluations: at IoU 0.5 as a line, averaged over 0.5..0.95 dotted."""

    help_text = (
        "Average precision after each evaluation: the line is mAP at IoU 0.5, the dotted one the mean "
        "over IoU 0.5 to 0.95, as COCO has it. Without a [data] val split there is none."
    )

    def empty_text(self) -> str:
        return "no evaluation yet"

    def data_range(self) -> tuple[int, int]:
        first, last = super().data_range()
        return first, max([last, *(done.step for done in self.state.evaluations)])

    def columns(self, first: int, last: int, n: int) -> Columns | None:
        done = self.state.evaluations
        return points([each.step for each in done], [each.map50 for each in done], first, last, n)

    def overlay_columns(self, first: int, last: int, n: int, scale: float) -> Columns | None:
        overlay = self.options.overlay
        return points(*overlay.precision(scale), first, last, n) if overlay else None

    def reading(self, first: int, last: int) -> Reading | None:
        """The newest evaluation by then."""
        done = [each for each in self.state.evaluations if each.step <= last]
        return _read(done[-1].step, done[-1].map50) if done else None

    def overlay_reading(self, first: int, last: int, scale: float) -> Reading | None:
        if self.options.overlay is None:
            return None
        known = [pair for pair in zip(*self.options.overlay.precision(scale), strict=True) if pair[0] <= last]
        return _read(*known[-1]) if known else None

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        left: list[Piece] = [self.name_piece(f"{self.number} mAP50".strip())]
        if not self.state.evaluations:
            return left, []
        if self.options.view.cursor is not None:
            return left + fitting(left, self.cursor_pieces(width), width), []
        newest, best = self.state.evaluations[-1], self.state.best
        wide = width >= 40
        gap = "  " if wide else " "
        left.append((f"{gap}{digits3(newest.map50)}", "strong"))
        optional: list[Piece] = [(f"{gap}50-95 {digits3(newest.map50_95)}", "plain")]
        if best and best is not newest:
            values = f"{digits3(best.map50)} {digits3(best.map50_95)}"
            optional.append((f"{gap}best epoch {best.epoch}: {values}", "good"))
        elif best:
            optional.append((f"{gap}best so far", "good"))
        left += fitting(left, optional, width)
        return left, self.marks() if width >= 56 else []

    def marks(self) -> list[Piece]:
        return super().marks() if self.options.overlay else []

    def _axis(self, raw: Columns, other: Columns | None) -> tuple[Axis | None, bool]:
        high = raw.high if other is None else np.concatenate((raw.high, other.high))
        if not np.isfinite(high).any():
            return None, False
        return fit_axis(0.0, max(0.1, float(np.nanmax(high)))), False

    def _curves(
        self, raw: Columns, other: Columns | None, axis: Axis, plot: int, rows: int
    ) -> list[list[Piece]]:
        first, last = self.x_range()
        done = self.state.evaluations
        strict = points([d.step for d in done], [d.map50_95 for d in done], first, last, plot * 2)
        layers = [(_drawn(raw, axis, plot, rows), "line")]
        if other is not None:
            layers.append((dashed(_drawn(other, axis, plot, rows)), "overlay"))
        if strict is not None:
            layers.append((_drawn(strict, axis, plot, rows, dotted=True), "band"))
        return layered(layers)


def points(
    steps: Sequence[float] | np.ndarray, values: Sequence[float], first: int, last: int, n: int
) -> Columns | None:
    """Single values at their steps, as columns; those outside ``first..last`` bound the line at its ends."""
    if not len(steps):
        return None
    at, numbers = np.asarray(steps, dtype=float), np.asarray(values, dtype=float)
    inside = (at >= first) & (at <= last)
    where = np.rint((at[inside] - first) / max(1, last - first) * (n - 1)).astype(int).clip(0, n - 1)
    low, gap = np.full(n, np.nan), np.zeros(n, dtype=bool)
    finite = np.isfinite(numbers)
    if n > 1 and finite.sum() > 1:
        for edge, column in ((first, 0), (last, n - 1)):
            if at[finite][0] < edge < at[finite][-1]:
                low[column] = np.interp(edge, at[finite], numbers[finite])
    low[where[finite[inside]]] = numbers[inside & finite]
    gap[where[~finite[inside]]] = True
    return Columns(low, low, low, gap)


def _drawn(columns: Columns, axis: Axis, plot: int, rows: int, dotted: bool = False) -> np.ndarray:
    dots = blank(plot, rows)
    draw_spans(dots, axis, columns.low, columns.high, columns.gap)
    if dotted:
        dots[:, 1::2] = False
    return to_text(dots)


def _read(step: float, value: float) -> Reading:
    finite = math.isfinite(value)
    return Reading(round(step), round(step), value, value, value, int(finite), int(not finite))
