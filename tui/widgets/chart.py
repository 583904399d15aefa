"""A curve in Braille with its axes; what is drawn comes from a subclass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..braille import Axis, blank, draw_spans, fit_axis, to_text, x_ticks, y_labels
from ..format import digits3
from ..history import Columns, Floats
from ..runstate import RunState
from .panel import Panel, Piece

SMOOTHING = 0.025
"""The smoothed curve's time constant, as a share of the chart's width."""


@dataclass
class ChartOptions:
    """What all charts share; the screen changes it."""

    smooth: bool = True
    log: bool = False
    steps: bool = False
    """Whether the x axis counts steps rather than epochs."""


class Chart(Panel):
    """Title, curve, y labels at the left, x labels below."""

    help_title = "Chart"

    def __init__(self, name: str, state: RunState, options: ChartOptions, id: str | None = None) -> None:
        super().__init__(name, id)
        self.state = state
        self.options = options
        self.number = ""
        """The key that shows and hides it, printed before the name."""

    # for subclasses

    def columns(self, first: int, last: int, n: int) -> Columns | None:
        """The raw curve as ``n`` columns over these steps."""
        raise NotImplementedError

    def empty_text(self) -> str:
        return "no steps yet"

    # drawing

    def content_key(self) -> object:
        options = self.options
        step = self.state.last.step if self.state.last else 0
        return (
            step,
            len(self.state.evaluations),
            options.smooth,
            options.log,
            options.steps,
            self.number,
            self.size,
        )

    def x_range(self) -> tuple[int, int]:
        """First and last step drawn: from the first one seen to the newest, at least ten."""
        history = self.state.history
        if not history or not history.steps:
            return 0, 10
        return history.first, max(history.last, history.first + 9)

    def body(self, width: int, height: int) -> list[list[Piece]]:
        rows = height - 1
        first, last = self.x_range()
        raw = self.columns(first, last, max(2, width * 2)) if rows >= 1 and width >= 12 else None
        axis, log_refused = self._axis(raw) if raw is not None else (None, False)
        if raw is None or axis is None:
            return self._message(self.empty_text(), width, height)
        labels = {row: digits3(value) for row, value in y_labels(axis, rows).items()}
        margin = max(5, *(len(text) for text in labels.values()))
        plot = width - margin - 1
        raw = self.columns(first, last, plot * 2)
        assert raw is not None
        lines = self._curves(raw, axis, plot, rows)
        painted: list[list[Piece]] = []
        for row, cells in enumerate(lines):
            label = labels.get(row)
            tick = "┤" if label is not None else "│"
            painted.append([((label or "").rjust(margin), "axis"), (tick, "axis"), *cells])
        painted.append(self._x_axis(first, last, margin + 1, plot, "log: not above 0" if log_refused else ""))
        return painted

    def _axis(self, raw: Columns) -> tuple[Axis | None, bool]:
        """The value axis, and whether a log axis was wished for and is impossible."""
        low, high = raw.low[np.isfinite(raw.low)], raw.high[np.isfinite(raw.high)]
        if not low.size:
            return None, False
        if self.options.log:
            positive = np.concatenate((low[low > 0], high[high > 0]))
            if positive.size:
                return fit_axis(float(positive.min()), float(positive.max()), log=True), bool(
                    (low <= 0).any()
                )
        return fit_axis(float(low.min()), float(high.max())), self.options.log

    def _curves(self, raw: Columns, axis: Axis, plot: int, rows: int) -> list[list[Piece]]:
        """Rows of pieces; where the smoothed line passes a cell, the cell shows the line alone."""
        band = blank(plot, rows)
        draw_spans(band, axis, raw.low, raw.high, raw.gap)
        if not self.options.smooth:
            return [runs(codes, None, "line", "band") for codes in to_text(band)]
        line = blank(plot, rows)
        curve = smoothed(raw.mean, max(2.0, SMOOTHING * len(raw.mean)))
        draw_spans(line, axis, curve, curve, raw.gap)
        line_codes, band_codes = to_text(line), to_text(band)
        codes = np.where(line_codes != ord(" "), line_codes, band_codes)
        return [runs(codes[row], line_codes[row] != ord(" "), "line", "band") for row in range(len(codes))]

    def _x_axis(self, first: int, last: int, margin: int, plot: int, note: str) -> list[Piece]:
        """Below the y labels the unit, then round positions, each right of its tick; at the end a note."""
        per_epoch = self.state.started.steps_per_epoch if self.state.started else 0
        # Fractions of the first epoch say less than its steps.
        steps = self.options.steps or not per_epoch or last - first < per_epoch
        scale = 1 if steps else per_epoch
        unit = "step" if steps else "epoch"
        text = list(unit.rjust(margin - 1)) + [" "] * (plot + 1)
        free, end = margin, margin + plot - len(note) - bool(note)
        span = max(1, last - first)
        for tick in x_ticks(first / scale, last / scale, plot, 8):
            at = margin + round((tick * scale - first) / span * (plot - 1))
            label = "╵" + (f"{tick:,.0f}" if tick == round(tick) else digits3(tick))
            if free <= at and at + len(label) <= end:
                text[at : at + len(label)] = label
                free = at + len(label) + 1
        text[margin + plot - len(note) : margin + plot] = note
        return [("".join(text), "axis")]

    def _message(self, text: str, width: int, height: int) -> list[list[Piece]]:
        above = [[("", "dim")]] * max(0, (height - 1) // 2)
        return [*above, [(text.center(width)[:width], "dim")]]


class SeriesChart(Chart):
    """One loss term, or another value that every step has."""

    help_text = (
        "One value over the steps. The dim band runs from the smallest to the largest value of each "
        "column, the line is its smoothed mean (s switches it off). In the title: the newest value, the "
        "mean of this epoch's steps so far (μ), and the trend: the last epoch's worth of steps against as "
        "many before it; → means that the change is within twice its standard error. A value that is NaN "
        "or infinite leaves a gap and is counted in the title; it has no part in the axis."
    )

    def columns(self, first: int, last: int, n: int) -> Columns | None:
        history = self.state.history
        if history is None or not history.steps or self.panel_name not in history.names:
            return None
        return history.columns(self.panel_name, first, last, n)

    def empty_text(self) -> str:
        return "no finite value yet" if self.state.last else "no steps yet"

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        name = f"{self.number} {self.panel_name}".strip()
        left: list[Piece] = [self.name_piece(name)]
        if not self.state.last:
            return left, []
        bad = self.state.history.bad(self.panel_name) if self.state.history else 0
        value, mean = self.state.value(self.panel_name), self.state.epoch_mean(self.panel_name)
        trend = self.state.trend(self.panel_name)
        wide = width >= 40
        gap = "  " if wide else " "
        left.append((f"{gap}{digits3(value)}", "strong" if math.isfinite(value) else "bad"))
        optional: list[Piece] = [(f"{gap}{'mean ' if wide else 'μ'}{digits3(mean)}", "plain")]
        if bad:
            optional.insert(0, (f"{gap}{bad} non-finite", "bad"))
        if trend:
            optional.append((f"{gap}{trend if wide else trend.short}", "plain" if trend.clear else "dim"))
        left += fitting(left, optional, width)
        marks = [word for word, on in (("log", self.options.log), ("smooth", self.options.smooth)) if on]
        return left, [(" ".join(marks), "dim")] if marks and width >= 56 else []


class PrecisionChart(Chart):
    """mAP over the evaluations: at IoU 0.5 as a line, averaged over 0.5..0.95 dotted."""

    help_text = (
        "Average precision after each evaluation: the line is mAP at IoU 0.5, the dotted one the mean "
        "over IoU 0.5 to 0.95, as COCO has it. Without a [data] val split there is none."
    )

    def empty_text(self) -> str:
        return "no evaluation yet"

    def x_range(self) -> tuple[int, int]:
        first, last = super().x_range()
        return first, max([last, *(done.step for done in self.state.evaluations)])

    def columns(self, first: int, last: int, n: int) -> Columns | None:
        return self._points([done.map50 for done in self.state.evaluations], first, last, n)

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        left: list[Piece] = [self.name_piece(f"{self.number} mAP50".strip())]
        if not self.state.evaluations:
            return left, []
        newest, best = self.state.evaluations[-1], self.state.best
        wide = width >= 40
        gap = "  " if wide else " "
        left.append((f"{gap}{digits3(newest.map50)}", "strong"))
        optional: list[Piece] = [(f"{gap}50-95 {digits3(newest.map50_95)}", "plain")]
        if best and best is not newest:
            optional.append((f"{gap}best {digits3(best.map50)} in epoch {best.epoch}", "good"))
        elif best:
            optional.append((f"{gap}best so far", "good"))
        left += fitting(left, optional, width)
        return left, []

    def _axis(self, raw: Columns) -> tuple[Axis | None, bool]:
        if not np.isfinite(raw.high).any():
            return None, False
        top = float(np.nanmax(raw.high))
        return fit_axis(0.0, max(0.1, top)), False

    def _curves(self, raw: Columns, axis: Axis, plot: int, rows: int) -> list[list[Piece]]:
        first, last = self.x_range()
        strict = self._points([done.map50_95 for done in self.state.evaluations], first, last, plot * 2)
        dotted, line = blank(plot, rows), blank(plot, rows)
        if strict:
            draw_spans(dotted, axis, strict.low, strict.high, strict.gap)
            dotted[:, 1::2] = False
        draw_spans(line, axis, raw.low, raw.high, raw.gap)
        line_codes, dot_codes = to_text(line), to_text(dotted)
        codes = np.where(line_codes != ord(" "), line_codes, dot_codes)
        return [runs(codes[row], line_codes[row] != ord(" "), "line", "band") for row in range(len(codes))]

    def _points(self, values: list[float], first: int, last: int, n: int) -> Columns | None:
        if not values:
            return None
        steps = np.array([done.step for done in self.state.evaluations], dtype=float)
        where = np.rint((steps - first) / max(1, last - first) * (n - 1)).astype(int).clip(0, n - 1)
        low = np.full(n, np.nan)
        numbers = np.array(values, dtype=float)
        finite = np.isfinite(numbers)
        low[where[finite]] = numbers[finite]
        gap = np.zeros(n, dtype=bool)
        gap[where[~finite]] = True
        return Columns(low, low, low, gap)


def smoothed(values: Floats, span: float) -> Floats:
    """Mean weighted by e^-(distance / ``span``) to both sides, so that the curve does not lag behind a trend.

    NaN has no weight and stays NaN. The newest columns know no future and lean on the past alone.
    """
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    total, weight = filled.copy(), known.astype(float)
    keep = math.exp(-1 / span)
    for order in (slice(None), slice(None, None, -1)):
        before = weight_before = 0.0
        sums, weights = np.empty(len(values)), np.empty(len(values))
        for k, (value, one) in enumerate(zip(filled[order].tolist(), known[order].tolist(), strict=True)):
            sums[k], weights[k] = before, weight_before
            before, weight_before = (before + value) * keep, (weight_before + one) * keep
        total += sums[order]
        weight += weights[order]
    result: Floats = np.divide(total, weight, out=np.full(len(values), np.nan), where=known)
    return result


def runs(codes: np.ndarray, chosen: np.ndarray | None, yes: str, no: str) -> list[Piece]:
    """A row of code points as pieces of one style each."""
    text = codes.astype("<u2").tobytes().decode("utf-16-le")
    if chosen is None:
        return [(text, yes)]
    edges = np.flatnonzero(np.diff(chosen)) + 1
    cuts = [0, *edges.tolist(), len(text)]
    return [(text[a:b], yes if chosen[a] else no) for a, b in pairwise(cuts) if b > a]


def fitting(left: list[Piece], optional: list[Piece], width: int) -> list[Piece]:
    """Those of ``optional`` that fit beside ``left`` in a title rule."""
    used = sum(len(text) for text, _ in left) + 2
    chosen: list[Piece] = []
    for piece in optional:
        if used + len(piece[0]) <= width:
            chosen.append(piece)
            used += len(piece[0])
    return chosen
