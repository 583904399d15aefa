"""The epoch table: mean, spread, trend and last value of every term, and the average precision."""

from __future__ import annotations

from dataclasses import dataclass

from ..format import digits3, duration, signed
from ..keys import bindings
from ..runstate import EpochRow, RunState
from .panel import Piece, ScrollingPanel

STATISTICS = ("mean", "spread", "trend", "last")
CHOICES = ("auto", *STATISTICS, "all")


@dataclass(frozen=True)
class Cell:
    text: str
    style: str = "plain"


class EpochTable(ScrollingPanel):
    key_scopes = ("epochs", "scrolling", "panel")
    BINDINGS = bindings("epochs")
    head = 1
    help_title = "Epoch table"
    help_text = (
        "One row an epoch, the newest at the bottom. The mean of the epoch's steps stands under the "
        "term's name; ±: their standard deviation; trend: the mean of the last quarter minus the mean of "
        "the first; last: the last batch alone, which is noise and often misread as progress. Where terms "
        "are sums over objects, the values are per object. ★ marks the best one, by mAP50-95: its "
        "weights are kept. As many of the four are shown as fit; m chooses, and where not all columns "
        "fit, ← and → move through them."
    )

    def __init__(self, state: RunState) -> None:
        super().__init__("epochs", id="epochs")
        self.state = state
        self.statistic = "auto"
        self.column = 0
        """The first column shown after the epoch's number."""

    def content_key(self) -> object:
        waiting = "" if self.state.epochs else self._waiting()
        return (self.state.epoch_version, self.statistic, self.column, self.back, self.size, waiting)

    # columns

    def shown_statistics(self, width: int) -> tuple[str, ...]:
        """As many as fit side by side, the mean first, unless one was chosen."""
        if self.statistic == "all":
            return STATISTICS
        if self.statistic != "auto":
            return (self.statistic,)
        choices = (STATISTICS, STATISTICS[:3], STATISTICS[:2], STATISTICS[:1])
        return next((some for some in choices if self._needed(some) <= width), STATISTICS[:1])

    def titles(self, statistics: tuple[str, ...]) -> list[str]:
        terms = self.state.started.terms if self.state.started else ()
        heads = {"mean": "", "spread": "±", "trend": "trend", "last": "last"}
        alone = len(statistics) == 1
        names = [term if alone else heads[each] or term for term in terms for each in statistics]
        return [*names, "mAP50", "50-95", "lr", "time"]

    def cells(self, row: EpochRow, statistics: tuple[str, ...]) -> list[Cell]:
        terms = self.state.started.terms if self.state.started else ()
        cells: list[Cell] = []
        for term in terms:
            summary = row.summaries.get(term)
            for statistic in statistics:
                value = getattr(summary, statistic) if summary else None
                text = "" if value is None else signed(value) if statistic == "trend" else digits3(value)
                cells.append(Cell(text, "strong" if statistic == "mean" else "plain"))
        scores = row.evaluation
        best = scores is not None and scores == self.state.best
        cells.append(
            Cell(
                ("★ " if best else "") + digits3(scores.map50) if scores else "", "good" if best else "strong"
            )
        )
        cells.append(Cell(digits3(scores.map50_95) if scores else ""))
        cells.append(Cell(digits3(row.done.lr) if row.done else ""))
        cells.append(Cell(duration(row.done.seconds) if row.done else ""))
        return cells

    def widths(self, statistics: tuple[str, ...]) -> list[int]:
        """Wide enough for any number of ``digits3`` that is usual here; a longer one pushes the rest."""
        widths = [max(len(title), 7) + 1 for title in self.titles(statistics)]
        widths[-4], widths[-2] = 9, 9
        return widths

    def _needed(self, statistics: tuple[str, ...]) -> int:
        return 6 + sum(self.widths(statistics))

    def _fitting(self, statistics: tuple[str, ...], width: int) -> range:
        """The columns from ``self.column`` on that fit."""
        widths = self.widths(statistics)
        self.column = max(0, min(self.column, self._last_start(widths, width)))
        room, end = width - 6, self.column
        while end < len(widths) and widths[end] <= room:
            room -= widths[end]
            end += 1
        return range(self.column, end)

    def _last_start(self, widths: list[int], width: int) -> int:
        room, start = width - 6, len(widths)
        while start > 0 and widths[start - 1] <= room:
            room -= widths[start - 1]
            start -= 1
        return start

    # lines

    def line_total(self) -> int:
        return len(self.state.epochs)

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        statistics = self.shown_statistics(width)
        unit = " per object" if self.state.started and self.state.started.per_object else ""
        what = " ".join(statistics) + unit
        shown, total = self._fitting(statistics, width), len(self.widths(statistics))
        hidden = total - len(shown)
        notes = [
            f"+{hidden} columns ←→" if hidden else "",
            f"rows {p}" if (p := self.position()) else "",
        ]
        return [self.name_piece("epochs"), (f"  {what}", "plain")], [("  ".join(filter(None, notes)), "dim")]

    def head_lines(self, width: int) -> list[list[Piece]]:
        statistics = self.shown_statistics(width)
        titles, widths = self.titles(statistics), self.widths(statistics)
        columns = "".join(titles[k].rjust(widths[k]) for k in self._fitting(statistics, width))
        return [[("epoch ".rjust(6) + columns, "axis")]]

    def lines(self, first: int, count: int, width: int) -> list[list[Piece]]:
        if not self.state.epochs:
            return [[(self._waiting(), "dim")]]
        statistics = self.shown_statistics(width)
        widths, columns = self.widths(statistics), self._fitting(statistics, width)
        lines: list[list[Piece]] = []
        for row in list(self.state.epochs.values())[first : first + count]:
            cells = self.cells(row, statistics)
            line: list[Piece] = [(f"{row.epoch:>5} ", "axis")]
            line += [(cells[k].text.rjust(widths[k]), cells[k].style) for k in columns]
            lines.append(line)
        return lines

    def _waiting(self) -> str:
        started, last = self.state.started, self.state.last
        if not started or not last or last.iteration >= started.steps_per_epoch:
            return "  no epoch is finished yet"
        seconds = (started.steps_per_epoch - last.iteration) / self.state.steps_per_second
        return f"  no epoch is finished yet; the first ends in about {duration(seconds)}"

    # keys

    def choose(self, statistic: str) -> None:
        """One of ``CHOICES``; anything else is as at first."""
        self.statistic = statistic if statistic in CHOICES else "auto"

    def action_statistic(self) -> None:
        order = CHOICES
        self.statistic = order[(order.index(self.statistic) + 1) % len(order)]
        self.column = 0
        self.invalidate(force=True)

    def action_shift(self, columns: int) -> None:
        self.column = max(0, self.column + columns)
        self.invalidate(force=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "shift":
            statistics = self.shown_statistics(self.size.width)
            columns = self._fitting(statistics, self.size.width)
            return columns.start > 0 if parameters[0] == -1 else columns.stop < len(self.widths(statistics))
        return super().check_action(action, parameters)
