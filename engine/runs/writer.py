"""The one writer of a run's store."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import UserError
from . import codec, pyramid
from . import events as ev
from .folder import RunFolder
from .liveness import Writer
from .pyramid import STAT, Buckets, Growing
from .schema import LEVEL_BITS, connect_reader, connect_writer

# Going back to a step undoes what came after it, except what stays true: the log, and the snapshots on disk.
_UNDONE = (
    "EpochDone",
    "EvaluationDone",
    "CheckpointSaved",
    "FindingRaised",
    "FindingCleared",
    "RunEnded",
)
_CHUNK = 20_000


class RunWriter:
    """Writes events into a run's ``run.db``. One writer a run, many readers.

    Each ``write`` is one transaction: after ``kill -9`` the store holds all of it or none, the summaries
    included. Methods may be called from any thread, from one at a time. Opening raises ``UserError`` where
    the store cannot be written or a living process writes it; the others let ``sqlite3.Error`` out and leave
    the store as it was.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        # Looked at before anything waits for a lock: a suspended writer may hold it for ever.
        look = None
        with contextlib.suppress(UserError):  # not there, or killed before its tables were made
            look = connect_reader(folder.database)
        if look is not None:
            with contextlib.closing(look):
                self._refuse_beside(Writer.of(look))
        self._connection, without_wal = connect_writer(folder.database)
        self.columns: list[str] = []
        self.last_step = 0
        self._elapsed = 0.0
        self._late_steps = 0
        self._growing = Growing()
        self._stale = True
        self._sign_in()
        if without_wal:
            text = f"run.db: no write-ahead log here ({without_wal}); readers may have to wait for the writer"
            self.write([ev.LogLine("info", text)])

    def set_meta(self, **values: Any) -> None:
        """Keep JSON values beside the run: ``environment={...}``, ``config="/absolute/demo.toml"``."""
        with self._transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [(name, json.dumps(value, default=str)) for name, value in values.items()],
            )

    def write(self, events: Iterable[ev.Event]) -> None:
        """Add events in their order, all or none. An empty list is a sign of life.

        ``RunStarted`` goes back to its ``first_step`` by itself. A step whose number is not above the last
        one's is left out and counted in the log: the trainer numbers its steps, and so does the recorder.
        """
        with self._transaction():
            steps: list[ev.StepDone] = []
            for event in events:
                if isinstance(event, ev.StepDone):
                    if event.step > self.last_step:
                        self.last_step = event.step
                        steps.append(event)
                    else:
                        self._late_steps += 1
                    continue
                if isinstance(event, ev.RunStarted) and event.first_step < self.last_step:
                    self._add_steps(steps)
                    steps = []
                    self._rewind(event.first_step)
                self._add_event(event)
            self._add_steps(steps)
            if self._late_steps:
                self._add_event(ev.LogLine("warning", f"{self._late_steps} steps with a number already used"))
                self._late_steps = 0
            self._beat()

    def rewind(self, step: int) -> None:
        """Undo everything after ``step``: what a resumed run is about to do again.

        Log lines and snapshots stay: they happened, and their files are there.
        """
        with self._transaction():
            self._rewind(step)
            self._beat()

    def beat(self) -> None:
        """A sign of life where nothing happened for a while."""
        with self._transaction():
            self._beat()

    def close(self) -> None:
        """Sign out, and leave one single file where no reader has it open."""
        try:
            with self._transaction():
                self._connection.execute("UPDATE writer SET released = 1, beat = ?", (time.time(),))
            self._connection.execute("PRAGMA busy_timeout=0")
            self._connection.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError:
            pass  # somebody is reading: the log stays beside the file and is just as good
        finally:
            self._connection.close()

    # inside one transaction

    def _add_steps(self, steps: Sequence[ev.StepDone]) -> None:
        for start in range(0, len(steps), _CHUNK):
            self._add_chunk(steps[start : start + _CHUNK])

    def _add_chunk(self, steps: Sequence[ev.StepDone]) -> None:
        self._know_columns(steps)
        rows = codec.step_rows(steps, self.columns, self._elapsed)
        self._elapsed = float(rows[-1, self.columns.index(codec.ELAPSED)])
        numbers = np.array([step.step for step in steps], np.int64)
        self._connection.executemany(
            "INSERT INTO steps VALUES (?, ?)",
            zip(numbers.tolist(), (row.tobytes() for row in rows.astype("<f8")), strict=True),
        )
        for level, buckets in self._growing.add(numbers, rows):
            self._put(level, buckets)

    def _know_columns(self, steps: Sequence[ev.StepDone]) -> None:
        known = set(self.columns)
        names = [*codec.STEP_FIELDS, codec.ELAPSED]
        # Terms in the order in which they were first seen.
        names += [name for step in steps if step.terms.keys() - known for name in step.terms]
        fresh = [name for name in dict.fromkeys(names) if name not in known]
        self._connection.executemany(
            "INSERT INTO columns VALUES (?, ?)",
            [(len(self.columns) + k, name) for k, name in enumerate(fresh)],
        )
        self.columns += fresh

    def _put(self, level: int, buckets: Buckets) -> None:
        keys = ((level << LEVEL_BITS) + buckets.number).tolist()
        rows = zip(
            keys,
            buckets.first.tolist(),
            buckets.last.tolist(),
            (row.tobytes() for row in buckets.stats),
            strict=True,
        )
        self._connection.executemany("INSERT OR REPLACE INTO pyramid VALUES (?, ?, ?, ?)", rows)

    def _add_event(self, event: ev.Event) -> None:
        kind, body = codec.encode(event)
        step = getattr(event, "step", self.last_step)
        self._connection.execute(
            "INSERT INTO events (time, kind, step, after_step, body) VALUES (?, ?, ?, ?, ?)",
            (time.time(), kind, step, self.last_step, body),
        )

    def _beat(self) -> None:
        self._connection.execute("UPDATE writer SET beat = ?", (time.time(),))

    def _rewind(self, step: int) -> None:
        step = max(0, step)
        execute = self._connection.execute
        execute("DELETE FROM steps WHERE step > ?", (step,))
        marks = ", ".join("?" * len(_UNDONE))
        execute(f"DELETE FROM events WHERE step > ? AND kind IN ({marks})", (step, *_UNDONE))
        execute("UPDATE events SET after_step = ? WHERE after_step > ?", (step, step))
        for level in range(1, pyramid.LEVELS + 1):
            low = level << LEVEL_BITS
            keep = 0 if level > pyramid.stored_levels(step) else pyramid.bucket_of(step, level) + 1
            execute(
                "DELETE FROM pyramid WHERE key BETWEEN ? AND ?", (low + keep, low + (1 << LEVEL_BITS) - 1)
            )
        self._load()
        for level in range(1, pyramid.stored_levels(self.last_step) + 1):
            opened = self._growing.open[level]
            if opened is not None:
                self._put(level, opened)

    # reading back what a new process must know

    def _load(self) -> None:
        execute = self._connection.execute
        self.columns = [name for (name,) in execute("SELECT name FROM columns ORDER BY place")]
        self.last_step = execute("SELECT coalesce(max(step), 0) FROM steps").fetchone()[0]
        self._late_steps = 0
        self._growing = Growing()
        self._elapsed = 0.0
        self._stale = False
        if self.last_step == 0:
            return
        steps, rows = self._raw(pyramid.bucket_of(self.last_step, 1))
        self._elapsed = float(rows[-1, self.columns.index(codec.ELAPSED)])
        opened = pyramid.coarser(pyramid.from_steps(steps, rows))
        self._growing.open[1] = opened
        for level in range(2, pyramid.LEVELS + 1):
            children = self._closed_children(level, opened)
            opened = pyramid.coarser(pyramid.joined([*children, opened]))
            self._growing.open[level] = opened

    def _raw(self, bucket: int) -> tuple[pyramid.Ints, codec.Values]:
        low = bucket * pyramid.FACTOR
        found = self._connection.execute(
            "SELECT step, data FROM steps WHERE step > ? ORDER BY step", (low,)
        ).fetchall()
        rows = np.full((len(found), len(self.columns)), codec.MISSING)
        for row, (_, data) in zip(rows, found, strict=True):
            values = np.frombuffer(data, "<f8")
            row[: len(values)] = values
        return np.array([step for step, _ in found], np.int64), rows

    def _closed_children(self, level: int, last_child: Buckets) -> list[Buckets]:
        child = int(last_child.number[0])
        base = (level - 1) << LEVEL_BITS
        found = self._connection.execute(
            "SELECT key, first, last, data FROM pyramid WHERE key >= ? AND key < ? ORDER BY key",
            (base + child // pyramid.FACTOR * pyramid.FACTOR, base + child),
        ).fetchall()
        return [
            Buckets(
                np.array([key - base]),
                np.array([first]),
                np.array([last]),
                np.frombuffer(data, STAT).reshape(1, -1),
            )
            for key, first, last, data in found
        ]

    def _refuse_beside(self, other: Writer | None) -> None:
        if other is not None and other.alive and not other.is_here:
            raise UserError(
                f"is being written by process {other.pid} on {other.host}",
                where=self.folder.path,
                fix="stop that one first, or watch it with: yolotui attach",
            )

    def _sign_in(self) -> None:
        me = Writer.here()
        try:
            with self._transaction():
                self._refuse_beside(Writer.of(self._connection))
                self._connection.execute(
                    "INSERT OR REPLACE INTO writer VALUES (1, ?, ?, ?, ?, 0)",
                    (me.host, me.pid, me.process_start, me.beat),
                )
        except BaseException:
            self._connection.close()
            raise

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing. After a failure, what is in memory is read anew from what is on disk."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if self._stale:
                self._load()
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._stale = True
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
