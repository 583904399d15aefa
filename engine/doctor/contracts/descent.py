"""Steps of a sensible size, down a loss that does not run away."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from torch import Tensor

from ..findings import Finding
from ..monitors.update_rules import HIGH, LOW
from .roster import Roster
from .saying import finding
from .witness import Update

SAMPLES = 3
LARGE = 0.05
"""Update over weights, median of the layers, in whose company a loss that grows is blamed on the rate."""
GROWN = 10.0
"""Times the loss of the first iterations."""


class Descent:
    def __init__(self) -> None:
        self._losses: list[float] = []
        self._ratios: list[float] = []
        self._largest = 0.0
        """Of the rates seen."""
        self._high = self._low = 0

    @property
    def wild(self) -> bool:
        """Whether steps were so large that what is not finite after them needs no other cause."""
        return bool(self._ratios) and max(self._ratios) > HIGH

    def take(
        self, total: Tensor | None, updates: Sequence[Update], people: Roster, first: bool
    ) -> list[Finding]:
        """``first``: in the look that began with the loop, where a warm-up may still be going on."""
        found: list[Finding] = []
        for u in updates:
            found += self._size(u, people, first)
        if total is not None and first:
            self._losses.append(float(total))
            found += self._runs_away()
        return found

    def _size(self, u: Update, people: Roster, first: bool) -> list[Finding]:
        own = [k for k in people.of(u.optimizer) if people.parameters[k].ndim > 1 and u.measured["moved"][k]]
        ratios = [u.measured["ratio"][k] for k in own]
        rate = max(u.rates, default=0.0)
        self._largest = max(self._largest, rate)
        middle = statistics.median(ratios) if ratios else math.nan
        if not math.isfinite(middle) or u.withheld:
            return []  # weights that are lost say nothing of the steps
        self._ratios.append(middle)
        self._high = self._high + 1 if middle > HIGH else 0
        self._low = self._low + 1 if middle < LOW and not first and rate >= 0.1 * self._largest else 0
        if self._high >= SAMPLES:
            return [
                finding(
                    "update",
                    "warning",
                    "optimizer",
                    "the learning rate is too high: one step changes the weights by a large part of them",
                    expected=f"update/weight around 0.001, below {HIGH:g}",
                    got=f"{middle:.2g} (median of {len(ratios)} layers), lr {rate:.3g}",
                    fix="lower the learning rate, or warm up",
                )
            ]
        if self._low >= SAMPLES:
            return [
                finding(
                    "update",
                    "warning",
                    "optimizer",
                    "the updates are too small to change anything",
                    expected=f"update/weight around 0.001, above {LOW:g}",
                    got=f"{middle:.2g} (median of {len(ratios)} layers), lr {rate:.3g}",
                    fix="raise the learning rate; is the loss divided twice?",
                )
            ]
        return []

    def _runs_away(self) -> list[Finding]:
        if not self._ratios or not math.isfinite(self._losses[0]):
            return []
        if math.isfinite(self._losses[-1]) and (len(self._losses) < 4 or len(self._ratios) < 2):
            return []
        begun = max(abs(value) for value in self._losses[:2] if math.isfinite(value))
        newest = [abs(value) for value in self._losses[-2:]]
        lost = not all(math.isfinite(value) for value in newest)
        if not lost and min(newest) <= GROWN * max(begun, 1e-12):
            return []
        if max(self._ratios) < LARGE:
            return []
        grown = "it is no longer finite" if lost else f"{min(newest) / max(begun, 1e-12):.0f} times larger"
        return [
            finding(
                "diverges",
                "error",
                "optimizer",
                "the learning rate is too high: the loss runs away",
                expected=f"a loss that does not grow, steps below {LARGE:g} of the weights",
                got=f"loss {self._losses[0]:.3g} -> {self._losses[-1]:.3g} ({grown}), "
                f"lr {self._largest:.3g}, update/weight up to {max(self._ratios):.2g}",
                fix="lower the learning rate tenfold, warm up, or clip the gradient",
            )
        ]
