"""Reading a run's store while somebody else may be writing it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from . import codec, pyramid
from . import events as ev
from .folder import RunFolder
from .liveness import Writer
from .pyramid import STAT, Ints
from .schema import LEVEL_BITS, connect_reader

Floats = NDArray[np.float64]
RunState = Literal["empty", "running", "silent", "dead", "finished", "stopped", "failed"]


@dataclass(frozen=True, eq=False)
class Series:
    """A column over the steps, for a chart: one entry a bucket of steps (a bucket may be a single step).

    ``mean``, ``low`` and ``high`` are of the finite values and NaN where a bucket has none; ``bad`` counts
    its NaN and infinite ones. ``x`` is the middle of the bucket's steps. The first and the last bucket may
    reach beyond the steps that were asked for.
    """

    x: Floats
    mean: Floats
    low: Floats
    high: Floats
    finite: Ints
    bad: Ints

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class RunStatus:
    """How a run stands.

    ``running``; ``silent``: its process lives but was not heard of for a while; ``dead``: its process is gone
    and never said goodbye; ``empty``: never started; else how it ended.
    """

    state: RunState
    doing: str = ""
    """While it runs: the last ``StateChanged``'s word."""
    message: str = ""
    exit_code: int | None = None
    host: str = ""
    pid: int = 0
    silent_seconds: float = 0.0

    @property
    def alive(self) -> bool:
        return self.state in ("running", "silent")


@dataclass(frozen=True)
class LogEntry:
    time: float
    """Seconds since 1970."""
    level: str
    text: str


@dataclass(frozen=True)
class Cursor:
    """How far a reader of ``RunReader.events`` has come."""

    seq: int = 0
    step: int = 0


class Score(NamedTuple):
    """An evaluation in short."""

    map50: float
    map50_95: float
    seconds: float
    best: bool


class RunReader:
    """Reads one run's ``run.db``; any number of them, in any process, none of which the writer waits for.

    Holds no lock between two calls. For one thread at a time. Raises ``UserError`` where there is no run or
    it cannot be read.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._connection = connect_reader(folder.database)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> RunReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def meta(self, name: str = "") -> dict[str, Any]:
        """What ``RunWriter.set_meta`` kept: all of it, or the one value of that name."""
        found = self._all(
            "SELECT name, value FROM meta WHERE name != 'version' AND (? = '' OR name = ?)", (name, name)
        )
        return {name: json.loads(value) for name, value in found}

    def columns(self) -> list[str]:
        """Every column that ``series`` knows: a step's fields, ``elapsed``, the terms."""
        return [name for (name,) in self._all("SELECT name FROM columns ORDER BY place")]

    def terms(self) -> list[str]:
        """The columns that are loss terms, in the order in which they were first seen."""
        return [name for name in self.columns() if name not in codec.STEP_FIELDS and name != codec.ELAPSED]

    def series(self, column: str, lo: int = 1, hi: int | None = None, points: int = 400) -> Series:
        """``column`` from step ``lo`` to ``hi`` in the finest summary of at most ``4 * points`` entries.

        Where there are that many steps it has at least ``points``. Raises ``UserError`` for no such column.
        """
        return self.many_series([column], lo, hi, points)[column]

    def many_series(
        self, columns: list[str], lo: int = 1, hi: int | None = None, points: int = 400
    ) -> dict[str, Series]:
        """``series`` of several columns, all of the same moment."""
        with self.moment():
            known = self.columns()
            last = self.last_step()
            lo, hi = max(1, lo), last if hi is None else min(hi, last)
            places = [_place(known, name) for name in columns]
            level = _level_for(max(0, hi - lo + 1), max(1, points))
            read = self._steps_series if level == 0 else self._summary_series
            return {name: read(place, level, lo, hi) for name, place in zip(columns, places, strict=True)}

    def new_steps(self, after: int, limit: int = 10_000) -> list[ev.StepDone]:
        """Up to ``limit`` steps above step ``after``, oldest first."""
        with self.moment():
            numbers, rows = self._rows(after, limit)
            return codec.steps_from_rows(numbers, rows, self.columns())

    def rows(self, after: int = 0, limit: int = 10_000) -> tuple[Ints, Floats]:
        """Up to ``limit`` step numbers above ``after`` and their values ``[n, columns]``, for an export."""
        with self.moment():
            return self._rows(after, limit)

    def events(self, cursor: Cursor, limit: int = 10_000) -> tuple[list[ev.Event], Cursor]:
        """What was written since ``cursor`` (at first ``Cursor()``) as the feed carried it, and its end.

        At most about ``limit``; call again until nothing comes. A resumed run goes back to an earlier step:
        then ``RunStarted`` comes again with its ``first_step``, followed by steps seen before.
        """
        with self.moment():
            columns = self.columns()
            found = self._all(
                "SELECT seq, kind, after_step, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?",
                (cursor.seq, limit),
            )
            events: list[ev.Event] = []
            for seq, kind, after_step, body in found:
                cursor = self._steps_until(after_step, cursor, columns, events, limit - len(events))
                if cursor.step < after_step and len(events) >= limit:
                    return events, cursor
                event = codec.decode(kind, body)
                step = cursor.step
                if isinstance(event, ev.RunStarted):
                    step = min(step, event.first_step)
                cursor = Cursor(seq, step)
                if event is not None:
                    events.append(event)
            if len(found) < limit:
                cursor = self._steps_until(None, cursor, columns, events, limit - len(events))
            return events, cursor

    def newest_cursor(self, steps: int = 0) -> Cursor:
        """A cursor that skips everything up to now but the last ``steps`` steps."""
        with self.moment():
            seq = self._all("SELECT coalesce(max(seq), 0) FROM events")[0][0]
            return Cursor(seq, max(0, self.last_step() - steps))

    def started(self) -> ev.RunStarted | None:
        """What the run said of itself when it last started."""
        found = self._decoded("RunStarted", last=1)
        return found[0] if found else None

    def epochs(self, last: int | None = None) -> list[ev.EpochDone]:
        """Every finished one, or the ``last`` few, oldest first."""
        return self._decoded("EpochDone", last)

    def evaluations(self) -> list[ev.EvaluationDone]:
        return self._decoded("EvaluationDone")

    def scores(self) -> list[Score]:
        """Of every evaluation: for a list of runs, where ``evaluations`` with their classes would cost too
        much."""
        found = self._all("SELECT body FROM events WHERE kind = 'EvaluationDone' ORDER BY seq")
        bodies = [json.loads(body) for (body,) in found]
        return [Score(*(body[name] for name in Score._fields)) for body in bodies]

    def moments(self, kind: str = "") -> list[tuple[int, float]]:
        """For every event (of one kind) the step before it and when it was written, in seconds since 1970,
        oldest first: a step's own time lies between two of them."""
        query = "SELECT after_step, time FROM events WHERE ? IN ('', kind) ORDER BY seq"
        return [(int(step), float(time)) for step, time in self._all(query, (kind,))]

    def checkpoints(self) -> list[ev.CheckpointSaved]:
        return self._decoded("CheckpointSaved")

    def snapshots(self) -> list[ev.SnapshotTaken]:
        """In the order of their steps; one taken again after a resume stands once."""
        found: list[ev.SnapshotTaken] = self._decoded("SnapshotTaken")
        return sorted({taken.path: taken for taken in found}.values(), key=lambda taken: taken.step)

    def findings(self) -> list[ev.FindingRaised]:
        return self._decoded("FindingRaised")

    def cleared(self) -> list[ev.FindingCleared]:
        return self._decoded("FindingCleared")

    def log(self, last: int = 200) -> list[LogEntry]:
        """The last lines, oldest first."""
        found = self._all(
            "SELECT time, body FROM events WHERE kind = 'LogLine' ORDER BY seq DESC LIMIT ?", (last,)
        )
        lines = [(time, codec.decode("LogLine", body)) for time, body in reversed(found)]
        return [LogEntry(time, line.level, line.text) for time, line in lines if line is not None]

    def last_step(self) -> int:
        return int(self._all("SELECT coalesce(max(step), 0) FROM steps")[0][0])

    def step_count(self) -> int:
        """How many steps are kept: fewer than ``last_step`` where a log gave only some."""
        return int(self._all("SELECT count(*) FROM steps")[0][0])

    def begun(self) -> float | None:
        """When the run first started, in seconds since 1970."""
        found = self._all("SELECT min(time) FROM events WHERE kind = 'RunStarted'")
        return None if found[0][0] is None else float(found[0][0])

    def status(self) -> RunStatus:
        """Whether it runs, ended (and how), or lost its writer."""
        with self.moment():
            writer = Writer.of(self._connection)
            newest = self._all(
                "SELECT kind, body FROM events WHERE kind IN ('RunStarted', 'RunEnded')"
                " ORDER BY seq DESC LIMIT 1"
            )
            doing = self._decoded("StateChanged", last=1)
        known = RunStatus("empty")
        if writer is not None:
            known = replace(known, host=writer.host, pid=writer.pid, silent_seconds=writer.silent_seconds)
        if newest and newest[0][0] == "RunEnded":
            ended = codec.decode("RunEnded", newest[0][1])
            if isinstance(ended, ev.RunEnded):
                return replace(known, state=ended.status, message=ended.message, exit_code=ended.exit_code)
        if writer is not None and writer.alive:
            state: RunState = "silent" if writer.silent else "running"
            return replace(known, state=state, doing=doing[0].state if doing else "")
        return replace(known, state="dead") if newest or self.last_step() else known

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Several queries that see the same state. In WAL it hinders nobody; it is never left open."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")

    # inside

    def _all(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise UserError(
                f"cannot be read: {error}", where=self.folder.database, fix="try again, or restore the file"
            ) from None

    def _decoded(self, kind: str, last: int | None = None) -> list[Any]:
        found = self._all(
            "SELECT body FROM events WHERE kind = ? ORDER BY seq DESC LIMIT ?",
            (kind, -1 if last is None else last),
        )
        events = [codec.decode(kind, body) for (body,) in reversed(found)]
        return [event for event in events if event is not None]

    def _rows(self, after: int, limit: int) -> tuple[Ints, Floats]:
        found = self._all("SELECT step, data FROM steps WHERE step > ? ORDER BY step LIMIT ?", (after, limit))
        rows = np.full((len(found), len(self.columns())), codec.MISSING)
        for row, (_, data) in zip(rows, found, strict=True):
            values = np.frombuffer(data, "<f8")
            row[: len(values)] = values
        return np.array([step for step, _ in found], np.int64), rows

    def _steps_until(
        self, until: int | None, cursor: Cursor, columns: list[str], events: list[ev.Event], room: int
    ) -> Cursor:
        if room <= 0 or (until is not None and until <= cursor.step):
            return cursor
        numbers, rows = self._rows(cursor.step, room if until is None else min(room, until - cursor.step))
        if until is not None:
            rows = rows[numbers <= until]
            numbers = numbers[numbers <= until]
        events += codec.steps_from_rows(numbers, rows, columns)
        full = until is None or len(numbers) == room
        step = (int(numbers[-1]) if len(numbers) else cursor.step) if full else until
        return Cursor(cursor.seq, step if step is not None else cursor.step)

    def _steps_series(self, place: int, _level: int, lo: int, hi: int) -> Series:
        found = self._all(
            "SELECT step, substr(data, ?, 8) FROM steps WHERE step BETWEEN ? AND ?", (1 + 8 * place, lo, hi)
        )
        kept = [(step, data) for step, data in found if len(data) == 8]
        values = np.frombuffer(b"".join(data for _, data in kept), "<f8").astype(np.float64)
        steps = np.array([step for step, _ in kept], np.float64)
        there = ~codec.missing(values)
        values, steps = values[there], steps[there]
        finite = np.isfinite(values)
        shown = np.where(finite, values, np.nan)
        return Series(steps, shown, shown, shown, finite.astype(np.int64), (~finite).astype(np.int64))

    def _summary_series(self, place: int, level: int, lo: int, hi: int) -> Series:
        base, size = level << LEVEL_BITS, STAT.itemsize
        found = self._all(
            "SELECT first, last, substr(data, ?, ?) FROM pyramid WHERE key BETWEEN ? AND ?",
            (
                1 + size * place,
                size,
                base + pyramid.bucket_of(lo, level),
                base + pyramid.bucket_of(hi, level),
            ),
        )
        kept = [row for row in found if len(row[2]) == size]
        stats = np.frombuffer(b"".join(row[2] for row in kept), STAT)
        middle = np.array([(row[0] + row[1]) / 2 for row in kept], np.float64)
        there = (stats["finite"] > 0) | (stats["bad"] > 0)
        stats, middle = stats[there], middle[there]
        some = stats["finite"] > 0
        mean, low, high = (np.where(some, stats[name], np.nan) for name in ("mean", "low", "high"))
        return Series(
            middle, mean, low, high, stats["finite"].astype(np.int64), stats["bad"].astype(np.int64)
        )


def _place(known: list[str], name: str) -> int:
    if name not in known:
        raise UserError(f"no column {name!r}", fix=f"there are: {', '.join(known) or 'none yet'}")
    return known.index(name)


def _level_for(steps: int, points: int) -> int:
    """The finest level that holds ``steps`` steps in at most ``4 * points`` buckets."""
    return next(
        (level for level in range(pyramid.LEVELS) if steps <= 4 * points * pyramid.FACTOR**level),
        pyramid.LEVELS,
    )
