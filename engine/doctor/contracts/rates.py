"""The learning rate goes on where it was, and follows the scheduler that was made for it."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..findings import Finding
from .roster import Optimizer
from .saying import finding
from .witness import Arrival, Happening, Update

JUMP = 3.0
"""Factor between the rates before and after a resume."""
STEADY = 3
"""Updates after a resume before the rate is judged."""
FORGOTTEN = 2000
"""Iterations without a step of the scheduler: more than most epochs have."""


@dataclass(frozen=True)
class Previous:
    """Where a run stood when it was left: the last step and its learning rate, that of the first optimizer's
    first group."""

    step: int
    lr: float


class Rates:
    """After a resume: no jump, no second warm-up, no lost momentum."""

    def __init__(self, previous: Previous | None) -> None:
        self._previous = previous if previous is not None and previous.step > 0 and previous.lr > 0 else None
        self._seen: list[float] = []
        self._fresh = False

    def take(self, updates: Sequence[Update]) -> list[Finding]:
        if self._previous is None:
            return []
        for u in updates:
            if u.optimizer:
                continue
            # fresh at first and not later: an optimizer that never keeps anything has lost nothing
            self._fresh = u.fresh if not self._seen else self._fresh and not u.fresh
            self._seen.append(u.rates[0] if u.rates else 0.0)
        if len(self._seen) < STEADY:
            return []
        before, self._previous = self._previous, None
        return self._judge(before)

    def _judge(self, before: Previous) -> list[Finding]:
        now, later = self._seen[0], self._seen[-1]
        found = []
        if now > JUMP * before.lr:
            found.append(
                self._lost(
                    before,
                    f"the learning rate jumps from {before.lr:.3g} to {now:.3g} where the run is resumed",
                )
            )
        elif later > now and now * JUMP < before.lr:
            found.append(
                self._lost(
                    before,
                    "the warm-up begins again where the run is resumed: "
                    f"{before.lr:.3g}, then {now:.3g} and rising",
                )
            )
        if self._fresh:
            found.append(
                finding(
                    "resume.state",
                    "warning",
                    "optimizer",
                    "the run is resumed with a fresh optimizer: its momentum and averages are lost",
                    expected=f"the optimizer's state of step {before.step:,}",
                    got="no state",
                    fix="save and load optimizer.state_dict() beside the model's",
                )
            )
        return found

    def _lost(self, before: Previous, message: str) -> Finding:
        return finding(
            "resume.rate",
            "warning",
            "optimizer",
            message,
            expected=f"about {before.lr:.3g}, the rate of step {before.step:,}",
            got=", ".join(f"{rate:.3g}" for rate in self._seen[:STEADY]),
            fix="save and load scheduler.state_dict() too, or compute the rate from the step alone",
        )


class Schedulers:
    """torch's schedulers of these optimizers: stepped, and after the optimizer."""

    def __init__(self, optimizers: Sequence[Optimizer], given: Any = None) -> None:
        self._optimizers = optimizers
        schedulers = list(given) if isinstance(given, (list, tuple)) else [given]
        self._known = [vars(each) for each in schedulers if each is not None]
        """The schedulers' attributes: all that is looked at."""
        if not self._known:
            self._find()
        self._begun = self.ticks()
        self._arrivals: dict[int, int] = {}
        self._first: list[float] | None = None
        """The rates at the first update."""

    def ticks(self) -> tuple[int, ...]:
        """How often each was stepped, its making counted."""
        return tuple(int(known.get("_step_count", 0)) for known in self._known)

    def take(self, happened: Sequence[Happening]) -> list[Finding]:
        found: list[Finding] = []
        for each in happened:
            if isinstance(each, Arrival):
                self._arrivals[each.probe] = self._arrivals.get(each.probe, 0) + 1
            elif self._first is None:
                if not self._known:
                    self._find()
                self._first = self._rates()
                found += self._order(each)
        return found

    def forgotten(self, iteration: int) -> list[Finding]:
        """Asked rarely: has a scheduler never been stepped?"""
        never = [tick for tick in self.ticks() if tick == 1]
        if iteration < FORGOTTEN or not never or len(never) < len(self._known) or self._first is None:
            return []
        rates = self._rates()
        if rates != self._first:
            return []
        return [
            finding(
                "scheduler",
                "warning",
                "optimizer",
                "a scheduler was made for this optimizer and is never stepped",
                expected="scheduler.step() after every optimizer.step(), or every epoch",
                got=f"no step of it in {iteration:,} iterations, lr {max(rates, default=0):.3g} all along",
                fix="call scheduler.step(), or drop it",
            )
        ]

    def _find(self) -> None:
        """A scheduler leaves ``initial_lr`` in the groups; who holds the optimizer, the collector knows."""
        for optimizer in self._optimizers:
            if not any("initial_lr" in group for group in optimizer.param_groups):
                continue
            for holder in gc.get_referrers(optimizer):
                values = holder if isinstance(holder, dict) else getattr(holder, "__dict__", {})
                if values.get("optimizer") is optimizer and "_step_count" in values and "base_lrs" in values:
                    self._known.append(values)

    def _rates(self) -> list[float]:
        return [float(g["lr"]) for o in self._optimizers for g in o.param_groups if "lr" in g]

    def _order(self, first: Update) -> list[Finding]:
        early = [
            after == before + 1 for before, after in zip(self._begun, first.ticks, strict=False)
        ]  # by more: its state was loaded
        if not any(early) or max(self._arrivals.values(), default=0) > 1:
            return []
        return [
            finding(
                "scheduler.order",
                "warning",
                "optimizer",
                "the scheduler is stepped before the optimizer: the first rate of the schedule is never used",
                expected="optimizer.step(), then scheduler.step()",
                got="scheduler.step() before the first optimizer.step()",
                fix="move scheduler.step() below optimizer.step()",
            )
        ]
