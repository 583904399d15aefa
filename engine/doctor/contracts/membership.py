"""Every trainable parameter of the model is in the optimizer, once, gets a gradient and moves."""

from __future__ import annotations

from collections.abc import Sequence

from torch.utils.hooks import RemovableHandle

from ..findings import Finding
from .roster import Optimizer, Roster, some
from .saying import finding
from .witness import Update, Witness

ENOUGH = 3
"""Updates before anything is said of what did not move."""
FOLLOWED = 3
"""Iterations in which it is watched whether a module without gradient takes part in the forward pass."""


class Membership:
    """One look at the parameters: what its updates did to each."""

    def __init__(self, people: Roster, optimizers: Sequence[Optimizer], witness: Witness) -> None:
        self._people = people
        self._optimizers = optimizers
        self._witness = witness
        self._start = witness.sample()
        count = len(people.names)
        self._updates = [0] * count
        """Updates of an optimizer that holds the parameter, at a rate above zero."""
        self._reached = [0] * count
        self._gradient = [0] * count
        """Updates at which it had a gradient in any optimizer's step."""
        self._moved = [0] * count
        self._ought = [0] * count
        self._undone = [0] * count
        self._steps = 0
        self._foreign = False
        self._handles: list[RemovableHandle] = []
        self._ran: set[str] = set()
        self._followed = 0

    @property
    def curious(self) -> bool:
        """Whether the look must go on: modules without gradient are being followed."""
        return bool(self._handles)

    def take(self, updates: Sequence[Update]) -> list[Finding]:
        if self._handles:
            self._follow_on()
        for u in updates:
            self._count(u)
        if not updates:
            return []
        found = self._twice() + self._stale() + self._undone_steps()
        if self._steps >= ENOUGH and not self._followed and not self._handles and self._unreached():
            self._follow()
        return found

    def _count(self, u: Update) -> None:
        if u.withheld:
            return
        self._steps += 1
        self._foreign = self._foreign or u.foreign_reached
        for k, places in enumerate(self._people.groups):
            self._gradient[k] += u.reached[k]
            rates = [u.rates[g] for o, g in places if o == u.optimizer]
            if not any(rate > 0 for rate in rates):
                continue
            self._updates[k] += 1
            self._reached[k] += u.reached[k]
            self._moved[k] += bool(u.measured["moved"][k])
            self._ought[k] += bool(u.measured["sampled"][k])
            self._undone[k] += bool(u.measured["undone"][k])

    def _unreached(self) -> list[int]:
        """Those that are frozen by now, after the roster was made, are meant to stay."""
        wanted = [each.requires_grad for each in self._people.parameters]
        updates = enumerate(self._updates)
        return [k for k, n in updates if n >= ENOUGH and not self._reached[k] and wanted[k]]

    def _follow(self) -> None:
        """See which modules that own such parameters run at all: an unused layer is no fault."""
        for k in self._unreached():
            name = self._people.names[k]
            owner = self._witness.module_of(name)
            if owner is not None:
                self._handles.append(owner.register_forward_hook(lambda *_, name=name: self._ran.add(name)))
        self._followed = int(bool(self._handles))

    def _follow_on(self) -> None:
        self._followed += 1
        if self._followed > FOLLOWED:
            self._let_go()

    def _let_go(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def end(self, arrivals: int) -> list[Finding]:
        """The look is over: what has not moved by now does not move."""
        self._let_go()
        stood = self._witness.same(self._start, self._witness.sample())
        found = self._missing(stood) + self._cut_off() + self._still(stood)
        if not arrivals and not self._steps and all(stood) and self._optimizers:
            found.append(
                finding(
                    "asleep",
                    "error",
                    "loop",
                    "nothing is learnt: neither a gradient nor an optimizer step was seen",
                    expected="backward() and optimizer.step() on this model and optimizer",
                    got="neither, and no parameter has moved",
                    fix="are these the model and the optimizer that the loop uses?",
                )
            )
        return found

    def _missing(self, stood: Sequence[bool]) -> list[Finding]:
        # those that move are another optimizer's, which the judge was not given
        missing = [k for k in self._people.missing if stood[k]]
        with_gradient = [k for k in missing if self._gradient[k]]
        if self._steps < ENOUGH or not with_gradient or self._is_stale():
            return []
        names = [self._people.names[k] for k in with_gradient]
        return [
            finding(
                "missing",
                "error",
                "optimizer",
                f"{len(names)} trainable parameters are not in the optimizer and never move: {some(names)}",
                expected="every parameter with requires_grad in a group of the optimizer",
                got=f"{len(self._people.names) - len(missing)} of {len(self._people.names)} in it",
                fix="give the optimizer model.parameters(), or set requires_grad = False on what is to stay",
            )
        ]

    def _is_stale(self) -> bool:
        return bool(self._people.foreign) and bool(self._people.missing) and not self._foreign

    def _stale(self) -> list[Finding]:
        if self._steps < ENOUGH or not self._is_stale():
            return []
        names = [self._people.names[k] for k in self._people.missing]
        return [
            finding(
                "stale",
                "error",
                "optimizer",
                f"the optimizer holds {len(self._people.foreign)} parameters that are not the model's, while "
                f"{len(names)} of the model's are in none: {some(names)}",
                expected="the parameters of the model that is trained",
                got="parameters of a module made before: they never get a gradient",
                fix="make the optimizer after the last change of the model (a new head, load, to, build)",
            )
        ]

    def _twice(self) -> list[Finding]:
        if self._people.twice:
            return [
                finding(
                    "twice",
                    "error",
                    "optimizer",
                    "a parameter stands twice in the optimizer and is updated twice: "
                    + some(self._people.twice),
                    expected="each parameter once",
                    got=f"{len(self._people.twice)} more than once",
                    fix="make the groups disjoint",
                )
            ]
        if self._people.shared:
            return [
                finding(
                    "twice",
                    "warning",
                    "optimizer",
                    f"two optimizers hold the same parameter: {some(self._people.shared)}",
                    expected="each parameter in one optimizer",
                    got=f"{len(self._people.shared)} in more than one",
                    fix="make them disjoint, unless the optimizers take turns",
                )
            ]
        return []

    def _cut_off(self) -> list[Finding]:
        cut = [self._people.names[k] for k in self._unreached() if self._people.names[k] in self._ran]
        if not cut:
            return []
        return [
            finding(
                "cut",
                "warning",
                "loop",
                f"{len(cut)} trainable parameters are used and get no gradient: {some(cut)}",
                expected="a gradient in every trainable parameter that is used",
                got="none, in every update looked at",
                fix="look for detach(), no_grad() and .data on the way to the loss; what is meant to stay "
                "wants requires_grad = False",
                tensor="gradient",
            )
        ]

    def _still(self, stood: Sequence[bool]) -> list[Finding]:
        seen = [k for k, n in enumerate(self._updates) if n >= ENOUGH and self._ought[k] >= ENOUGH]
        still = [k for k in seen if not self._moved[k] and stood[k]]
        if not still:
            return []
        names = [self._people.names[k] for k in still]
        if len(still) == len(seen):
            if self._steps < 2 * ENOUGH:
                return []
            return [
                finding(
                    "still",
                    "error",
                    "optimizer",
                    "optimizer.step() is called with gradients and changes no parameter",
                    expected="parameters that move",
                    got=f"all {len(seen)} the same to the bit after {self._steps} steps",
                    fix="is the step on a copy of the model, or the rate too small for these weights?",
                )
            ]
        return [
            finding(
                "still",
                "warning",
                "optimizer",
                f"{len(names)} parameters have a gradient and do not move: {some(names)}",
                expected="every trainable parameter moves",
                got=f"the same to the bit over {ENOUGH} steps and more, while others move",
                fix="are they put back, or of too low a precision for such small steps?",
            )
        ]

    def _undone_steps(self) -> list[Finding]:
        undone = [k for k, n in enumerate(self._undone) if n >= ENOUGH and n >= self._updates[k] - 1]
        moving = [k for k, n in enumerate(self._moved) if n >= ENOUGH]
        if not undone or len(undone) < 0.5 * len(moving):
            return []
        names = [self._people.names[k] for k in undone]
        return [
            finding(
                "undone",
                "error",
                "loop",
                f"each step is undone before the next: {some(names)} stand where they stood",
                expected="weights that keep what optimizer.step() gave them",
                got=f"{len(undone)} of {len(moving)} parameters put back, {ENOUGH} updates in a row",
                fix="look for load_state_dict, a copy or a new model inside the loop",
            )
        ]
