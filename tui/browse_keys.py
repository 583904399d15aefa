"""The rows of the key table that belong to the list of runs and to the comparison."""

from __future__ import annotations

from .keytable import Key, key

KEYS: tuple[Key, ...] = (
    key("runs", "enter", "open", "open", "Open the run in the live view; leaving it comes back.", footer=1),
    key("runs", "c space", "mark", "mark", "Mark the run, or take its mark away.", footer=3),
    key("runs", "o", "compare", "compare", "Compare the marked runs.", footer=2),
    key(
        "runs",
        "slash",
        "search",
        "search",
        "Show the runs in which every typed word occurs.",
        shown="/",
        footer=4,
    ),
    key("runs", "s right", "sort(1)", "sort", "Sort by the next column.", footer=5),
    key("runs", "S left", "sort(-1)", "sort back", "Sort by the column before."),
    key("runs", "r", "reverse", "reverse", "Turn the order round.", footer=6),
    key("runs", "f5 R", "reload", "reload", "Read the folder again.", shown="R", footer=7),
    key("runs", "up k", "move(-1)", "up", "The run above.", shown="↑"),
    key("runs", "down j", "move(1)", "down", "The run below.", shown="↓"),
    key("runs", "pageup", "page(-1)", "page up", "A page up.", shown="PgUp"),
    key("runs", "pagedown", "page(1)", "page down", "A page down.", shown="PgDn"),
    key("runs", "home g", "edge(-1)", "first", "The first run.", shown="Home"),
    key("runs", "end G", "edge(1)", "last", "The last run.", shown="End"),
    key("runs", "escape", "forget", "all runs", "Every run again, and no mark.", shown="esc", footer=8),
    key("runs", "q", "quit", "leave", "Leave.", footer=2),
    key("compare", "right n", "term(1)", "next term", "Draw the next term.", shown="→", footer=1),
    key("compare", "left p", "term(-1)", "term before", "Draw the term before.", shown="←", footer=3),
    key("compare", "x", "unit", "axis", "Count the x axis in epochs, steps or hours.", footer=4),
    key("compare", "s", "smooth", "smooth", "Draw smoothed curves, or the steps' own means.", footer=6),
    key("compare", "l", "log_scale", "log", "Logarithmic or linear value axis.", footer=7),
    key(
        "compare",
        "tab d",
        "table(1)",
        "next table",
        "Runs, settings that differ, or where they part.",
        footer=5,
    ),
    key(
        "compare",
        "z enter",
        "enlarge",
        "enlarge",
        "Give the chart the whole screen, or the table half.",
        footer=8,
    ),
    key("compare", "up k", "scroll(-1)", "up", "The table one line up.", shown="↑"),
    key("compare", "down j", "scroll(1)", "down", "The table one line down.", shown="↓"),
    key("compare", "q escape", "back", "back", "Leave the comparison.", footer=2),
    key("browser", "ctrl+c", "break_off", "leave", "Leave at once.", shown="^c", priority=True),
)

TITLES = {"runs": "The runs", "compare": "The comparison", "browser": "Leaving"}
