"""One training out of a log: its points on disk, what is known of its epochs in memory."""

from __future__ import annotations

import itertools
import math
import pickle
import tempfile
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .roles import is_validation, role
from .values import Printed

_CHUNK = 5_000


class Row(NamedTuple):
    """One point, its place settled as far as the line itself says it."""

    epoch: int
    iteration: int
    line: int
    values: dict[str, float]
    """Everything printed, under the log's names."""
    lr: float | None
    seconds: float | None
    data: float | None
    grad_norm: float | None
    memory: float | None
    images: float | None
    elapsed: float | None
    clock: float | None
    resumed: bool


@dataclass
class Epoch:
    """As printed: the numbers are the log's."""

    epoch: int
    first_iteration: int = 0
    last_iteration: int = 0
    iterations: int | None = None
    points: int = 0
    last: dict[str, float] = field(default_factory=dict)
    """The last value printed under each name, the evaluation's included."""
    sums: dict[str, tuple[float, int]] = field(default_factory=dict)
    elapsed: float | None = None
    whole: bool = False
    closed: bool = False
    """Another epoch or an evaluation followed."""
    line: int = 0

    def means(self) -> dict[str, float]:
        return {name: total / count for name, (total, count) in self.sums.items()}


@dataclass
class Evaluation:
    epoch: int
    iteration: int
    line: int
    values: dict[str, float]
    per_class: dict[str, float]


class Spool:
    """Rows on disk, in order: a log may be larger than the memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="yolotui-import-")  # noqa: SIM115 (closed by close)
        self._waiting: list[Row] = []
        self.count = 0

    def add(self, row: Row) -> None:
        self._waiting.append(row)
        self.count += 1
        if len(self._waiting) >= _CHUNK:
            self._flush()

    def rows(self) -> Iterator[Row]:
        """All of them. Only what this process wrote into an unnamed file of its own is read back."""
        self._flush()
        self._file.seek(0)
        while True:
            try:
                chunk: list[tuple[Any, ...]] = pickle.load(self._file)
            except EOFError:
                return
            yield from map(Row._make, chunk)

    def close(self) -> None:
        self._file.close()

    def _flush(self) -> None:
        if self._waiting:
            pickle.dump([tuple(row) for row in self._waiting], self._file, pickle.HIGHEST_PROTOCOL)
            self._waiting = []


@dataclass
class Training:
    number: int
    """1-based among those of the file."""
    first_line: int
    spool: Spool = field(default_factory=Spool)
    epochs: list[Epoch] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    names: dict[str, None] = field(default_factory=dict)
    """Every name printed, in the order of first sight."""
    first_values: dict[str, float] = field(default_factory=dict)
    """The first finite value under each name, the evaluations' included."""
    total_epochs: int | None = None
    printed_iterations: int | None = None
    counts_epochs: bool = False
    resets: bool = False
    """The iteration was seen to begin anew at an epoch."""
    runs_on: bool = False
    """It was seen not to."""
    lowest_epoch: int = 1
    lowest_iteration: int = 1
    resumed_at: list[int] = field(default_factory=list)
    """Lines at which it went on after a stop."""
    first_clock: float | None = None
    last_clock: float | None = None
    last_images: float | None = None

    @property
    def runs_through(self) -> bool:
        """Whether iterations are counted over the whole training."""
        return (not self.counts_epochs) or (self.runs_on and not self.resets)

    @property
    def epoch_offset(self) -> int:
        return 1 if self.lowest_epoch == 0 else 0

    @property
    def iteration_offset(self) -> int:
        return 1 if self.lowest_iteration == 0 else 0

    @property
    def steps_per_epoch(self) -> int:
        """Printed, or the largest iteration seen in an epoch: then the true one may be a little larger."""
        if self.runs_through:
            if self.counts_epochs and len(self.epochs) > 1:
                ends = [epoch.last_iteration for epoch in self.epochs]
                gaps = [b - a for a, b in itertools.pairwise(ends)]
                return max(1, *gaps)
            return max(1, self.epochs[-1].last_iteration + self.iteration_offset) if self.epochs else 1
        seen = max((epoch.last_iteration for epoch in self.epochs), default=0) + self.iteration_offset
        return max(1, seen, self.printed_iterations or 0)

    def step_of(self, epoch: int, iteration: int) -> int:
        """The 1-based step over the whole training."""
        if self.runs_through:
            return max(1, iteration + self.iteration_offset)
        before = max(0, epoch + self.epoch_offset - 1)
        return before * self.steps_per_epoch + max(1, iteration + self.iteration_offset)

    def complete(self, epoch: Epoch) -> bool:
        """Whether all of the epoch is there: its last iteration, or something that comes after it."""
        if epoch.whole or epoch.closed:
            return True
        if self.counts_epochs and all(each.last_iteration == each.points == 1 for each in self.epochs):
            return True  # a line an epoch, printed at its end
        total = epoch.iterations or self.printed_iterations
        if self.runs_through or total is None:
            return False
        done = epoch.last_iteration + self.iteration_offset
        if done >= total:
            return True
        # Lines come every so many iterations: the next one would lie beyond the end.
        gap = self._interval(epoch)
        return gap > 1 and done + gap > total

    def _interval(self, epoch: Epoch) -> int:
        if epoch.points < 2:
            return 0
        return (epoch.last_iteration - epoch.first_iteration) // (epoch.points - 1)

    def terms(self) -> list[str]:
        """The names that are drawn: losses, and what is neither a setting nor a score of a whole set."""
        return [name for name in self.names if role(name) == "term"]


def bisect_before(steps: list[int], step: int) -> int:
    """The largest of the ascending ``steps`` below ``step``, or 0."""
    place = bisect_left(steps, step)
    return steps[place - 1] if place else 0


def add_mean(epoch: Epoch, values: dict[str, Printed]) -> None:
    for name, value in values.items():
        epoch.last[name] = value.value
        if not is_validation(name):
            total, count = epoch.sums.get(name, (0.0, 0))
            epoch.sums[name] = (total + value.value, count + 1)


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def finite_values(epochs: list[Epoch], name: str) -> list[float]:
    """A term's mean in each epoch, or its last value where there was one alone; those that are numbers."""
    found = [epoch.means().get(name, epoch.last.get(name, math.nan)) for epoch in epochs]
    return [value for value in found if math.isfinite(value)]
