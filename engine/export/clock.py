"""When a step was done: the store keeps a step's duration, and the time of day of every other event."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class StepClock:
    """Wall times of steps, asked for in rising order, chunk by chunk.

    A step is as much later than the newest event before it as the steps since that event took, but never
    later than the first event after it. So a pause or a resume is in the times as soon as any event
    (an epoch's end, a log line, the start) lies beyond it.
    """

    def __init__(self, moments: Sequence[tuple[int, float]]) -> None:
        """``moments``: for every event the step before it and its time, oldest first."""
        self._steps = np.array([step for step, _ in moments] or [0], np.int64)
        self._times = np.maximum.accumulate(np.array([time for _, time in moments] or [0.0], np.float64))
        self._event = -1
        self._elapsed = 0.0
        self._base = 0.0

    def times(self, steps: Ints, elapsed: Floats) -> Floats:
        """``[n]`` seconds since 1970 of the steps; ``elapsed``: the seconds of all steps up to each."""
        if not len(steps):
            return np.zeros(0)
        elapsed = np.nan_to_num(elapsed, nan=0.0, posinf=0.0, neginf=0.0)
        event = np.searchsorted(self._steps, steps, side="left") - 1
        before = np.concatenate(([self._elapsed], elapsed[:-1]))
        passed = event != np.concatenate(([self._event], event[:-1]))
        at = np.maximum.accumulate(np.where(passed, np.arange(len(steps)), -1))
        base = np.where(at >= 0, before[np.maximum(at, 0)], self._base)
        self._event, self._elapsed, self._base = int(event[-1]), float(elapsed[-1]), float(base[-1])
        times = self._times[np.maximum(event, 0)] + np.maximum(0.0, elapsed - base)
        following = np.minimum(event + 1, len(self._times) - 1)
        bound = np.where(event + 1 < len(self._times), self._times[following], np.inf)
        bounded: Floats = np.minimum(times, bound)
        return bounded
