"""What is noted of a training while its points go by: enough for the findings, never the points."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .columns import median_rate
from .points import Point
from .rates import Rate
from .roles import is_best, is_loss, is_validation
from .sums import SumSearch
from .training import Training

_KEPT_RATES = 4000


@dataclass
class Notes:
    sums: SumSearch
    rates: list[tuple[int, int, float, float]] = field(default_factory=list)
    """(epoch, iteration, rate, half a unit of its last digit), thinned where there are many."""
    bad: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """name -> (first line of a value not finite, epoch, how many)."""
    fresh: dict[str, int] = field(default_factory=dict)
    """How many finite values followed the first bad one."""
    updates: bool = False
    seconds: float = 0.0
    timed_steps: int = 0
    batch: int | None = None
    _every: int = 1
    _seen: int = 0
    _last_images: float | None = None
    _last_iteration: int = 0

    def look(self, training: Training, point: Point) -> None:
        self.sums.add(point.values)
        self.updates |= point.update
        self._look_at_rate(training, point)
        for name, value in point.values.items():
            if is_loss(name) and not is_best(name) and not math.isfinite(value.value):
                line, epoch, count = self.bad.get(name, (point.line, training.epochs[-1].epoch, 0))
                self.bad[name] = (line, epoch, count + 1)
            elif name in self.bad:
                self.fresh[name] = self.fresh.get(name, 0) + 1
        iteration = training.epochs[-1].last_iteration
        if point.images is not None and iteration:
            if self._last_images is not None and iteration > self._last_iteration:
                size = (point.images - self._last_images) / (iteration - self._last_iteration)
                self.batch = int(size) if size == int(size) and size > 0 else self.batch
            elif self._last_images is None and point.images % iteration == 0:
                self.batch = int(point.images // iteration)
            self._last_images, self._last_iteration = point.images, iteration

    def ordered_rates(self, training: Training) -> list[Rate]:
        """By step; of a resumed training what was printed last for a step."""
        found = {training.step_of(epoch, it): (value, half) for epoch, it, value, half in self.rates}
        return [Rate(step, *found[step]) for step in sorted(found)]

    def _look_at_rate(self, training: Training, point: Point) -> None:
        rate = median_rate(point.values)
        if rate is None or not math.isfinite(rate.value):
            return
        self._seen += 1
        # The warm-up is judged by its first points: those are all kept.
        if self._seen > _KEPT_RATES // 2 and self._seen % self._every:
            return
        epoch = training.epochs[-1]
        self.rates.append((epoch.epoch, epoch.last_iteration, rate.value, rate.half))
        if len(self.rates) > _KEPT_RATES:
            half = _KEPT_RATES // 2
            self.rates = self.rates[:half] + self.rates[half::2]
            self._every *= 2


def train_losses(training: Training) -> list[str]:
    """The names of training losses, in the order of first sight."""
    return [name for name in training.terms() if is_loss(name) and not is_validation(name)]
