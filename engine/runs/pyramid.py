"""Coarser and coarser summaries of the steps, so that a chart of a million steps reads a few hundred rows.

Level 0 is the steps themselves; a bucket of level L covers ``FACTOR ** L`` step numbers: bucket k holds the
steps ``k * FACTOR**L + 1 .. (k + 1) * FACTOR**L``. Summaries are kept a column: mean, lowest and highest of
the finite values, how many those are, and how many were NaN or infinite. Pure numpy, no database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .codec import Values, missing

FACTOR = 4
LEVELS = 12
"""4 ** 12 is 16.8 million steps in one bucket: enough for any training."""

STAT = np.dtype([("mean", "<f8"), ("low", "<f8"), ("high", "<f8"), ("finite", "<u4"), ("bad", "<u4")])
Stats = NDArray[np.void]
Ints = NDArray[np.int64]


@dataclass
class Buckets:
    """Buckets of one level: their numbers, the first and last step in each, ``stats`` ``[n, columns]``."""

    number: Ints
    first: Ints
    last: Ints
    stats: Stats

    def __len__(self) -> int:
        return len(self.number)

    def tail(self) -> Buckets:
        """The last bucket alone: the one that is still open."""
        return self.since(int(self.number[-1]))

    def since(self, number: int) -> Buckets:
        """The buckets from ``number`` on."""
        start = int(np.searchsorted(self.number, number))
        return Buckets(self.number[start:], self.first[start:], self.last[start:], self.stats[start:])


def bucket_of(step: int, level: int) -> int:
    return int((step - 1) // FACTOR**level)


def stored_levels(last_step: int) -> int:
    """Levels worth writing: one whose only bucket has a single child says nothing new."""
    return next((level - 1 for level in range(1, LEVELS + 1) if last_step <= FACTOR ** (level - 1)), LEVELS)


def from_steps(steps: Ints, values: Values) -> Buckets:
    """Level 0: a bucket a step."""
    finite = np.isfinite(values)
    stats = np.empty(values.shape, STAT)
    stats["mean"] = np.where(finite, values, 0)
    stats["low"] = np.where(finite, values, np.inf)
    stats["high"] = np.where(finite, values, -np.inf)
    stats["finite"] = finite
    stats["bad"] = ~finite & ~missing(values)
    return Buckets(steps - 1, steps, steps, stats)


def coarser(below: Buckets) -> Buckets:
    """The next level from buckets in rising order."""
    return _merge(below, below.number // FACTOR)


def joined(parts: Sequence[Buckets]) -> Buckets:
    """Buckets of one level in rising order; the same number twice is merged into one."""
    columns = max(part.stats.shape[1] for part in parts)
    whole = Buckets(
        np.concatenate([part.number for part in parts]),
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.last for part in parts]),
        np.concatenate([widen(part.stats, columns) for part in parts]),
    )
    return _merge(whole, whole.number)


def widen(stats: Stats, columns: int) -> Stats:
    """Columns that came later hold nothing in earlier buckets."""
    if stats.shape[1] == columns:
        return stats
    wide = np.zeros((len(stats), columns), STAT)
    wide["low"], wide["high"] = np.inf, -np.inf
    wide[:, : stats.shape[1]] = stats
    return wide


def _merge(below: Buckets, number: Ints) -> Buckets:
    starts = np.flatnonzero(np.diff(number, prepend=number[0] - 1)) if len(number) else np.zeros(0, np.int64)
    if len(starts) == len(number):
        return Buckets(number, below.first, below.last, below.stats)
    stats = np.empty((len(starts), below.stats.shape[1]), STAT)
    finite = below.stats["finite"].astype(np.float64)
    # Means are weighed rather than sums added: a mean of values near the largest float does not overflow.
    total = np.add.reduceat(finite, starts)
    share = finite / np.maximum(np.repeat(total, np.diff([*starts, len(number)]), axis=0), 1)
    stats["mean"] = np.add.reduceat(below.stats["mean"] * share, starts)
    stats["low"] = np.minimum.reduceat(below.stats["low"], starts)
    stats["high"] = np.maximum.reduceat(below.stats["high"], starts)
    stats["finite"] = total
    stats["bad"] = np.add.reduceat(below.stats["bad"], starts)
    return Buckets(
        number[starts],
        np.minimum.reduceat(below.first, starts),
        np.maximum.reduceat(below.last, starts),
        stats,
    )


class Growing:
    """The open bucket of every level, so that new steps can be added without reading old ones."""

    def __init__(self) -> None:
        self.open: list[Buckets | None] = [None] * (LEVELS + 1)

    def add(self, steps: Ints, values: Values) -> list[tuple[int, Buckets]]:
        """Take new steps in; the buckets to write anew, a level each."""
        fresh = from_steps(steps, values)
        written = []
        for level in range(1, LEVELS + 1):
            # ``fresh`` is these steps alone on every level; what the open bucket held before is joined after.
            fresh = coarser(fresh)
            before = self.open[level]
            grown = joined([before, fresh]) if before is not None else fresh
            self.open[level] = grown.tail()
            written.append((level, grown.since(int(fresh.number[0]))))
        return written[: stored_levels(int(steps[-1]))]
