"""The list of runs: searched by typing, sorted by any column, opened and compared from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

from rich.segment import Segment
from textual import events
from textual.app import ComposeResult
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from engine.errors import UserError
from engine.runs.compare import compare
from engine.runs.listing import RunInfo, list_runs

from ..format import shorten
from ..keys import bindings
from ..run_rows import HEAD, LEFT, cells
from ..widgets.bars import Footer

RELOAD = 5.0
STARTED = HEAD.index("started")
GAP = 2
KEPT_LAST = ("network", "data", "steps", "spent", "50-95", "total", "started", "epochs")
"""Columns in the order in which a narrow screen gives them up."""


def sort_key(info: RunInfo, column: str) -> tuple[bool, Any]:
    """What is not known comes first in rising order, so last in the order shown at first."""
    value: Any = {
        "run": info.name.lower(),
        "state": info.status,
        "data": info.data.lower(),
        "network": info.network.lower(),
        "epochs": info.epochs,
        "steps": info.steps,
        "mAP50": info.best_map50,
        "50-95": info.best_map50_95,
        "total": info.last_total,
        "started": info.started,
        "spent": info.seconds,
    }[column]
    known = value is not None and value == value
    return known, value if known else 0


class RunsScreen(Screen[None]):
    key_scopes = ("runs",)
    BINDINGS = bindings("runs")

    def __init__(self, root: Path, found: list[RunInfo]) -> None:
        super().__init__()
        self.root, self.found = root, found
        self.typed, self.searching = "", False
        self.column, self.down = STARTED, True
        self.at = 0
        self.marked: list[Path] = []

    def compose(self) -> ComposeResult:
        yield RunTable(self)
        yield Footer()

    def on_mount(self) -> None:
        self.set_interval(RELOAD, self._follow)
        self._place()

    def on_resize(self, _: events.Resize) -> None:
        self._place()

    def on_screen_resume(self) -> None:
        self.draw()

    def _place(self) -> None:
        width, height = self.size
        for widget, y, size in (
            (self.query_one(RunTable), 0, height - 1),
            (self.query_one(Footer), height - 1, 1),
        ):
            widget.styles.offset = (0, y)
            widget.styles.width, widget.styles.height = width, size
        self.draw()

    def draw(self) -> None:
        self.query_one(RunTable).refresh()
        self.query_one(Footer).invalidate()

    def shown(self) -> list[RunInfo]:
        """The runs that fit what was typed, in order."""
        words = self.typed.lower().split()
        column = HEAD[self.column]
        fitting = [i for i in self.found if all(word in " ".join(cells(i)).lower() for word in words)]
        return sorted(fitting, key=lambda info: sort_key(info, column), reverse=self.down)

    def current(self) -> RunInfo | None:
        shown = self.shown()
        return shown[min(self.at, len(shown) - 1)] if shown else None

    async def _follow(self) -> None:
        if any(info.alive for info in self.found):
            await self.action_reload()

    # keys

    def on_key(self, event: events.Key) -> None:
        if not self.searching:
            return
        event.stop()
        event.prevent_default()
        if event.key in ("enter", "escape"):
            self.searching = False
            self.typed = "" if event.key == "escape" else self.typed
        elif event.key == "backspace":
            self.typed = self.typed[:-1]
        elif event.is_printable and event.character:
            self.typed += event.character
        self.at = 0
        self.draw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if self.searching and action in OWN_ACTIONS:
            return False
        if action in ("open", "mark", "move", "page", "edge"):
            return bool(self.shown())
        if action == "compare":
            return len(self.marked) > 1
        if action == "forget":
            return bool(self.typed or self.marked)
        return super().check_action(action, parameters)

    def action_open(self) -> None:
        info = self.current()
        if info is None:
            return
        if info.status == "damaged" or not (info.steps or info.alive):
            self.notify(info.message or f"{info.name} has no steps to show.", severity="warning")
            return
        app: Any = self.app
        app.open_run(info.path)

    def action_mark(self) -> None:
        info = self.current()
        if info is None:
            return
        if info.path in self.marked:
            self.marked.remove(info.path)
        else:
            self.marked.append(info.path)
        self.action_move(1)

    def action_compare(self) -> None:
        app: Any = self.app
        try:
            app.open_comparison(compare(self.marked))
        except UserError as error:
            self.notify(str(error), severity="error")

    def action_search(self) -> None:
        self.searching = True
        self.draw()

    def action_sort(self, by: int) -> None:
        self.column = (self.column + by) % len(HEAD)
        self.at = 0
        self.draw()

    def action_reverse(self) -> None:
        self.down = not self.down
        self.draw()

    async def action_reload(self) -> None:
        current = self.current()
        # Many runs, or a slow disk: the keys go on working meanwhile.
        self.found = await asyncio.to_thread(list_runs, self.root)
        paths = [info.path for info in self.shown()]
        self.marked = [path for path in self.marked if any(info.path == path for info in self.found)]
        if current is not None and current.path in paths:
            self.at = paths.index(current.path)
        self.draw()

    def action_move(self, by: int) -> None:
        self.at = max(0, min(self.at + by, len(self.shown()) - 1))
        self.draw()

    def action_page(self, by: int) -> None:
        self.action_move(by * max(1, self.size.height - 4))

    def action_edge(self, side: int) -> None:
        self.action_move(side * len(self.found))

    def action_forget(self) -> None:
        self.typed, self.marked = "", []
        self.draw()

    def action_quit(self) -> None:
        self.app.exit(0)


OWN_ACTIONS = (
    "open",
    "mark",
    "compare",
    "search",
    "sort",
    "reverse",
    "reload",
    "move",
    "page",
    "edge",
    "forget",
    "quit",
)


class RunTable(Widget):
    COMPONENT_CLASSES: ClassVar = {
        "runs--head",
        "runs--sorted",
        "runs--plain",
        "runs--dim",
        "runs--cursor",
        "runs--mark",
    }

    def __init__(self, runs: RunsScreen) -> None:
        super().__init__(id="run-table")
        self.runs = runs
        self._lines: tuple[object, list[Strip]] = (None, [])
        self._ends: list[tuple[int, int]] = []

    def render_line(self, y: int) -> Strip:
        if y == 0 or not self._lines[1] or len(self._lines[1]) != self.size.height:
            self._lines = (None, self._draw())
        return self._lines[1][y] if y < len(self._lines[1]) else Strip.blank(self.size.width, self.rich_style)

    def _draw(self) -> list[Strip]:
        width, height = self.size
        runs, base = self.runs, self.rich_style
        shown = runs.shown()
        runs.at = max(0, min(runs.at, len(shown) - 1))
        room = max(1, height - 3)
        first = max(0, min(runs.at - room // 2, len(shown) - room))
        visible = shown[first : first + room]
        rows = [cells(info, info.name) for info in visible]
        columns, widths = self._columns(rows, width)
        gone = [name for c, name in enumerate(HEAD) if c not in columns]
        styles = {
            n: base + self.get_component_rich_style(f"runs--{n}")
            for n in ("head", "sorted", "plain", "dim", "cursor", "mark")
        }
        strips = [self._title(len(shown), gone, styles), self._head(columns, widths, styles)]
        for k, (info, row) in enumerate(zip(visible, rows, strict=True)):
            chosen, mark = first + k == runs.at, info.path in runs.marked
            text = "  ".join(
                shorten(row[c], widths[c]).ljust(widths[c]) if c < LEFT else row[c].rjust(widths[c])
                for c in columns
            )
            sign = ("▸" if chosen else " ") + ("✓" if mark else " ")
            name = (
                "cursor"
                if chosen
                else "mark"
                if mark
                else "plain"
                if info.alive or info.status == "finished"
                else "dim"
            )
            strips.append(Strip([Segment(f"{sign} {text}", styles[name])]))
        if not shown:
            text = (
                "nothing fits what was typed; esc shows all runs"
                if runs.typed
                else f"no runs in {runs.root}/"
            )
            strips.append(Strip([Segment(f"   {text}", styles["dim"])]))
        return [s.adjust_cell_length(width, base) for s in strips[:height]] + [
            Strip.blank(width, base)
        ] * max(0, height - len(strips))

    def _columns(self, rows: list[list[str]], width: int) -> tuple[list[int], list[int]]:
        """Those that fit beside the sorted one, and their widths."""
        widths = [
            max(len(HEAD[c]) + 1, *(len(row[c]) for row in rows)) if rows else len(HEAD[c]) + 1
            for c in range(len(HEAD))
        ]
        widths[0] = min(widths[0], 32)
        columns = list(range(len(HEAD)))
        for name in KEPT_LAST:
            if 3 + sum(widths[c] + GAP for c in columns) - GAP <= width:
                break
            if HEAD.index(name) != self.runs.column:
                columns.remove(HEAD.index(name))
        return columns, widths

    def _title(self, count: int, gone: list[str], styles: dict[str, Any]) -> Strip:
        runs = self.runs
        total = f"{count:,} of {len(runs.found):,}" if runs.typed else f"{len(runs.found):,}"
        pieces = [Segment(f" runs in {shorten(runs.root.resolve().name, 24)}/  {total}", styles["sorted"])]
        if runs.marked:
            pieces.append(Segment(f"   {len(runs.marked)} marked", styles["mark"]))
        if gone:
            pieces.append(Segment(f"   narrow: without {', '.join(gone)}", styles["dim"]))
        if runs.searching or runs.typed:
            pieces.append(Segment(f"   / {runs.typed}{'▏' if runs.searching else ''}", styles["mark"]))
        if runs.searching:
            pieces.append(Segment("  enter keeps it, esc shows all", styles["dim"]))
        return Strip(pieces)

    def _head(self, columns: list[int], widths: list[int], styles: dict[str, Any]) -> Strip:
        pieces, at = [Segment("   ", styles["head"])], 3
        self._ends = []
        for c in columns:
            sign = ("▾" if self.runs.down else "▴") if c == self.runs.column else ""
            text = f"{HEAD[c]}{sign}"
            text = text.ljust(widths[c]) if c < LEFT else text.rjust(widths[c])
            pieces += [
                Segment(text, styles["sorted" if sign else "head"]),
                Segment(" " * GAP, styles["head"]),
            ]
            self._ends.append((at + widths[c], c))
            at += widths[c] + GAP
        return Strip(pieces)

    def on_click(self, event: events.Click) -> None:
        """A head sorts by its column, again: turns the order round; a line becomes the chosen one."""
        runs = self.runs
        if event.y == 1:
            column = next((c for end, c in self._ends if event.x < end + GAP), None)
            if column == runs.column:
                runs.down = not runs.down
            elif column is not None:
                runs.column = column
        elif event.y > 1:
            shown, room = len(runs.shown()), max(1, self.size.height - 3)
            k = max(0, min(runs.at - room // 2, shown - room)) + event.y - 2
            runs.at = k if k < shown else runs.at
        runs.draw()
