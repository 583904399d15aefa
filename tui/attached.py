"""A run that another process writes: its store as a feed, and its requests file as a control."""

from __future__ import annotations

import contextlib
import threading
import time

from engine.errors import UserError
from engine.runs.events import Event, Feed, LogLine, RunStarted, StateChanged
from engine.runs.folder import RunFolder
from engine.runs.opening import read_opening
from engine.runs.reader import Cursor, RunReader, RunStatus
from engine.runs.requests import Kind, Request, RequestWriter
from engine.training.obeying import arrived

from .format import duration
from .past import past_state
from .runstate import Reread, RunState

INTERVAL = 0.25
"""Seconds between two looks at the store."""
STATUS_EVERY = 1.0
PATIENCE = 3.0
"""Seconds after which it is said that nobody has answered a request."""


class RemoteControl:
    """Asks the process that writes the run. What it then does is seen in the store, as everybody sees it."""

    def __init__(self, folder: RunFolder) -> None:
        self.asker = RequestWriter(folder)
        self.doing = ""
        """The last state that the store told."""
        self.waiting: list[Request] = []
        """Asked for and not yet answered."""
        self.problem = ""
        """Why the last request could not be made."""
        self._capturing = False

    @property
    def paused(self) -> bool:
        return self.doing == "paused"

    @property
    def stopping(self) -> bool:
        return self.doing == "stopping"

    def pause(self) -> None:
        self._ask("pause")

    def resume(self) -> None:
        self._ask("resume")

    def step(self, count: int = 1) -> None:
        if self._capturing:
            self._ask("snapshot")
        self._ask("step", count)

    def to_epoch_end(self) -> None:
        self._ask("epoch_end")

    def checkpoint(self) -> None:
        self._ask("checkpoint")

    def snapshot(self) -> None:
        self._ask("snapshot")

    def capture(self, on: bool) -> None:
        """While the inspector looks on: the next step's tensors now, and those of every step asked for."""
        self._capturing = on
        if on:
            self._ask("snapshot")

    def stop(self) -> None:
        self._ask("stop")

    def answered(self, line: str) -> None:
        """A line of the run's log: it may say that a request has arrived."""
        self.waiting = [request for request in self.waiting if arrived(request) != line]

    def note(self) -> str:
        """What is asked for and not answered, for the header."""
        waiting = self.waiting
        if not waiting:
            return self.problem
        since = time.time() - waiting[0].at
        late = f" {duration(since)} ago, no answer yet" if since > PATIENCE else ""
        return f"asked to {waiting[0]}{late}"

    def _ask(self, kind: Kind, count: int = 1) -> None:
        try:
            self.waiting = [*self.waiting, self.asker.send(kind, count=count)]
            self.problem = ""
        except UserError as error:
            self.problem = f"cannot ask: {error.what}"


class AttachedRun:
    """What ``Session`` asks for, of a run in somebody else's hands.

    ``run`` follows the store until ``close``, whatever becomes of the writer: it may come back, and a viewer
    that is suspended or killed is nobody's concern. Raises ``UserError`` at the start alone, where there is
    no run or it cannot be read.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.feed = Feed()
        self.control = RemoteControl(folder)
        self._reader = RunReader(folder)
        self._cursor = Cursor()
        self._identity = self._look_at_file()
        self._closing = threading.Event()
        self._looked_at = float("-inf")
        self.refusal = ""
        """Why the training cannot be controlled from here; empty: it can."""
        self.unread = ""
        """Why the store could not be read at the last look."""
        self.has_snapshots = False
        self.status = RunStatus("empty")
        self._look()

    def close(self) -> None:
        self._closing.set()

    def run(self) -> None:
        while not self._closing.wait(INTERVAL):
            self.follow()
        self._reader.close()

    def read(self) -> RunState:
        """The run as it is now, its whole past in summary; what comes later goes into the feed."""
        opening = read_opening(self._reader)
        for _, event in opening.events:
            self._note(event)
        state = past_state(opening, self._reader)
        state.status = self.status
        self._cursor = opening.cursor
        return state

    def follow(self) -> None:
        """Carry what the store has got since the last look into the feed."""
        try:
            if self._looked_at + STATUS_EVERY <= time.monotonic():
                self._reopen_if_replaced()
                self._look()
            while self._take() and not self._closing.is_set():
                pass
            self.unread = ""
        except UserError as error:
            self.unread = error.what

    def _take(self) -> bool:
        """One portion; whether there may be more."""
        events, self._cursor = self._reader.events(self._cursor)
        if any(isinstance(event, RunStarted) for event in events):
            # It went back to an earlier step, or is being written for the first time.
            self._looked_at = float("-inf")
            self.feed.emit(Reread(self.read()))  # type: ignore[arg-type]
            return True
        for event in events:
            self._note(event)
            self.feed.emit(event)
        return bool(events)

    def _note(self, event: Event) -> None:
        if isinstance(event, StateChanged):
            self.control.doing = event.state
        elif isinstance(event, LogLine) and self.control.waiting:
            self.control.answered(event.text)

    def _look(self) -> None:
        """Whether somebody writes it, and whether he can be asked."""
        self._looked_at = time.monotonic()
        self.status = self._reader.status()
        self.refusal = self._why_not()
        if self.refusal:
            self.control.waiting = []
        if not self.has_snapshots:
            with contextlib.suppress(OSError):
                self.has_snapshots = next(self.folder.snapshots.glob("*.safetensors"), None) is not None

    def _why_not(self) -> str:
        match self.status.state:
            case "finished" | "stopped" | "failed":
                return f"the run has {self.status.state}: there is nothing to control"
            case "dead":
                return (
                    f"its process ({self.status.pid} on {self.status.host}) is gone: there is nobody to ask"
                )
            case "empty":
                return "the run has not begun"
        refusal = self.control.asker.refusal()
        return f"looking only: {refusal}" if refusal else ""

    def _look_at_file(self) -> tuple[int, int]:
        try:
            found = self.folder.database.stat()
        except OSError:
            return (0, 0)
        return found.st_dev, found.st_ino

    def _reopen_if_replaced(self) -> None:
        """Another run may have been put in its place under the same name."""
        there = self._look_at_file()
        if there in (self._identity, (0, 0)):
            return
        reader = RunReader(self.folder)
        self._reader.close()
        self._reader, self._identity = reader, there
        self.has_snapshots = False
        self._look()
        self.feed.emit(Reread(self.read()))  # type: ignore[arg-type]


def presence(status: RunStatus) -> str:
    """What is to be said of a writer that is silent or gone; empty for any other."""
    where = f"process {status.pid} on {status.host}"
    if status.state == "dead":
        return f"{where} is gone, last heard of {duration(status.silent_seconds)} ago"
    if status.state == "silent":
        return f"{where} is there, but silent for {duration(status.silent_seconds)}"
    return ""
