"""The curves of several runs over one axis of steps, epochs or hours, read from their stores."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.errors import UserError
from engine.runs.compare import ComparedRun
from engine.runs.folder import RunFolder
from engine.runs.reader import RunReader

from .history import Columns, Floats
from .stored import COLUMNS

Unit = Literal["epoch", "step", "hours"]
UNITS: tuple[Unit, ...] = ("epoch", "step", "hours")
MAP50 = "mAP50"
EXTRAS = ("grad norm", "lr", MAP50)
POINTS = 400


@dataclass(frozen=True)
class Curve:
    """One term of one run: ``x`` in the unit, ``mean`` NaN where a value is not finite."""

    x: Floats
    mean: Floats


class RunCurves:
    """One run's curves. For one thread; what cannot be read is not drawn."""

    def __init__(self, run: ComparedRun) -> None:
        self.run = run
        self.name = run.name
        self._kept: dict[tuple[str, Unit], Curve | None] = {}

    def forget(self) -> None:
        """Read anew: the run goes on."""
        self._kept.clear()

    def curve(self, term: str, unit: Unit) -> Curve | None:
        """None where the run has no such term, or no such unit."""
        key = (term, unit)
        if key not in self._kept:
            self._kept[key] = None
            with contextlib.suppress(UserError):
                self._kept[key] = self._read(term, unit)
        return self._kept[key]

    def _read(self, term: str, unit: Unit) -> Curve | None:
        with RunReader(RunFolder.open(self.run.info.path)) as reader, reader.moment():
            if term == MAP50:
                done = reader.evaluations()
                steps = np.array([each.step for each in done], np.float64)
                mean = np.array([each.map50 for each in done], np.float64)
            else:
                name = COLUMNS.get(term, term)
                if name not in reader.columns():
                    return None
                series = reader.series(name, points=POINTS)
                steps, mean = series.x, series.mean
            if not np.isfinite(mean).any():
                return None
            x = _positions(reader, steps, unit)
        return Curve(x, mean) if x is not None else None


def _positions(reader: RunReader, steps: Floats, unit: Unit) -> Floats | None:
    """Where the steps lie on the axis; None where the run cannot be measured in this unit."""
    if unit == "step":
        return steps
    if unit == "epoch":
        started = reader.started()
        per = started.steps_per_epoch if started else 0
        return steps / per if per else None
    if "elapsed" not in reader.columns():
        return None
    elapsed = reader.series("elapsed", points=POINTS)
    if not len(elapsed) or not np.nanmax(elapsed.high) > 0:
        return None
    hours: Floats = np.interp(steps, elapsed.x, elapsed.mean) / 3600
    return hours


def binned(curve: Curve, end: float, n: int) -> Columns:
    """The curve from 0 to ``end`` in ``n`` columns."""
    where = np.rint(curve.x / max(end, 1e-12) * (n - 1)).astype(np.int64).clip(0, n - 1)
    finite = np.isfinite(curve.mean)
    total, count = np.zeros(n), np.zeros(n)
    np.add.at(total, where[finite], curve.mean[finite])
    np.add.at(count, where[finite], 1)
    mean = np.divide(total, count, out=np.full(n, np.nan), where=count > 0)
    gap = np.zeros(n, bool)
    gap[where[~finite]] = True
    return Columns(mean, mean, mean, gap)
