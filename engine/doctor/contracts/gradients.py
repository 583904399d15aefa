"""Gradients are zero before a backward pass that begins an update, arrive, are finite, and are used."""

from __future__ import annotations

from collections.abc import Sequence

from ..findings import Finding
from .saying import finding
from .witness import Arrival, Happening, Update, Witness

CARRIED, ZEROED, EMPTY, BAD = 3, 3, 4, 1
"""Updates in a row before it is said."""
THROWN = 5
"""Gradients in a row that nobody used; a scaler's first overflows are told from that by their infinities."""
LONG = 64
"""Backward passes without an update: more than anybody gathers on purpose."""


class Gradients:
    """A small machine fed with what happened, in its order; the same whatever the place of the judge."""

    def __init__(self) -> None:
        self.arrivals = 0
        self._carried = self._zeroed = self._empty = self._bad = 0

    def begin(self, witness: Witness) -> None:
        """A new look: what happened before it is not known."""
        self._witness = witness
        self._start = witness.sample()
        self._rounds = 0
        """Iterations of this look; one may make several gradients before its step."""
        self._moved = False
        count = len(witness.probes)
        self._consumed = [False] * count
        """What ``.grad`` holds went into an update already."""
        self._tainted = [False] * count
        """A gradient came on top of one that had been used."""
        self._since = [0] * count
        self._finite = [True] * count
        self._thrown = [0] * count
        """Gradients in a row that were zeroed although no step had used them."""
        self._arrived = False
        self._carried = self._zeroed = self._empty = 0

    def take(self, happened: Sequence[Happening]) -> list[Finding]:
        found: list[Finding] = []
        self._rounds += 1
        for each in happened:
            found += self._arrive(each) if isinstance(each, Arrival) else self._update(each)
        return found

    def _arrive(self, a: Arrival) -> list[Finding]:
        k = a.probe
        self.arrivals += 1
        self._arrived = True
        if a.dirty:
            self._tainted[k] = self._tainted[k] or self._consumed[k]
        else:
            thrown = self._since[k] > 0 and self._finite[k]
            self._thrown[k] = self._thrown[k] + 1 if thrown else 0
            self._tainted[k] = self._consumed[k] = False
        self._since[k] += 1
        self._finite[k] = a.finite
        return self._nobody_steps(k)

    def _nobody_steps(self, k: int) -> list[Finding]:
        if self._thrown[k] >= THROWN and self._rounds > THROWN and self._stands():
            return [
                finding(
                    "step",
                    "error",
                    "optimizer",
                    "gradients are made and zeroed again, and no optimizer step uses them",
                    expected="optimizer.step() after backward()",
                    got=f"{self._since[k]} backward passes, the gradients zeroed before each, and no step",
                    fix="call optimizer.step() (with a scaler: scaler.step(optimizer)) after backward()",
                    tensor="gradient",
                )
            ]
        if self._since[k] >= LONG and self._finite[k] and self._stands():
            return [
                finding(
                    "step",
                    "warning",
                    "optimizer",
                    "gradients are gathered, and no optimizer step uses them",
                    expected="optimizer.step() after backward(), or after a few of them",
                    got=f"{self._since[k]} backward passes and no step",
                    fix="call optimizer.step(); or is this another optimizer than the one that steps?",
                    tensor="gradient",
                )
            ]
        return []

    def _stands(self) -> bool:
        """Whether nothing has moved: a step by hand, or of one's own optimizer, is seen only by that."""
        self._moved = self._moved or not all(self._witness.same(self._start, self._witness.sample()))
        return not self._moved

    def _update(self, u: Update) -> list[Finding]:
        found: list[Finding] = []
        own = set(self._witness.roster.of(u.optimizer))
        probes = [k for k, place in enumerate(self._witness.probes) if place in own]
        largest = u.measured["gradient"]
        some = any(largest[k] != 0 for k in own) or u.foreign_reached
        if not u.closure and own:
            since = any(self._since[k] for k in probes)
            found += self._carried_over(any(self._tainted[k] for k in probes))
            found += self._zeroed_too_soon(since and not some)
            found += self._none_arrives(not since and not any(u.reached[k] for k in own) and not some)
            found += self._not_finite([k for k in own if not abs(largest[k]) < float("inf")], u)
        for k in probes:
            self._consumed[k] = self._since[k] > 0 or self._consumed[k]
        self._since, self._thrown = [0] * len(self._since), [0] * len(self._thrown)
        return found

    def _carried_over(self, carried: bool) -> list[Finding]:
        self._carried = self._carried + 1 if carried else 0
        if self._carried < CARRIED:
            return []
        return [
            finding(
                "zero_grad",
                "error",
                "loop",
                "gradients are not zeroed between updates: each step uses those of all steps before it too",
                expected="gradients zero or None when the first backward() after optimizer.step() begins",
                got=f"the gradients of the step before, still there, {self._carried} updates in a row",
                fix="call optimizer.zero_grad() once between optimizer.step() and the next backward()",
                tensor="gradient",
            )
        ]

    def _zeroed_too_soon(self, zeroed: bool) -> list[Finding]:
        self._zeroed = self._zeroed + 1 if zeroed else 0
        if self._zeroed < ZEROED:
            return []
        return [
            finding(
                "zeroed",
                "error",
                "loop",
                "gradients are zeroed after backward() and before optimizer.step(): nothing is learnt",
                expected="the gradients of backward() there when optimizer.step() is called",
                got=f"all zero or None at the step, {self._zeroed} updates in a row",
                fix="the order is zero_grad(), backward(), step()",
                tensor="gradient",
            )
        ]

    def _none_arrives(self, none: bool) -> list[Finding]:
        self._empty = self._empty + 1 if none and not self._arrived else 0
        if self._empty < EMPTY:
            return []
        return [
            finding(
                "backward",
                "error",
                "loop",
                "optimizer.step() is called and no gradient has reached any parameter",
                expected="backward() of a loss that depends on the parameters, before each step",
                got=f"no gradient at all in {self._empty} updates",
                fix="call backward(); is the loss detached, made under no_grad, or of another model?",
                tensor="gradient",
            )
        ]

    def _not_finite(self, bad: list[int], u: Update) -> list[Finding]:
        self._bad = self._bad + 1 if bad and not u.withheld else 0
        if self._bad < BAD:
            return []
        names = self._witness.roster.names
        return [
            finding(
                "finite",
                "error",
                "loss",
                "a gradient that is not finite went into optimizer.step(): the weights are lost",
                expected="finite gradients, or the step left out",
                got=f"NaN or infinity in {len(bad)} of {len(names)} parameters, {names[bad[0]]} among them",
                fix="find the NaN: log or sqrt of 0, exp of a large tw or th, a division by no positives; "
                "with fp16 step by a GradScaler",
                tensor="gradient",
            )
        ]
