"""The thread that carries the feed into the store, so that the training thread never waits for a disk."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable

from . import events as ev
from .writer import RunWriter

BEAT = 5.0
"""Seconds between two signs of life while nothing happens: a paused run is not a dead one."""
SHORTEST = 0.1
"""Seconds between two writes where something other than a step happened: who pauses a run from another
terminal sees it paused at once."""
_PENDING = 100_000


class StoreSubscriber:
    """Writes a subscription's events about once an ``interval``, earlier where something other than a step
    happened, and the last of them at ``close``.

    Where the disk refuses, ``on_error`` is called once with one line and training goes on; what could not be
    written is kept (of steps the newest 100,000) and tried again, so a disk with room again loses little.
    """

    def __init__(
        self,
        subscription: ev.Subscription,
        writer: RunWriter,
        on_error: Callable[[str], None],
        interval: float = 1.0,
    ) -> None:
        self._subscription = subscription
        self._writer = writer
        self._on_error = on_error
        self._interval = interval
        self._pending: list[ev.Event] = []
        self._dropped = 0
        self._warned = False
        self._written_at = time.monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="run-store", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 30.0) -> None:
        """Write everything emitted so far and close the store. May be called twice."""
        self._closing.set()
        self._subscription.told.set()
        self._thread.join(timeout)

    @property
    def failed(self) -> bool:
        """Whether something could not be written."""
        return self._warned

    def _run(self) -> None:
        while not self._closing.is_set():
            if self._subscription.told.wait(self._interval):
                self._closing.wait(SHORTEST)
            self._flush()
        self._flush()
        try:
            self._writer.close()
        except sqlite3.Error as error:
            self._warn(error)

    def _flush(self) -> None:
        fresh = self._subscription.drain()
        lost = self._subscription.dropped_steps - self._dropped
        if lost:
            self._dropped += lost
            fresh.append(ev.LogLine("warning", f"the run's store was too slow: {lost} steps are not in it"))
        self._pending += fresh
        now = time.monotonic()
        if not self._pending and now - self._written_at < BEAT:
            return
        try:
            self._writer.write(self._pending)
        except sqlite3.Error as error:
            self._warn(error)
            self._shorten()
            return
        except Exception as error:
            # One event that cannot be put into words must not take the others with it.
            self._warn(error)
            self._write_singly()
        self._pending = []
        self._written_at = now

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            self._on_error(
                f"{self._writer.folder.database}: cannot be written ({error}); training goes on, and "
                "the record too once the disk takes it again"
            )

    def _write_singly(self) -> None:
        for event in self._pending:
            with contextlib.suppress(Exception):
                self._writer.write([event])

    def _shorten(self) -> None:
        steps = sum(isinstance(event, ev.StepDone) for event in self._pending)
        excess = steps - _PENDING
        if excess > 0:
            kept: list[ev.Event] = []
            for event in self._pending:
                if excess > 0 and isinstance(event, ev.StepDone):
                    excess -= 1
                else:
                    kept.append(event)
            self._pending = kept
