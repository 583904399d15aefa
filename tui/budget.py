"""How often to draw: never more of a core than a set share, however slow the terminal or the machine."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from engine.cores import core_count

SHARE, MOST = 0.005, 0.01
"""Of all cores, and at most of one. On two cores that a training fills, what the view takes is what the
training lacks, twice: of the pair of threads that a step runs in, the one waits for the other. Beside a GPU
the interpreter runs one thread at a time, and the one that feeds the device needs all it can get."""
FASTEST = 0.25
SLOWEST = 4.0
SAVINGS = 0.25
RECENT = 40
"""Frames that ``recent_share`` looks back on: ten seconds and more."""


def default_share() -> float:
    """Of one core: 1 % on a machine of two, or more."""
    return min(MOST, SHARE * core_count())


class DrawingBudget:
    """Turns what the frames cost into the wait before the next one.

    Every second of wall time earns ``share`` seconds of CPU, every frame is paid from them, and the next one
    waits until the account is level again. Up to ``savings`` seconds may be saved up: the first frames, in
    which all is laid out, and a resize then do not make the view stall. The cost is the CPU time of the
    drawing thread since the frame before: layout, compositing and writing count, not only our own part.
    ``cpu`` is that thread's clock, ``wall`` everybody's.
    """

    def __init__(
        self,
        share: float | None = None,
        fastest: float = FASTEST,
        slowest: float = SLOWEST,
        savings: float = SAVINGS,
        cpu: Callable[[], float] = time.thread_time,
        wall: Callable[[], float] = time.monotonic,
    ) -> None:
        self.share = default_share() if share is None else share
        self.fastest, self.slowest, self.savings = fastest, slowest, savings
        self._cpu, self._wall = cpu, wall
        self._cpu_mark, self._wall_mark = cpu(), wall()
        self._balance = savings
        self.cost = 0.0
        """Seconds of CPU that the last frame took."""
        self.total = 0.0
        """Seconds of CPU of all frames so far."""
        self._account: deque[tuple[float, float]] = deque([(self._wall_mark, 0.0)], maxlen=RECENT)
        """Wall clock and ``total`` after each of the last frames."""

    @property
    def recent_share(self) -> float:
        """The part of one core that the last frames took."""
        (before, spent), (now, total) = self._account[0], self._account[-1]
        return (total - spent) / (now - before) if now > before else 0.0

    def next_delay(self) -> float:
        """Seconds to wait before drawing again; call it once a frame, after drawing."""
        cpu, wall = self._cpu(), self._wall()
        self.cost, self._cpu_mark = cpu - self._cpu_mark, cpu
        earned, self._wall_mark = (wall - self._wall_mark) * self.share, wall
        self.total += self.cost
        self._account.append((wall, self.total))
        # A debt that the slowest pace cannot work off is forgiven: nobody waits minutes for one dear frame.
        self._balance = min(self.savings, self._balance + earned) - self.cost
        self._balance = max(self._balance, -self.slowest * self.share)
        return min(max(self.fastest, -self._balance / self.share), self.slowest)
