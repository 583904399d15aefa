"""The environment of a program that is started in a pseudo-terminal of its own."""

from __future__ import annotations

import os


def own_terminal(**more: str) -> dict[str, str]:
    """This process's, without a size that it may have been told: the pseudo-terminal has its own."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return inherited | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | more
