"""A run's series read from its store: another run laid over this one, or what the history has let go."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.errors import UserError
from engine.runs.events import EvaluationDone, RunStarted
from engine.runs.folder import RunFolder
from engine.runs.reader import RunReader, Series

from .history import Columns, Reading, nothing_read
from .runstate import GRAD_NORM, IMAGES_PER_SECOND, LR

COLUMNS = {GRAD_NORM: "grad_norm", LR: "lr"}
"""The store's names of what is drawn beside the terms."""
FRESH = 5.0
"""Seconds for which what was read of a run is taken to be the newest: it may be one that goes on."""
POINTS = 400
LONGEST_READING = 50_000
"""Steps up to which a reading is of the steps themselves; beyond, of summaries."""
KEPT = 64


def speed(images: Series, seconds: Series) -> Series:
    """Images a second. Of a bucket: images of all its steps in the seconds of all its steps."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(seconds.mean > 0, images.mean / seconds.mean, np.nan)
        low, high = images.low / seconds.high, images.high / seconds.low
    fine = np.isfinite(mean)
    return Series(seconds.x, mean, low, high, np.where(fine, seconds.finite, 0), seconds.bad)


class StoredRun:
    """One run's store. For one thread; raises ``UserError`` at the start alone: later a store that cannot be
    read has no values."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = RunFolder.open(path)
        self.name = self.folder.name
        self._reader = RunReader(self.folder)
        self._clock = clock
        self._read_at = float("-inf")
        self._series: dict[tuple[str, int, int, int], Series] = {}
        self.started: RunStarted | None = None
        self.evaluations: list[EvaluationDone] = []
        self.last = 0
        """Its newest step."""
        self._names: set[str] = set()
        self._look()
        if not self.last:
            self._reader.close()
            raise UserError("has no steps yet", where=self.name)

    def close(self) -> None:
        self._reader.close()

    def refresh(self) -> bool:
        """Look again where the last look is old; whether anything is new."""
        if self._clock() - self._read_at < FRESH:
            return False
        last, count = self.last, len(self.evaluations)
        with contextlib.suppress(UserError):
            self._look()
        return (last, count) != (self.last, len(self.evaluations))

    def has(self, name: str) -> bool:
        return name == IMAGES_PER_SECOND or COLUMNS.get(name, name) in self._names

    def columns(self, name: str, first: int, last: int, n: int) -> Columns | None:
        """As ``History.columns``; None where the run has no such series."""
        series = self._read(name, first, last, max(POINTS, n // 2))
        if series is None or not len(series):
            return None
        low, high = np.full(n, np.inf), np.full(n, -np.inf)
        total, count, bad = np.zeros(n), np.zeros(n, np.int64), np.zeros(n, np.int64)
        where = np.rint((series.x - first) / max(1, last - first) * (n - 1)).astype(np.int64).clip(0, n - 1)
        some = series.finite > 0
        np.minimum.at(low, where[some], series.low[some])
        np.maximum.at(high, where[some], series.high[some])
        np.add.at(total, where[some], series.mean[some] * series.finite[some])
        np.add.at(count, where, series.finite)
        np.add.at(bad, where, series.bad)
        empty = count == 0
        mean = np.divide(total, count, out=np.full(n, np.nan), where=~empty)
        return Columns(np.where(empty, np.nan, low), np.where(empty, np.nan, high), mean, bad > 0)

    def reading(self, name: str, first: int, last: int) -> Reading | None:
        """As ``History.reading``; of the steps themselves where they are not too many."""
        span = last - first + 1
        points = span // 4 + 1 if span <= LONGEST_READING else POINTS
        series = self._read(name, first, last, points)
        if series is None or not len(series):
            return None
        finite, bad = int(series.finite.sum()), int(series.bad.sum())
        some = series.finite > 0
        if not finite:
            return nothing_read(first, last, bad)
        mean = float((series.mean[some] * series.finite[some]).sum()) / finite
        return Reading(
            max(first, int(series.x.min())),
            min(last, int(series.x.max() + 0.5)),
            mean,
            float(series.low[some].min()),
            float(series.high[some].max()),
            finite,
            bad,
        )

    def _read(self, name: str, first: int, last: int, points: int) -> Series | None:
        key = (name, first, min(last, self.last), points)
        if key not in self._series:
            if len(self._series) >= KEPT:
                self._series.clear()
            with contextlib.suppress(UserError):
                self._series[key] = self._fresh(name, *key[1:])
        return self._series.get(key)

    def _fresh(self, name: str, first: int, last: int, points: int) -> Series:
        if name != IMAGES_PER_SECOND:
            return self._reader.series(COLUMNS.get(name, name), first, last, points)
        parts = self._reader.many_series(["images", "seconds"], first, last, points)
        return speed(parts["images"], parts["seconds"])

    def _look(self) -> None:
        self._read_at = self._clock()
        self.started = self._reader.started()
        self.evaluations = self._reader.evaluations()
        self._names = set(self._reader.columns())
        last = self._reader.last_step()
        if last != self.last:
            self._series.clear()
        self.last = last


class OwnStore:
    """The store of the run that is shown, opened when somebody first asks for it, and tried again later where
    it was not there yet."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._run: StoredRun | None = None
        self._tried = float("-inf")

    def get(self) -> StoredRun | None:
        if self._run is not None:
            self._run.refresh()
        elif self._clock() - self._tried >= FRESH:
            self._tried = self._clock()
            with contextlib.suppress(UserError):
                self._run = StoredRun(self._path, self._clock)
        return self._run

    def close(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None
