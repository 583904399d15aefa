"""A training as the screen sees it, and the plain thread that runs it."""

from __future__ import annotations

import threading
import traceback
from pathlib import Path
from typing import Protocol

from engine.errors import UserError
from engine.runs.events import Feed, RunEnded


class RunControl(Protocol):
    """What the screen asks of a training in this process (``engine.training.control``) or in another."""

    @property
    def paused(self) -> bool: ...
    @property
    def stopping(self) -> bool: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def step(self, count: int = 1) -> None: ...
    def to_epoch_end(self) -> None: ...
    def checkpoint(self) -> None: ...
    def snapshot(self) -> None: ...
    def capture(self, on: bool) -> None: ...
    def stop(self) -> None: ...


class Session(Protocol):
    """What ``engine.training.session.Training`` offers."""

    feed: Feed

    @property
    def control(self) -> RunControl: ...

    def run(self) -> RunEnded | None: ...


class TrainingThread(threading.Thread):
    """Runs a session to its end and keeps how it ended, an exception included.

    A plain thread: an executor's would hold up the exit, and children forked from it die with status 1.
    A daemon: whoever leaves without waiting for the step in progress must be able to.
    """

    def __init__(self, session: Session, log_path: Path) -> None:
        super().__init__(name="training", daemon=True)
        self.session = session
        self.log_path = log_path
        self.ended: RunEnded | None = None

    def run(self) -> None:
        try:
            self.ended = self.session.run()
        except UserError as error:
            self.ended = self._failure(str(error), 2)
        except BaseException as error:
            write_traceback(self.log_path, error)
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            self.ended = self._failure(f"crashed with {what}; the traceback is in {self.log_path}", 1)

    @staticmethod
    def _failure(message: str, exit_code: int) -> RunEnded:
        return RunEnded("failed", message, 0, 0, exit_code)


def write_traceback(path: Path, error: BaseException) -> None:
    """Append the traceback to the run's log; never raises, as it is called when something already failed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        pass
