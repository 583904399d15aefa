"""A bar on stderr, rewritten in place, where that is a terminal; silent elsewhere."""

from __future__ import annotations

import shutil
import sys
import time

WIDTH = 24
REDRAW = 0.1
"""Seconds."""


class ProgressBar:
    """``what`` is counted: pictures, frames. ``total`` 0: nobody knows."""

    def __init__(self, what: str, total: int, shown: bool = True) -> None:
        self._what, self._total = what, total
        self._shown = shown and sys.stderr.isatty()
        self._started = time.monotonic()
        self._drawn = 0.0
        self._on_screen = False

    def update(self, done: int) -> None:
        now = time.monotonic()
        if not self._shown or now - self._drawn < REDRAW:
            return
        self._drawn, self._on_screen = now, True
        columns = shutil.get_terminal_size().columns
        line = bar_line(self._what, done, self._total, now - self._started)[: columns - 1]
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Off the screen, so that a line can be printed; the next ``update`` draws it again."""
        if self._on_screen:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._on_screen, self._drawn = False, 0.0


def bar_line(what: str, done: int, total: int, seconds: float) -> str:
    """``████████░░░░  120/364 pictures  35.1/s  0:07 left``"""
    rate = done / seconds if seconds > 0 else 0.0
    speed = f"{rate:.1f}/s" if rate < 100 else f"{rate:,.0f}/s"
    if not total:
        return f"{done:,} {what}  {speed}"
    full = round(WIDTH * min(1.0, done / total))
    left = max(0, total - done) / rate if rate else 0.0
    bar = "█" * full + "░" * (WIDTH - full)
    return f"{bar}  {done:,}/{total:,} {what}  {speed}  {int(left) // 60}:{int(left) % 60:02d} left"
