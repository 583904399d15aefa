"""The one table of keys. Dispatch, footer, help and command palette all read it; nothing else names a key.

A row belongs to a *scope*: the widget class, screen or app that carries out its action. Textual's own
``check_action`` of that owner says whether the action works now, so a key that does nothing at the moment
is neither dispatched nor shown. Two rows may share a key where their actions never work at the same time
(``space``: pause, resume).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from textual.actions import parse
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.screen import Screen

from . import browse_keys
from .inspect import keys as inspect_keys
from .keytable import Key as Key
from .keytable import key as key

KEYS: tuple[Key, ...] = (
    # the run
    key("run", "space", "pause", "pause", "Pause training after the step in progress.", footer=1),
    key("run", "space", "resume", "resume", "Let training go on.", footer=1),
    key("run", "n", "step", "step", "Do one step and pause.", footer=3),
    key("run", "e", "epoch_end", "epoch end", "Run to the end of the epoch and pause there.", footer=5),
    key("run", "c", "checkpoint", "checkpoint", "Write a checkpoint after the step in progress.", footer=6),
    key("run", "S", "snapshot", "snapshot", "Keep the next step's tensors on disk.", footer=20),
    # a run that another process writes
    key(
        "attached",
        "Q",
        "stop",
        "stop training",
        "Stop the training with a checkpoint, after a question; its process then ends.",
        footer=21,
    ),
    key(
        "attached",
        "space n e c S Q",
        "say_why_not",
        "why not",
        "Where the training cannot be paused, stepped or stopped from here: say why.",
        shown="space",
    ),
    # what is shown
    key(
        "view",
        "s",
        "smooth",
        "smooth",
        "Draw each curve smoothed over its raw values, or the raw values alone.",
        footer=7,
    ),
    key("view", "l", "log_scale", "log", "Logarithmic or linear value axis in all charts.", footer=8),
    key(
        "view",
        "i",
        "inspect",
        "inspect",
        "Look into the tensors of each step, while training goes on.",
        footer=4,
    ),
    key("view", "x", "x_unit", "axis", "Count the x axis in epochs or in steps.", footer=14),
    key(
        "view",
        "m",
        "statistic",
        "statistic",
        "Next statistic in the epoch table: mean, spread, trend, last, all.",
        footer=13,
    ),
    key(
        "view",
        "1 2 3 4 5 6 7 8 9",
        "panel('{key}')",
        "panel",
        "Show or hide the chart of that number; while a panel is enlarged, enlarge that one instead.",
        shown="1-9",
        footer=9,
    ),
    key("view", "h", "hide", "hide", "Hide the focused panel.", footer=15),
    key("view", "a", "show_all", "show all", "Show every panel again, without a filter.", footer=12),
    key("view", "f", "show_panel('findings')", "findings", "Show or hide the findings.", footer=20),
    key("view", "u", "show_panel('machine')", "machine", "Show or hide the machine panel.", footer=21),
    key("view", "p", "pick_panel", "panels", "Show or hide a panel chosen from a list.", footer=22),
    key(
        "view",
        "slash",
        "filter",
        "filter",
        "Show only the panels whose names match a regular expression.",
        shown="/",
        footer=23,
    ),
    key(
        "view",
        "o",
        "overlay",
        "overlay",
        "Lay another run of this folder over the charts, dashed.",
        footer=24,
    ),
    key("view", "tab", "focus_panel(1)", "focus", "Focus the next panel.", footer=11),
    key("view", "shift+tab", "focus_panel(-1)", "focus back", "Focus the panel before.", shown="S-tab"),
    key("view", "enter z", "enlarge", "enlarge", "Give the focused panel the whole screen.", footer=10),
    key(
        "view", "enter z escape", "restore", "back", "Put the enlarged panel back among the others.", footer=2
    ),
    # panels
    key(
        "chart",
        "left right shift+left shift+right",
        "cursor('{key}')",
        "cursor",
        "Move the cursor of all charts by a column; with shift by ten.",
        shown="←→",
        footer=10,
    ),
    key(
        "chart", "plus equals_sign", "zoom('in')", "zoom in", "Show half as many steps.", shown="+", footer=11
    ),
    key("chart", "minus", "zoom('out')", "zoom out", "Show twice as many steps.", shown="-", footer=11),
    key("chart", "left_square_bracket", "pan('left')", "earlier", "Half a window back.", shown="["),
    key(
        "chart",
        "right_square_bracket",
        "pan('right')",
        "later",
        "Half a window on; at the newest step the window follows it.",
        shown="]",
    ),
    key("chart", "home", "edge('first')", "first", "The cursor to the first step.", shown="Home"),
    key("chart", "end", "edge('last')", "newest", "The cursor to the newest step.", shown="End"),
    key("chart", "0", "whole", "all steps", "All steps again, and no cursor.", footer=3),
    key("chart", "escape", "drop_cursor", "no cursor", "Take the cursor away.", shown="esc"),
    key("findings", "enter", "detail", "detail", "Show all of the chosen finding.", footer=4),
    key("scrolling", "up k", "scroll(-1)", "up", "One line up.", shown="↑"),
    key("scrolling", "down j", "scroll(1)", "down", "One line down.", shown="↓"),
    key("scrolling", "pageup", "page(-1)", "page up", "One page up.", shown="PgUp"),
    key("scrolling", "pagedown", "page(1)", "page down", "One page down.", shown="PgDn"),
    key("scrolling", "home g", "edge(-1)", "first", "To the first line.", shown="Home"),
    key(
        "scrolling",
        "end G",
        "edge(1)",
        "newest",
        "To the newest line, and follow it.",
        shown="End",
        footer=16,
    ),
    key("epochs", "left", "shift(-1)", "left", "Show the columns further left.", shown="←"),
    key("epochs", "right", "shift(1)", "right", "Show the columns further right.", shown="→"),
    key("panel", "y", "copy", "copy", "Copy the panel's text to the clipboard (OSC 52).", footer=17),
    # everywhere
    key("app", "t", "theme", "theme", "Light or dark theme.", footer=18),
    key("app", "question_mark f1", "help", "help", "Help for what is focused.", shown="?", footer=2),
    key("app", "ctrl+p", "command_palette", "palette", "Every action by name.", shown="^p", footer=19),
    key(
        "app",
        "ctrl+z",
        "suspend_process",
        "suspend",
        "Into the background, a training of this process with it; fg comes back.",
        shown="^z",
        footer=22,
    ),
    key(
        "trainer",
        "q",
        "leave",
        "leave",
        "Stop after the step in progress with a checkpoint, and leave.",
        footer=2,
    ),
    key("trainer", "q", "close", "leave", "Leave: the run has ended.", footer=2),
    key(
        "trainer",
        "ctrl+c",
        "interrupt",
        "interrupt",
        "Once: stop with a checkpoint and leave. Twice: leave at once, with what is not saved lost.",
        shown="^c",
        priority=True,
    ),
    key("viewer", "q", "detach", "detach", "Leave this view; the training goes on as it is.", footer=2),
    key(
        "viewer",
        "ctrl+c",
        "break_off",
        "detach",
        "Leave this view at once; the training goes on as it is.",
        shown="^c",
        priority=True,
    ),
    # dialogs
    key("help", "escape question_mark q f1", "dismiss", "close", "Close the help.", shown="esc", footer=1),
    key("help", "up k", "scroll(-1)", "up", "One line up.", shown="↑", footer=2),
    key("help", "down j", "scroll(1)", "down", "One line down.", shown="↓", footer=3),
    key("finding", "escape enter q", "close", "close", "Close the finding.", shown="esc", footer=1),
    key("finding", "y", "copy", "copy", "Copy the finding.", footer=2),
    key("finding", "up k", "scroll(-1)", "up", "One line up.", shown="↑"),
    key("finding", "down j", "scroll(1)", "down", "One line down.", shown="↓"),
    key("filter", "enter", "submit", "keep", "Keep this filter.", footer=1),
    key("filter", "escape", "cancel", "back", "The filter as it was before.", shown="esc", footer=2),
    key("question", "y", "answer(True)", "yes", "Yes.", footer=1),
    key("question", "n escape", "answer(False)", "no", "No.", shown="n", footer=2),
    *inspect_keys.KEYS,
    *browse_keys.KEYS,
)

SCOPE_TITLES = {
    "run": "The training",
    "attached": "From another terminal",
    "view": "The view",
    "chart": "The charts",
    "findings": "The findings",
    "scrolling": "Scrolling",
    "epochs": "The epoch table",
    "panel": "This panel",
    "app": "Everywhere",
    "trainer": "Leaving",
    "viewer": "Leaving",
    "filter": "The filter",
    **inspect_keys.TITLES,
    **browse_keys.TITLES,
}


def rows(*scopes: str) -> list[Key]:
    """The table's rows of these scopes, in the table's order."""
    return [row for row in KEYS if row.scope in scopes]


def bindings(*scopes: str) -> list[BindingType]:
    """Dispatch: what a widget, screen or app of these scopes sets as its ``BINDINGS``."""
    return [
        Binding(name, row.action.format(key=name), row.label, show=False, priority=row.priority)
        for row in rows(*scopes)
        for name in row.keys
    ]


def owners(screen: Screen[Any]) -> Iterator[tuple[DOMNode, tuple[str, ...]]]:
    """Who can take a key on a screen, nearest first: the focused widget, the screen, the app."""
    for node in (screen.focused or screen).ancestors_with_self:
        scopes = getattr(node, "key_scopes", ())
        if scopes:
            yield node, scopes


def works(owner: DOMNode, row: Key) -> bool:
    """Whether the row's action does something now."""
    parsed = [parse(row.action.format(key=name)) for name in row.keys]
    return any(owner.check_action(name, parameters) is True for _, name, parameters in parsed)


def available(screen: Screen[Any]) -> list[tuple[DOMNode, Key]]:
    """Every row that works now, with its owner; without the keys that a nearer owner takes."""
    found: list[tuple[DOMNode, Key]] = []
    taken: set[str] = set()
    for owner, scopes in owners(screen):
        mine = [row for row in rows(*scopes) if works(owner, row) and not taken.issuperset(row.keys)]
        found += [(owner, _without(row, taken)) for row in mine]
        taken.update(name for row in mine for name in row.keys)
    return found


def _without(row: Key, taken: set[str]) -> Key:
    left = tuple(name for name in row.keys if name not in taken)
    return row if left == row.keys else replace(row, keys=left, shown=left[0])
