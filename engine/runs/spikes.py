"""Leaps of a loss term, told from its own recent values."""

from __future__ import annotations

import math
import statistics
from collections import deque

from .events import StepDone

RECENT = 50
"""Steps whose median says what a term usually is."""
FELT = 0.5
"""A leap counts where it adds this share of the usual total."""


class Spikes:
    """Shown every step in turn. ``factor``: how many times its median a term must leap to; 0: never."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._recent: dict[str, deque[float]] = {}
        self._epoch = 0

    def leapt(self, done: StepDone) -> str:
        """What leapt at this step, or an empty string. At most once an epoch."""
        leapt = ""
        for name, value in done.terms.items():
            recent = self._recent.setdefault(name, deque(maxlen=RECENT))
            if len(recent) == RECENT and self._factor and not leapt and value > self._factor * min(recent):
                usual = statistics.median(recent)  # not below the least: so mostly not needed
                # a term that is nearly nothing beside the total leaps all the time and means nothing
                if value - usual > FELT * self._usual_total() and value > self._factor * usual > 0:
                    leapt = f"{name} leapt to {value:.3g}, usually {usual:.3g}"
            if math.isfinite(value):
                recent.append(value)
        if not leapt or done.epoch == self._epoch:
            return ""
        self._epoch = done.epoch
        return leapt

    def _usual_total(self) -> float:
        recent = self._recent.get("total")
        return statistics.median(recent) if recent else 0.0
