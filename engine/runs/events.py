"""What happens in a run, as frozen values, and the one feed that carries them out of the training thread.

The live view, the headless log and the run's store are subscribers of the same feed. Emitting costs a
deque append; it never blocks and never waits for a reader. Where a reader is slow, the oldest ``StepDone``
are dropped for it (and counted), never any other event.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal, Protocol, TypeVar

Status = Literal["finished", "stopped", "failed"]
"""finished: all steps done. stopped: on request, can be resumed. failed: a non-finite value or an error."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    run: str
    """The run's folder."""
    name: str
    terms: tuple[str, ...]
    """Names of the loss terms in the order shown, ``total`` last."""
    per_object: bool
    """Whether the terms are sums over objects: the epoch table then divides by the objects."""
    epochs: int
    steps_per_epoch: int
    total_steps: int
    batch_size: int
    images: int
    classes: tuple[str, ...]
    device: str
    network: str
    parameters: int
    first_step: int
    """Steps already done: 0, or where a resumed run goes on."""
    processes: int = 1
    """Of this machine that train together."""


@dataclass(frozen=True, slots=True)
class StepDone:
    step: int
    """1-based over the whole run."""
    epoch: int
    """1-based."""
    iteration: int
    """1-based within the epoch."""
    lr: float
    terms: Mapping[str, float]
    grad_norm: float
    """Norm of the gradient before clipping."""
    images: int
    objects: int
    data_seconds: float
    """Spent waiting for the batch."""
    seconds: float
    """Of the whole step, waiting included."""
    memory: int
    """Bytes: the device's peak allocation, or the process's resident set on the CPU."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One term over one epoch, per object where ``RunStarted.per_object``."""

    mean: float
    spread: float
    """Standard deviation over the epoch's steps."""
    trend: float
    """Mean of the last quarter minus mean of the first."""
    last: float
    """The last batch alone: what a naive log would print."""


@dataclass(frozen=True, slots=True)
class EpochDone:
    epoch: int
    step: int
    summaries: Mapping[str, Summary]
    images: int
    objects: int
    seconds: float
    lr: float


@dataclass(frozen=True, slots=True)
class EvaluationDone:
    epoch: int
    step: int
    split: str
    map50: float
    map50_95: float
    per_class: Mapping[str, float]
    """AP at IoU 0.5."""
    images: int
    objects: int
    seconds: float
    best: bool
    """Whether it is the best so far: by mAP50-95 where the trainer knows it."""


class _Ranked(Protocol):
    @property
    def best(self) -> bool: ...


Evaluated = TypeVar("Evaluated", bound=_Ranked)


def best_of(done: Sequence[Evaluated]) -> Evaluated | None:
    """Of evaluations in their order the one that none after it surpassed: whose weights are the best ones."""
    return next((each for each in reversed(done) if each.best), None)


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    step: int
    epoch: int
    path: str
    best: bool


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    step: int
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class FindingRaised:
    """One claim of the doctor or a monitor; fields as in ``check --json``."""

    severity: Literal["error", "warning", "info"]
    probe: str
    function: str
    message: str
    step: int = 0
    tensor: str = ""
    channels: tuple[str, ...] = ()
    expected: str = ""
    got: str = ""
    fix: str = ""
    file: str = ""
    """Whose code it is about, or the log's; "" where it is not known."""
    line: int | None = None

    @property
    def about(self) -> str:
        """``decode pred[conf h]``: the function, and of which tensor which channels."""
        channels = f"[{' '.join(self.channels)}]" if self.channels else ""
        return f"{self.function} {self.tensor}{channels}" if self.tensor else self.function

    @property
    def place(self) -> str:
        """``train.py:41``, or ""."""
        name = PurePath(self.file).name
        return f"{name}:{self.line}" if name and self.line else name


@dataclass(frozen=True, slots=True)
class FindingCleared:
    """What a monitor had raised under this ``probe`` is gone; it may be raised again later."""

    probe: str
    step: int


@dataclass(frozen=True, slots=True)
class LogLine:
    level: Literal["debug", "info", "warning", "error"]
    text: str


@dataclass(frozen=True, slots=True)
class StateChanged:
    """What the training thread is doing, as a word for the header."""

    state: Literal["preparing", "training", "paused", "evaluating", "saving", "stopping"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RunEnded:
    status: Status
    message: str
    step: int
    epoch: int
    exit_code: int


Event = (
    RunStarted
    | StepDone
    | EpochDone
    | EvaluationDone
    | CheckpointSaved
    | SnapshotTaken
    | FindingRaised
    | FindingCleared
    | LogLine
    | StateChanged
    | RunEnded
)


@dataclass
class Subscription:
    """One reader's queue. ``drain`` hands over everything since the last call, in order."""

    step_limit: int = 100_000
    dropped_steps: int = 0
    arrived: threading.Event = field(default_factory=threading.Event)
    """Set at each event: for a reader that would rather wait than poll."""
    told: threading.Event = field(default_factory=threading.Event)
    """Set at each event other than ``StepDone``: for one that waits for news and takes the steps along."""
    _steps: deque[tuple[int, Event]] = field(default_factory=deque)
    _others: deque[tuple[int, Event]] = field(default_factory=deque)

    def push(self, number: int, event: Event) -> None:
        if isinstance(event, StepDone):
            if len(self._steps) >= self.step_limit:
                self._steps.popleft()
                self.dropped_steps += 1
            self._steps.append((number, event))
        else:
            self._others.append((number, event))
            self.told.set()
        self.arrived.set()

    def drain(self) -> list[Event]:
        self.arrived.clear()
        self.told.clear()
        waiting = [queue.popleft() for queue in (self._steps, self._others) for _ in range(len(queue))]
        return [event for _, event in sorted(waiting, key=lambda item: item[0])]


class Feed:
    """Carries events from one writer thread to any number of subscribers."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []
        self._numbers = itertools.count()

    def subscribe(self, step_limit: int = 100_000) -> Subscription:
        subscription = Subscription(step_limit)
        self._subscriptions.append(subscription)
        return subscription

    def emit(self, event: Event) -> None:
        number = next(self._numbers)
        for subscription in self._subscriptions:
            subscription.push(number, event)
