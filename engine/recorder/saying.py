"""What the recorder has to say to the person at the script's terminal: one line a kind, once."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

from ..runs import events as ev


class Saying:
    """A line on stderr, and in the run's log once there is one. Never raises."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self.emit: Callable[[ev.Event], None] | None = None

    def __call__(self, kind: str, text: str) -> None:
        """Warn, unless something of this ``kind`` was said before."""
        if kind in self._said:
            return
        self._said.add(kind)
        line = " ".join(text.split())
        self.aloud(line)
        try:
            if self.emit is not None:
                self.emit(ev.LogLine("warning", line))
        except Exception:
            return

    def aloud(self, line: str) -> None:
        """On stderr alone: for what the run keeps in another form."""
        # straight to stderr: a warning may have been turned into an error
        with contextlib.suppress(Exception):
            print(f"yolotui: {line}", file=sys.stderr, flush=True)

    def failed(self, doing: str, error: BaseException) -> None:
        """Something of ours went wrong: the loop must not notice."""
        self(doing, f"{doing}: {type(error).__name__}: {error}; your loop goes on")
