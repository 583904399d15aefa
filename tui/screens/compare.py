"""The comparison: curves above, one of three tables below."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget

from engine.runs.compare import Comparison

from ..comparison import best_lines, parting_lines, setting_lines
from ..format import shorten
from ..keys import bindings
from ..overlaid import EXTRAS, RunCurves
from ..widgets.bars import Footer
from ..widgets.overlaid import MOST, OverlaidChart
from ..widgets.panel import Panel, Piece

REREAD = 3.0
"""Seconds between two looks at runs that go on."""
TABLES = ("runs", "settings that differ", "where they part")


class LinesPanel(Panel):
    """One of the tables, scrolled."""

    key_scopes = ("panel",)
    help_title = "Tables"
    help_text = (
        "The best evaluation of each run; the settings that are not the same in all; and for each term the "
        "first epoch from which on a run is apart from the first one by more than the noise of both."
    )

    def __init__(self, tables: list[list[str]]) -> None:
        super().__init__("table", id="lines")
        self.tables = tables
        self.shown, self.top = 0, 0

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        lines, rows = len(self.tables[self.shown]), max(0, self.size.height - 1)
        place = f"{self.top + 1}-{min(lines, self.top + rows)} of {lines}" if lines > rows else ""
        return [self.name_piece(TABLES[self.shown]), (f"  {self.shown + 1}/{len(TABLES)}", "dim")], [
            (place, "dim")
        ] if place else []

    def body(self, width: int, height: int) -> list[list[Piece]]:
        lines = self.tables[self.shown]
        self.top = max(0, min(self.top, len(lines) - height))
        return [
            [(f" {shorten(line, width - 1)}", "dim" if k + self.top == 0 else "plain")]
            for k, line in enumerate(lines[self.top : self.top + height])
        ]


class CompareScreen(Screen[None]):
    key_scopes = ("compare",)
    BINDINGS = bindings("compare")

    def __init__(self, found: Comparison) -> None:
        super().__init__()
        runs = found.runs[:MOST]
        self.comparison = found
        self.chart = OverlaidChart([RunCurves(run) for run in runs], [*found.terms, *EXTRAS])
        notes = list(found.notes)
        if len(found.runs) > MOST:
            notes.append(f"the chart shows the first {MOST} of {len(found.runs)} runs")
        parts = parting_lines(found) or ["nothing to compare"]
        self.table = LinesPanel([[*best_lines(found), *notes], setting_lines(found), [*parts, *notes]])
        self.large = False

    def compose(self) -> ComposeResult:
        yield self.chart
        yield self.table
        yield Footer()

    def on_mount(self) -> None:
        units = self.chart.units()
        if units and self.chart.unit not in units:
            self.chart.unit = units[0]
        if any(run.info.alive for run in self.comparison.runs):
            self.set_interval(REREAD, self._reread)
        self.place()

    def on_resize(self, _: events.Resize) -> None:
        self.place()

    def place(self) -> None:
        width, height = self.size
        below = min(max(len(lines) for lines in self.table.tables) + 1, max(4, (height - 1) * 2 // 5))
        below = 0 if self.large else min(below, max(0, height - 9))
        _put(self.chart, 0, width, height - 1 - below)
        _put(self.table, height - 1 - below, width, below)
        _put(self.query_one(Footer), height - 1, width, 1)
        self.table.display = below > 1
        self.draw()

    def draw(self) -> None:
        self.chart.invalidate(force=True)
        self.table.invalidate(force=True)
        if self.is_mounted:
            self.query_one(Footer).invalidate()

    def _reread(self) -> None:
        for run in self.chart.curves:
            if run.run.info.alive:
                run.forget()
        self.draw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "unit":
            return len(self.chart.units()) > 1
        if action in ("table", "scroll"):
            return not self.large
        return super().check_action(action, parameters)

    def action_term(self, by: int) -> None:
        chart = self.chart
        chart.term = chart.terms[(chart.terms.index(chart.term) + by) % len(chart.terms)]
        units = chart.units()
        if units and chart.unit not in units:
            chart.unit = units[0]
        self.draw()

    def action_unit(self) -> None:
        units = self.chart.units()
        at = units.index(self.chart.unit) if self.chart.unit in units else -1
        self.chart.unit = units[(at + 1) % len(units)]
        self.draw()

    def action_smooth(self) -> None:
        self.chart.smooth = not self.chart.smooth
        self.draw()

    def action_log_scale(self) -> None:
        self.chart.log_scale = not self.chart.log_scale
        self.draw()

    def action_table(self, by: int) -> None:
        self.table.shown, self.table.top = (self.table.shown + by) % len(TABLES), 0
        self.draw()

    def action_scroll(self, by: int) -> None:
        self.table.top = max(0, self.table.top + by)
        self.draw()

    def action_enlarge(self) -> None:
        self.large = not self.large
        self.place()

    def action_back(self) -> None:
        app: Any = self.app
        app.leave_comparison()


def _put(widget: Widget, y: int, width: int, height: int) -> None:
    widget.styles.offset = (0, y)
    widget.styles.width, widget.styles.height = width, max(0, height)
