"""Another run laid over this one: step under step, or epoch under epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .history import Columns, Reading
from .stored import StoredRun


@dataclass
class Overlay:
    run: StoredRun

    @property
    def name(self) -> str:
        return self.run.name

    def scale(self, per_epoch: int, by_steps: bool) -> float:
        """Steps of the other run for one of this run, whose epochs have ``per_epoch`` steps."""
        theirs = self.run.started.steps_per_epoch if self.run.started else 0
        return 1.0 if by_steps or not per_epoch or not theirs else theirs / per_epoch

    def columns(self, name: str, first: int, last: int, n: int, scale: float) -> Columns | None:
        """In this run's steps ``first..last``; nothing where the other run had ended by then."""
        if not self.run.has(name):
            return None
        a, b = _theirs(first, scale), max(_theirs(first, scale) + 1, _theirs(last, scale))
        return self.run.columns(name, a, b, n)

    def reading(self, name: str, first: int, last: int, scale: float) -> Reading | None:
        if not self.run.has(name):
            return None
        return self.run.reading(name, _theirs(first, scale), max(_theirs(first, scale), _theirs(last, scale)))

    def precision(self, scale: float) -> tuple[np.ndarray, list[float]]:
        """Its evaluations: this run's steps, and mAP50."""
        steps = np.array([done.step / scale for done in self.run.evaluations], dtype=float)
        return steps, [done.map50 for done in self.run.evaluations]

    def last(self, scale: float) -> int:
        """Its newest step, in this run's steps."""
        return round(self.run.last / scale)


def _theirs(step: int, scale: float) -> int:
    return max(1, round(step * scale))
