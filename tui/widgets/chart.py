"""A curve in Braille with its axes; what is drawn comes from a subclass."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from textual import events

from engine.runs.codec import missing

from ..braille import Axis, blank, draw_spans, fit_axis, to_text, x_ticks, y_labels
from ..format import digits3, shorten
from ..history import Columns, Reading
from ..keys import bindings
from ..overlay import Overlay
from ..runstate import RunState
from ..stored import StoredRun
from ..viewport import FEWEST, Viewport
from .curves import dashed, fitting, layered, marked, smoothed
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
    view: Viewport = field(default_factory=Viewport)
    overlay: Overlay | None = None
    beyond: bool = False
    """Whether the axis reaches to the end of the run laid over this one, where that is longer."""
    stored: Callable[[], StoredRun | None] = lambda: None
    """This run's store, where there is one: it has the old steps that are only summarised here."""
    changed: Callable[[], None] = lambda: None
    """Called when a chart's keys have changed what all of them show."""


class Chart(Panel):
    """Title, curve, y labels at the left, x labels below."""

    key_scopes = ("chart", "panel")
    BINDINGS = bindings("chart")
    help_title = "Chart"

    def __init__(self, name: str, state: RunState, options: ChartOptions, id: str | None = None) -> None:
        super().__init__(name, id)
        self.state = state
        self.options = options
        self.number = ""
        """The key that shows and hides it, printed before the name."""
        self._plot, self._margin = 60, 8
        """Columns of the curve and those before it, as last drawn."""

    # for subclasses

    def columns(self, first: int, last: int, n: int) -> Columns | None:
        """The raw curve as ``n`` columns over these steps."""
        raise NotImplementedError

    def overlay_columns(self, first: int, last: int, n: int, scale: float) -> Columns | None:
        """The other run's curve."""
        overlay = self.options.overlay
        return overlay.columns(self.panel_name, first, last, n, scale) if overlay else None

    def reading(self, first: int, last: int) -> Reading | None:
        """What the cursor reads over these steps."""
        raise NotImplementedError

    def overlay_reading(self, first: int, last: int, scale: float) -> Reading | None:
        overlay = self.options.overlay
        return overlay.reading(self.panel_name, first, last, scale) if overlay else None

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
            (options.view.size, options.view.end, options.view.cursor, options.beyond),
            (options.overlay, options.overlay.run.last if options.overlay else 0),
        )

    def data_range(self) -> tuple[int, int]:
        """First and last step there is: from the first one seen to the newest, at least ten."""
        history = self.state.history
        if not history or not history.steps:
            return 0, 10
        last = max(history.last, history.first + 9)
        return history.first, max(last, self._overlay_end()) if self.options.beyond else last

    def x_range(self) -> tuple[int, int]:
        """First and last step drawn."""
        return self.options.view.window(*self.data_range())

    def _overlay_end(self) -> int:
        overlay = self.options.overlay
        return overlay.last(self._overlay_scale()) if overlay else 0

    def _overlay_scale(self) -> float:
        overlay = self.options.overlay
        per_epoch = self.state.started.steps_per_epoch if self.state.started else 0
        return overlay.scale(per_epoch, self.options.steps) if overlay else 1.0

    def body(self, width: int, height: int) -> list[list[Piece]]:
        rows = height - 1
        first, last = self.x_range()
        raw = self.columns(first, last, max(2, width * 2)) if rows >= 1 and width >= 12 else None
        other = self._other(first, last, max(2, width * 2)) if raw is not None else None
        axis, log_refused = self._axis(raw, other) if raw is not None else (None, False)
        if raw is None or axis is None:
            return self._message(self.empty_text(), width, height)
        labels = {row: digits3(value) for row, value in y_labels(axis, rows).items()}
        margin = max(5, *(len(text) for text in labels.values()))
        plot = width - margin - 1
        raw = self.columns(first, last, plot * 2)
        assert raw is not None
        self._plot, self._margin = plot, margin + 1
        lines = self._curves(raw, self._other(first, last, plot * 2), axis, plot, rows)
        cursor = self._cursor_column(first, last)
        painted: list[list[Piece]] = []
        for row, cells in enumerate(lines):
            label = labels.get(row)
            tick = "┤" if label is not None else "│"
            curve = marked(cells, cursor, "mark", "┊") if cursor is not None else cells
            painted.append([((label or "").rjust(margin), "axis"), (tick, "axis"), *curve])
        foot = self._x_axis(first, last, margin + 1, plot, "log: not above 0" if log_refused else "")
        painted.append(marked(foot, margin + 1 + cursor, "mark", "▲", "▲") if cursor is not None else foot)
        return painted

    def _cursor_column(self, first: int, last: int) -> int | None:
        step = self.options.view.cursor
        if step is None or not first <= step <= last:
            return None
        return round((step - first) / max(1, last - first) * (self._plot - 1))

    def _other(self, first: int, last: int, n: int) -> Columns | None:
        return self.overlay_columns(first, last, n, self._overlay_scale()) if self.options.overlay else None

    def _axis(self, raw: Columns, other: Columns | None) -> tuple[Axis | None, bool]:
        """The value axis, and whether a log axis was wished for and is impossible."""
        low, high = raw.low[np.isfinite(raw.low)], raw.high[np.isfinite(raw.high)]
        if other is not None:
            known = other.mean[np.isfinite(other.mean)]
            low, high = np.concatenate((low, known)), np.concatenate((high, known))
        if not low.size:
            return None, False
        if self.options.log:
            positive = np.concatenate((low[low > 0], high[high > 0]))
            if positive.size:
                return fit_axis(float(positive.min()), float(positive.max()), log=True), bool(
                    (low <= 0).any()
                )
        return fit_axis(float(low.min()), float(high.max())), self.options.log

    def _curves(
        self, raw: Columns, other: Columns | None, axis: Axis, plot: int, rows: int
    ) -> list[list[Piece]]:
        """Rows of pieces; where the line passes a cell, the cell shows the line alone."""
        band = blank(plot, rows)
        draw_spans(band, axis, raw.low, raw.high, raw.gap)
        layers = [(to_text(band), "band" if self.options.smooth else "line")]
        if other is not None:
            layers.insert(0, (dashed(self._line(other, axis, plot, rows)), "overlay"))
        if self.options.smooth:
            layers.insert(0, (self._line(raw, axis, plot, rows), "line"))
        return layered(layers)

    def _line(self, columns: Columns, axis: Axis, plot: int, rows: int) -> np.ndarray:
        dots = blank(plot, rows)
        smooth = self.options.smooth
        curve = smoothed(columns.mean, max(2.0, SMOOTHING * len(columns.mean))) if smooth else columns.mean
        draw_spans(dots, axis, curve, curve, columns.gap)
        return to_text(dots)

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

    # cursor and window

    def marks(self) -> list[Piece]:
        """How the chart is drawn, for the right end of the title."""
        options = self.options
        words = [("zoomed", options.view.changed), ("log", options.log), ("smooth", options.smooth)]
        pieces: list[Piece] = [(" ".join(word for word, on in words if on), "dim")]
        if options.overlay:
            pieces += [("  ╍╍ ", "overlay"), (shorten(options.overlay.name, 20), "dim")]
        return [piece for piece in pieces if piece[0]]

    def cursor_pieces(self, width: int) -> list[Piece]:
        """What stands under the cursor: the value first, then what else there is room for."""
        view, bounds = self.options.view, self.data_range()
        first, last = view.reading(self._plot, *bounds)
        read = self.reading(first, last)
        gap = "  " if width >= 40 else " "
        several = read is not None and read.last > read.first
        value = digits3(read.mean) if read and read.finite else "nan" if read and read.bad else "no value"
        pieces: list[Piece] = [(f"{gap}{value}", "mark")]
        at = f"{read.first if read else view.cursor:,}" + (f"-{read.last:,}" if read and several else "")
        other = self.overlay_reading(first, last, self._overlay_scale())
        if other is not None and other.finite:
            pieces.append((f"{gap}╍ {digits3(other.mean)}", "overlay"))
        what = " @" if width < 40 else "  mean of steps " if several else "  step "
        pieces.append((what + at, "plain"))
        if read and several and read.finite:
            pieces.append((f"{gap}min {digits3(read.low)} max {digits3(read.high)}", "plain"))
        per_epoch = self.state.started.steps_per_epoch if self.state.started else 0
        if per_epoch and view.cursor:
            pieces.append((f"{gap}epoch {(view.cursor - 1) // per_epoch + 1}", "dim"))
        if read and read.bad:
            pieces.append((f"{gap}{read.bad} non-finite", "bad"))
        return pieces

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        view, (first, last) = self.options.view, self.data_range()
        match action:
            case "cursor" | "edge":
                return self.state.last is not None
            case "zoom":
                shown = self.x_range()[1] - self.x_range()[0] + 1
                if parameters[0] == "in":
                    return self.state.last is not None and shown > FEWEST
                return view.changed or (not self.options.beyond and self._overlay_end() > last)
            case "pan":
                start, end = self.x_range()
                return start > first if parameters[0] == "left" else end < last
            case "whole":
                return view.changed or self.options.beyond or view.cursor is not None
            case "drop_cursor":
                return view.cursor is not None
        return super().check_action(action, parameters)

    def action_cursor(self, key: str) -> None:
        columns = 10 if key.startswith("shift") else 1
        sign = -1 if key.endswith("left") else 1
        self.options.view.move(sign * columns, self._plot, *self.data_range())
        self.options.changed()

    def action_edge(self, side: str) -> None:
        first, last = self.data_range()
        self.options.view.put(first if side == "first" else last, first, last)
        self.options.changed()

    def action_zoom(self, way: str) -> None:
        options = self.options
        if way == "out" and not options.view.changed:
            options.beyond = True
        elif way == "in" and options.beyond and not options.view.changed:
            options.beyond = False
        else:
            options.view.zoom(0.5 if way == "in" else 2.0, *self.data_range())
        options.changed()

    def action_pan(self, way: str) -> None:
        self.options.view.pan(-0.5 if way == "left" else 0.5, *self.data_range())
        self.options.changed()

    def action_whole(self) -> None:
        self.options.view.all()
        self.options.beyond = False
        self.options.changed()

    def action_drop_cursor(self) -> None:
        self.options.view.cursor = None
        self.options.changed()

    def on_click(self, event: events.Click) -> None:
        """The cursor goes where the mouse points."""
        column = event.x - self._margin
        if 0 <= column < self._plot and event.y and self.state.last is not None:
            first, last = self.x_range()
            step = round(first + column / max(1, self._plot - 1) * (last - first))
            self.options.view.put(step, *self.data_range())
            self.options.changed()


class SeriesChart(Chart):
    """One loss term, or another value that every step has."""

    help_text = (
        "One value over the steps. The dim band runs from the smallest to the largest value of each "
        "column, the line is its smoothed mean (s switches it off). In the title: the newest value, the "
        "mean of this epoch's steps so far (μ), and the trend: the last epoch's worth of steps against as "
        "many before it; → means that the change is within twice its standard error. A value that is NaN "
        "or infinite leaves a gap and is counted in the title; it has no part in the axis. ← and → move a "
        "cursor that all charts share: the titles then read the values under it; where a column holds "
        "several steps, their mean, min and max. Another run (o) is drawn dashed."
    )

    def columns(self, first: int, last: int, n: int) -> Columns | None:
        history = self.state.history
        if history is None or not history.steps or self.panel_name not in history.names:
            return None
        if history.grain(first) > max(1.0, (last - first) / n) and (stored := self.options.stored()):
            found = stored.columns(self.panel_name, first, last, n)
            if found is not None:
                return found
        return history.columns(self.panel_name, first, last, n)

    def reading(self, first: int, last: int) -> Reading | None:
        history = self.state.history
        if history is None or self.panel_name not in history.names:
            return None
        if history.grain(first) > 1 and (stored := self.options.stored()):
            found = stored.reading(self.panel_name, first, last)
            if found is not None:
                return found
        return history.reading(self.panel_name, first, last)

    def empty_text(self) -> str:
        return "no finite value yet" if self.state.last else "no steps yet"

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        name = f"{self.number} {self.panel_name}".strip()
        left: list[Piece] = [self.name_piece(name)]
        if not self.state.last:
            return left, []
        if self.options.view.cursor is not None:
            return left + fitting(left, self.cursor_pieces(width), width), []
        bad = self.state.history.bad(self.panel_name) if self.state.history else 0
        value, mean = self.state.value(self.panel_name), self.state.epoch_mean(self.panel_name)
        trend = self.state.trend(self.panel_name)
        wide = width >= 40
        gap = "  " if wide else " "
        if missing(np.array([value]))[0]:  # not measured at this step, which is no NaN
            left.append((f"{gap}-", "plain"))
        else:
            left.append((f"{gap}{digits3(value)}", "strong" if math.isfinite(value) else "bad"))
        optional: list[Piece] = [(f"{gap}{'mean ' if wide else 'μ'}{digits3(mean)}", "plain")]
        if bad:
            optional.insert(0, (f"{gap}{bad} non-finite", "bad"))
        if trend:
            optional.append((f"{gap}{trend if wide else trend.short}", "plain" if trend.clear else "dim"))
        left += fitting(left, optional, width)
        return left, self.marks() if width >= 56 else []
