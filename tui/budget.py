"""How often to draw: never more of a core than a set share, however slow the terminal or the machine."""

from __future__ import annotations

import time
from collections.abc import Callable

SHARE = 0.05
FASTEST = 0.25
SLOWEST = 4.0


class DrawingBudget:
    """Turns what the last frame cost into the wait before the next.

    The cost is the CPU time of the drawing thread since the frame before, so layout, compositing and
    writing to the terminal count, not only our own part. ``clock`` is that thread's CPU clock.
    """

    def __init__(
        self,
        share: float = SHARE,
        fastest: float = FASTEST,
        slowest: float = SLOWEST,
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self.share, self.fastest, self.slowest = share, fastest, slowest
        self._clock = clock
        self._mark = clock()
        self.cost = 0.0
        """Seconds of CPU that the last frame took."""
        self.total = 0.0
        """Seconds of CPU of all frames so far."""

    def next_delay(self) -> float:
        """Seconds to wait before drawing again; call it once a frame."""
        now = self._clock()
        self.cost, self._mark = now - self._mark, now
        self.total += self.cost
        return min(max(self.fastest, self.cost / self.share), self.slowest)
