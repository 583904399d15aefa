"""What the batches of an epoch were like, over all ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..data.batches import Batch
from ..doctor.monitors import Monitors
from .distributed import Group


class Tallies:
    """Pictures that could not be read, truths without a slot, objects a class. The leader says what is found
    in its own part at once, and in the others' when the epoch ends."""

    def __init__(self, classes: int, group: Group, log: Callable[[str, Any], None]) -> None:
        self.overwritten = self.lost = 0
        """Slots wanted by two truths, and truths left without one; at the leader, from the epoch's end on."""
        self._group = group
        self._log = log
        self._skipped: list[str] = []
        """Lines of this epoch, for the leader to say."""
        self._met = [0.0] * classes
        """Objects a class of this epoch, for the leader's monitors."""

    def add(self, batch: Batch, monitors: Monitors) -> None:
        for problem in batch.skipped:
            line = f"skipped {problem.path}: {problem.detail}"
            self._log(line, "warning")
            self._skipped.append(line)
        self.overwritten += batch.targets.overwritten
        self.lost += batch.targets.lost
        if not self._group.leads:  # the leader's monitors have met its own
            met = monitors.counts(batch.labels)
            self._met = [a + b for a, b in zip(self._met, met, strict=True)]

    def gather(self, monitors: Monitors) -> None:
        """At the end of an epoch, at every rank."""
        if self._group.size == 1:
            return
        heard = self._group.collect((self.overwritten, self.lost, self._skipped))
        counts = self._group.exchange([0.0] * len(self._met) if self._group.leads else self._met)
        self._skipped, self._met = [], [0.0] * len(self._met)
        if self._group.leads:
            monitors.also_met([int(count) for count in counts])
            self.overwritten, self.lost = sum(each[0] for each in heard), sum(each[1] for each in heard)
            for line in (line for _, _, lines in heard[1:] for line in lines):
                self._log(line, "warning")
