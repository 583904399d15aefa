"""Rules on the optimizer: size of the updates, parameters that stay, the learning rate."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from .board import Verdicts, fine, warning
from .setting import Sample, Setting

HIGH, LOW = 0.3, 1e-8
"""Update over weights, the median of the layers."""
SAMPLES = 3


class UpdateSize:
    def __init__(self, setting: Setting, is_weight: Sequence[bool]) -> None:
        self._setting = setting
        self._weights = [k for k, weight in enumerate(is_weight) if weight]
        self.high = self.low = 0

    def sample(self, sample: Sample) -> Verdicts:
        ratios = [sample.moved[k] for k in self._weights]
        if not ratios or not any(sample.moved):  # an update withheld says nothing
            return {}
        middle = statistics.median(ratios)
        self.high = self.high + 1 if middle > HIGH else 0
        full_rate = sample.rate >= 0.1 * self._setting.rate
        self.low = self.low + 1 if middle < LOW and full_rate else 0
        if self.high >= SAMPLES:
            return warning(
                "update",
                "optimizer",
                "one step changes the weights by a large part of themselves",
                sample.step,
                expected=f"update/weight around 0.001, below {HIGH:g}",
                got=f"{middle:.2g} (median of {len(ratios)} layers), lr {sample.rate:.3g}",
                fix="lower train.lr, lengthen train.warmup_epochs or set train.clip",
                tensor="parameters",
            )
        if self.low >= SAMPLES:
            return warning(
                "update",
                "optimizer",
                "the updates are too small to change anything",
                sample.step,
                expected=f"update/weight around 0.001, above {LOW:g}",
                got=f"{middle:.2g} (median of {len(ratios)} layers), lr {sample.rate:.3g}",
                fix="raise train.lr; is the loss divided twice?",
                tensor="parameters",
            )
        return fine("update") if not self.high and not self.low else {}


class Unmoved:
    """Trainable parameters that stay while the others move, and layers frozen in the middle."""

    MOVING = 1e-6
    """The median ratio above which a step has moved something for certain."""

    def __init__(self, names: Sequence[str], is_weight: Sequence[bool]) -> None:
        self._names = names
        self._weights = [k for k, weight in enumerate(is_weight) if weight]
        self.still = [0] * len(names)
        self.without_gradient: list[str] = []
        """Not expected to move: ``structure`` judges them."""

    def structure(
        self, step: int, missing: Sequence[str], unreached: Sequence[str], frozen: Sequence[tuple[int, ...]]
    ) -> Verdicts:
        """What can be seen without any step: from the optimizer, the gradients, the graph."""
        reasons = []
        if missing:
            reasons.append(f"not in the optimizer: {_some(missing)}")
        if unreached:
            reasons.append(f"reached by no gradient: {_some(unreached)}")
        if frozen:
            shapes = [" x ".join(map(str, shape)) for shape in frozen]
            reasons.append(f"frozen behind a layer that learns: convolution {_some(shapes)}")
        if not reasons:
            return fine("frozen")
        return warning(
            "frozen",
            "optimizer" if missing else "loop",
            f"parameters that do not learn: {'; '.join(reasons)}",
            step,
            expected="every trainable parameter in the optimizer, with a gradient",
            got=f"{len(missing) + len(unreached) + len(frozen)} without",
            fix="check requires_grad, detach() and no_grad() in build_model and loss",
            tensor="parameters",
        )

    def sample(self, sample: Sample) -> Verdicts:
        weights = [sample.moved[k] for k in self._weights]
        if not weights or statistics.median(weights) < self.MOVING:
            return {}
        for k, ratio in enumerate(sample.moved):
            self.still[k] = 0 if ratio else self.still[k] + 1
        stuck = [self._names[k] for k, count in enumerate(self.still) if count >= SAMPLES]
        stuck = [name for name in stuck if name not in self.without_gradient]
        if not stuck:
            return fine("still")
        return warning(
            "still",
            "optimizer",
            f"{_some(stuck)} did not move while the other parameters did",
            sample.step,
            expected="every trainable parameter moves",
            got=f"{len(stuck)} of {len(self._names)} stayed the same to the bit, {SAMPLES} times in a row",
            fix="is it in the optimizer, and does a gradient reach it?",
            tensor="parameters",
        )


class Rate:
    """The learning rate beside its schedule."""

    FACTOR = 5.0

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def step(self, step: int, used: float, scheduled: float) -> Verdicts:
        if scheduled <= 0 or 1 / self.FACTOR <= used / scheduled <= self.FACTOR:
            return fine("rate")
        return warning(
            "rate",
            "optimizer",
            "the learning rate has left its schedule",
            step,
            expected=f"{scheduled:.3g}, within a factor of {self.FACTOR:g}",
            got=f"{used:.3g}",
            fix="set it back to a factor of 1 if that was not meant",
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
