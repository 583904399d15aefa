"""Training without a screen: plain lines on stdout, in the order in which things happened."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from engine.runs.events import (
    CheckpointSaved,
    EvaluationDone,
    Event,
    FindingCleared,
    FindingRaised,
    LogLine,
    RunEnded,
    RunStarted,
    SnapshotTaken,
    StateChanged,
    StepDone,
)

from .claims import Claims
from .console import PIPE_CLOSED, complain
from .notable import NotableCheckpoints
from .outcome import outcome
from .past import before_going_on
from .runstate import (
    RunState,
    checkpoint_line,
    cleared_line,
    evaluation_line,
    finding_line,
    snapshot_line,
)
from .seedline import seed_line
from .session import Session, TrainingThread
from .signals import asked_twice, heeding

LATENCY = 0.2
"""Seconds between two looks at the feed."""


class HeadlessLog:
    """Events as lines: the seed's line every ``interval`` seconds of steps, and at the end of an epoch that
    took as long as that; what happens beside them, a line each. Short epochs do not flood the log."""

    def __init__(self, interval: float, write: Callable[[str], None], state: RunState | None = None) -> None:
        """``state``: of a run that has been going on for a while; what it knows already is not written."""
        self.interval = interval
        self.write = write
        self.state = state or RunState()
        self._claims, self._notable = Claims(), NotableCheckpoints()
        self._since: list[StepDone] = []
        self._seconds = 0.0
        self._epoch = 0
        self._epoch_seconds = 0.0
        self._epoch_steps = 0

    def take(self, events: list[Event]) -> None:
        self.state.apply(events)
        for event in events:
            if isinstance(event, StepDone):
                self._take_step(event)
            else:
                self._take_other(event)

    def _take_step(self, step: StepDone) -> None:
        started = self.state.started
        if started is None:
            return
        if step.epoch != self._epoch:
            self._epoch, self._epoch_seconds, self._epoch_steps = step.epoch, 0.0, 0
        self._since.append(step)
        self._seconds += step.seconds
        self._epoch_seconds += step.seconds
        self._epoch_steps += 1
        epoch_done = step.iteration == started.steps_per_epoch
        if self._seconds >= self.interval or (
            epoch_done and (self._epoch_seconds >= self.interval or step.step == started.total_steps)
        ):
            self._flush()

    def _flush(self) -> None:
        started = self.state.started
        if started is not None and self._since:
            self.write(seed_line(started, self._since, self._epoch_seconds, self._epoch_steps))
        self._since, self._seconds = [], 0.0

    def _take_other(self, event: Event) -> None:
        notable = self._notable.take(event)
        match event:
            case RunStarted():
                resumed = f", resumed at step {event.first_step:,}" if event.first_step else ""
                self.write(
                    f"run {event.run}: {event.network}, {event.parameters:,} parameters, {event.device}, "
                    f"{event.images:,} images, batch {event.batch_size}{resumed}"
                )
            case EvaluationDone():
                self.write(evaluation_line(event))
            case CheckpointSaved() if notable:
                self.write(checkpoint_line(event))
            case SnapshotTaken():
                self.write(snapshot_line(event))
            case FindingRaised() if self._claims.raise_(event):
                self.write(f"{event.severity}: {finding_line(event)}")
            case FindingCleared() if self._claims.clear(event):
                self.write(cleared_line(event))
            case LogLine():
                mark = f"{event.level}: " if event.level in ("warning", "error") else ""
                if event.level != "debug":
                    self.write(f"{mark}{event.text}")
            case RunEnded() | StateChanged(state="stopping"):
                self._flush()
            case _:
                pass


Signals = Callable[[Session, list[int]], AbstractContextManager[None]]


def train_headless(
    session: Session, folder: Path, log_path: Path, interval: float, signals: Signals | None = None
) -> int:
    """Run to the end and return the exit code. The first signal stops gracefully, the second at once, unless
    ``signals`` meets them in another way."""
    subscription = session.feed.subscribe()
    thread = TrainingThread(session, log_path)
    caught: list[int] = []
    log = HeadlessLog(interval, _Output(session), before_going_on(folder))
    with (signals or _signals)(session, caught):
        thread.start()
        try:
            while thread.is_alive():
                subscription.arrived.wait(LATENCY)
                log.take(subscription.drain())
                # Steps may come by the thousand a second: a look every so often is enough.
                time.sleep(LATENCY / 4)
        finally:  # whatever happened here, what has been learnt is kept
            if thread.is_alive():
                session.control.stop()
                thread.join()
        log.take(subscription.drain())
    if log.state.ended is None and thread.ended is not None:
        log.take([thread.ended])
    return _finish(log, folder, caught)


def _finish(log: HeadlessLog, folder: Path, caught: list[int]) -> int:
    ended = log.state.ended
    lines = outcome(log.state, folder)
    output = log.write
    if ended is not None and ended.status == "failed":
        complain("; ".join(lines) if ended.exit_code == 1 else ended.message)
    else:
        for line in lines:
            output(line)
    if isinstance(output, _Output) and output.closed:
        return PIPE_CLOSED
    if caught:
        return caught[0]
    return ended.exit_code if ended else 1


class _Output:
    """Lines to stdout. Where the reader has gone, the training is stopped with a checkpoint, not killed."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.closed = False

    def __call__(self, line: str) -> None:
        if self.closed:
            return
        try:
            print(line, flush=True)
        except OSError as error:
            self.closed = True
            if error.errno == errno.EIO:  # the terminal has gone, and we were told to outlive it
                return
            if not isinstance(error, BrokenPipeError):
                complain(f"stdout cannot be written ({error}): training goes on, its lines are in the run")
                return
            self.session.control.stop()
            complain("nobody reads the output any more: stopping with a checkpoint")


def _signals(session: Session, caught: list[int]) -> AbstractContextManager[None]:
    # at once: an interpreter that ends under a thread inside native code aborts
    return heeding(asked_twice(caught, session.control.stop, os._exit))
