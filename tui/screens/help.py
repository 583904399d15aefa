"""The help of whatever is focused, written from the key table."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from ..keys import SCOPE_TITLES, Key, bindings, owners, rows, works
from ..widgets.panel import Panel

NOTHING = "Nothing is focused; tab goes through the panels."


def help_for(screen: Screen[Any], title: str) -> HelpScreen:
    """The help of what is focused on a screen; ``title`` where nothing is."""
    focused = screen.focused
    text = NOTHING
    if isinstance(focused, Panel):
        charts = focused.help_title == "Chart"
        title = f"{focused.help_title}: {focused.panel_name}" if charts else focused.help_title
        text = focused.help_text
    groups = [
        (scope, [(row, works(owner, row)) for row in rows(scope)])
        for owner, scopes in owners(screen)
        for scope in scopes
    ]
    return HelpScreen(title, text, groups)


class HelpScreen(ModalScreen[None]):
    key_scopes = ("help",)
    BINDINGS = bindings("help")

    def __init__(self, title: str, text: str, groups: list[tuple[str, list[tuple[Key, bool]]]]) -> None:
        """``groups``: a scope and its rows, each with whether it works now."""
        super().__init__()
        self.help_title, self.help_text, self.groups = title, text, groups

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help"):
            yield Static(self.help_title, id="help-title", markup=False)
            yield Static(self.help_text, id="help-text", markup=False)
            for scope, pairs in self.groups:
                yield Static(SCOPE_TITLES.get(scope, scope), classes="help-scope", markup=False)
                grid = Table.grid(padding=(0, 2, 0, 0))
                grid.add_column(justify="right", width=7)
                grid.add_column()
                for row, works in pairs:
                    note = "" if works else "  (not now)"
                    grid.add_row(row.shown, row.help + note, style="" if works else "dim")
                yield Static(grid)
            yield Static(
                "esc closes this help · it is about what is focused: tab, then ? for another panel",
                id="help-end",
                markup=False,
            )

    def action_dismiss(self, result: None = None) -> None:  # type: ignore[override]
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        self.query_one("#help").scroll_relative(y=lines, animate=False)
