"""What the monitors know of a run beforehand, and what they read of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...layout import PRED
from ...yolo.loss import TERMS

CHANNELS = tuple(name.rstrip("*") for name in PRED)
"""conf x y w h class."""


@dataclass(frozen=True)
class Setting:
    """A run, as far as its monitors must know it."""

    classes: tuple[str, ...]
    terms: tuple[str, ...]
    """As reported by the loss, ``total`` among them."""
    total: tuple[str, ...]
    """The terms that the profile declares to be in ``total``."""
    objectness: str
    """iou | one: what conf is trained towards."""
    steps_per_epoch: int
    warmup_steps: int
    rate: float
    """The configured learning rate, at its height."""

    def lived(self, step: int) -> int:
        """Steps done at a full learning rate."""
        return max(0, step - self.warmup_steps)

    @property
    def expected_terms(self) -> tuple[str, ...]:
        """Those that ought to be in ``total``: the declared ones, and what only the user's loss knows."""
        return tuple(t for t in self.terms if t != "total" and (t in self.total or t not in TERMS))


@dataclass(frozen=True)
class HeadSums:
    """Sums over the slots of one batch: what ``statistics.HeadStatistics`` measures, by name."""

    positives: float
    conf: float
    """Sum of sigmoid(conf) over the positives; ``rest`` is that of the negatives."""
    iou: float
    recalled: float
    """Positives whose box overlaps its truth by more than a half."""
    logit: float
    negatives: float
    rest: float
    rest_logit: float
    gradient: tuple[float, ...]
    """Squared norm of the gradient of ``total``, a channel group (``CHANNELS``)."""
    slots: tuple[float, ...]
    """Positives of each class; ``right``: those that the largest class logit gives back."""
    right: tuple[float, ...]
    chosen: tuple[float, ...]
    """Positives at which each class has the largest logit."""

    @classmethod
    def read(cls, values: Sequence[float], classes: int) -> HeadSums:
        start = 8 + len(CHANNELS)
        slots, right, chosen = (
            tuple(values[start + k * classes : start + (k + 1) * classes]) for k in range(3)
        )
        positives, conf, iou, recalled, logit, negatives, rest, rest_logit = values[:8]
        return cls(
            positives=positives,
            conf=conf,
            iou=iou,
            recalled=recalled,
            logit=logit,
            negatives=negatives,
            rest=rest,
            rest_logit=rest_logit,
            gradient=tuple(values[8:start]),
            slots=slots,
            right=right,
            chosen=chosen,
        )

    @staticmethod
    def size(classes: int) -> int:
        return 8 + len(CHANNELS) + 3 * classes


@dataclass(frozen=True)
class TermGradients:
    """Gradients of the terms with respect to the prediction, in the order of ``Setting.terms``."""

    norms: tuple[float, ...]
    products: np.ndarray
    """``[T, T]`` scalar products of their part on the first images."""


@dataclass(frozen=True)
class Sample:
    """What was measured at one step."""

    step: int
    epoch: int
    rate: float
    terms: dict[str, float]
    truths: tuple[int, ...]
    """Objects of each class in the batch."""
    head: HeadSums
    moved: tuple[float, ...] = ()
    """Size of the update over the size of the weights, a parameter."""
    gradients: TermGradients | None = None


@dataclass
class Window:
    """The last few samples' averages over positives and negatives."""

    most: int = 8
    rows: list[list[float]] = field(default_factory=list)

    def add(self, head: HeadSums) -> None:
        self.rows.append(
            [
                head.positives,
                head.conf,
                head.iou,
                head.recalled,
                head.logit,
                head.negatives,
                head.rest,
                head.rest_logit,
                sum(head.right),
            ]
        )
        del self.rows[: -self.most]

    @property
    def full(self) -> bool:
        return len(self.rows) == self.most and self._sum(0) > 0

    def _sum(self, column: int) -> float:
        return sum(row[column] for row in self.rows)

    def _over(self, column: int, count: int) -> float:
        return self._sum(column) / max(1.0, self._sum(count))

    @property
    def objectness(self) -> float:
        return self._over(1, 0)

    @property
    def iou(self) -> float:
        return self._over(2, 0)

    @property
    def recall(self) -> float:
        return self._over(3, 0)

    @property
    def no_object(self) -> float:
        return self._over(6, 5)

    @property
    def separation(self) -> float:
        """Mean conf logit of positives minus that of negatives."""
        return self._over(4, 0) - self._over(7, 5)

    @property
    def accuracy(self) -> float:
        return self._over(8, 0)
