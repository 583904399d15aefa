"""What is done next, the same at every rank: the leader asks its control, the others hear."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from .control import Control, Request
from .distributed import Group


class Order(IntEnum):
    STEP = 1
    STOP = 2
    FAIL = 3
    """A step's loss was not finite: it is looked into, and the run ends."""
    WAIT = 4
    """Nothing yet: a pause goes on."""


class Orders:
    """A word from host to host a step, while the devices compute."""

    def __init__(self, control: Control, group: Group, relearn: Callable[[], None] = lambda: None) -> None:
        """``relearn``: called at every rank where one has something to say (``next``'s ``changed``)."""
        self._control, self._group, self._relearn = control, group, relearn
        self.rate_factor = 1.0
        """Of the scheduled learning rate."""
        self.bad_step = 0
        """Of ``FAIL``: the step."""

    def next(
        self,
        serve: Callable[[Request], None],
        on_pause: Callable[[], None],
        on_resume: Callable[[], None],
        failed: Callable[[bool], int],
        changed: bool = False,
    ) -> Order:
        """``failed``: the number of a step whose loss was not finite, 0 where none is known; asked with True
        before a stop, where every loss must be known."""
        if not self._group.leads:
            return self._hear(changed)
        bad = failed(False)
        if not bad:
            meanwhile = self._wait if self._group.size > 1 else None
            go_on = self._control.wait_turn(serve, on_pause, on_resume, meanwhile)
            bad = failed(not go_on)
        factor = self._control.take_lr_factor()
        if factor is not None:
            self.rate_factor = factor
        order = Order.FAIL if bad else Order.STEP if go_on else Order.STOP
        return self._say(order, bad, changed)

    def agree_on_failure(self, bad: int) -> bool:
        """Where no step is next (an epoch has ended): whether a step has failed."""
        if self._group.leads:
            return self._say(Order.FAIL if bad else Order.STEP, bad) is Order.FAIL
        return self._hear() is Order.FAIL

    def _wait(self) -> None:
        self._say(Order.WAIT, 0)

    def _say(self, order: Order, bad: int, changed: bool = False) -> Order:
        self.bad_step = bad
        self._exchange([float(order), float(bad), self.rate_factor, float(changed)])
        return order

    def _hear(self, changed: bool = False) -> Order:
        while True:
            order, bad, self.rate_factor = self._exchange([0.0, 0.0, 0.0, float(changed)])
            self.bad_step = int(bad)
            if order != Order.WAIT:
                return Order(int(order))
            changed = False

    def _exchange(self, values: list[float]) -> list[float]:
        order, bad, factor, changes = self._group.exchange(values)
        if changes:
            self._relearn()
        return [order, bad, factor]
