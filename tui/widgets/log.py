"""The log: what happened, a line each, words for the level so that colour is not needed."""

from __future__ import annotations

import time
from collections import Counter

from ..runstate import LOG_LINES, RunState
from .panel import Piece, ScrollingPanel, fit

_STYLES = {"debug": "dim", "info": "plain", "warning": "warn", "error": "bad"}


class LogPanel(ScrollingPanel):
    help_title = "Log"
    help_text = (
        "What happened, the newest at the bottom: evaluations, checkpoints, warnings, and what anything in "
        f"this process printed. The newest {LOG_LINES:,} lines are kept here."
    )

    def __init__(self, state: RunState) -> None:
        super().__init__("log", id="log")
        self.state = state

    def content_key(self) -> object:
        return (self.state.line_count, self.back, self.size)

    def line_total(self) -> int:
        return len(self.state.lines)

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        position = self.position()
        counts = Counter(line.level for line in self.state.lines)
        notes = [f"{n} {level}{'s' * (n > 1)}" for level in ("error", "warning") if (n := counts[level])]
        note = "  " + ", ".join(notes) if notes else ""
        return [self.name_piece("log"), (note, "warn")], [(position, "dim")] if position else []

    def lines(self, first: int, count: int, width: int) -> list[list[Piece]]:
        chosen = list(self.state.lines)[first : first + count]
        painted: list[list[Piece]] = []
        for line in chosen:
            at = time.strftime("%H:%M:%S", time.localtime(line.at))
            level = f"{line.level} " if line.level in ("warning", "error") else ""
            style = _STYLES.get(line.level, "plain")
            painted.append(fit([(f" {at} ", "axis"), (level, style), (line.text, style)], width))
        return painted
