"""The run as a screen needs it: the feed's events folded into what is known now.

Both the live view and the headless log read from here. Nothing in it knows a terminal, and its memory
does not grow with the number of steps.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from engine.runs.events import (
    CheckpointSaved,
    EpochDone,
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
    Summary,
    best_of,
)
from engine.runs.reader import RunStatus

from .claims import Claims
from .format import digits3, duration, shorten_path
from .history import History
from .notable import NotableCheckpoints

GRAD_NORM, LR, IMAGES_PER_SECOND = "grad norm", "lr", "img/s"
EXTRA_SERIES = (GRAD_NORM, LR, IMAGES_PER_SECOND)
"""Drawn like the terms, after them."""

LOG_LINES = 2000


@dataclass
class EpochRow:
    """A row of the epoch table; either part may be missing."""

    epoch: int
    done: EpochDone | None = None
    evaluation: EvaluationDone | None = None

    @property
    def summaries(self) -> Mapping[str, Summary]:
        return self.done.summaries if self.done else {}


@dataclass(frozen=True)
class Line:
    """A line of the log panel."""

    level: str
    text: str
    at: float
    """Wall clock, seconds since 1970."""


@dataclass(frozen=True)
class Trend:
    """The mean of the last stretch of steps against the stretch before it."""

    change: float
    """Relative: -0.12 is 12 % less."""
    steps: int
    """The length of each stretch."""
    clear: bool
    """Whether the change is more than twice its standard error."""

    @property
    def arrow(self) -> str:
        return ("↓" if self.change < 0 else "↑") if self.clear else "→"

    @property
    def short(self) -> str:
        """``↓12%``: the arrow says the sign, unless the change is not clear."""
        sign = "" if self.clear else "-" if self.change < 0 else "+"
        return f"{self.arrow}{sign}{min(9999, abs(self.change) * 100):.0f}%"

    def __str__(self) -> str:
        percent = self.change * 100
        number = f"{percent:+.0f}%" if abs(percent) >= 10 else f"{percent:+.1f}%"
        return f"{self.arrow} {number}" if abs(percent) < 10_000 else f"{self.arrow} >9999%"


@dataclass
class RunState:
    started: RunStarted | None = None
    last: StepDone | None = None
    state: str = "preparing"
    detail: str = ""
    history: History | None = None
    epochs: dict[int, EpochRow] = field(default_factory=dict)
    evaluations: list[EvaluationDone] = field(default_factory=list)
    claims: Claims = field(default_factory=Claims)
    checkpoint: CheckpointSaved | None = None
    ended: RunEnded | None = None
    status: RunStatus | None = None
    """Where another process writes the run: whether it is there."""
    note: str = ""
    """What this view has to say of itself, for the header."""
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    line_count: int = 0
    """Lines ever logged: more than are kept tells how many were let go."""
    version: int = 0
    """Grows with every event applied, so that a reader sees whether anything changed."""
    epoch_version: int = 0
    """As ``version``, of the epoch table alone."""
    clock: Callable[[], float] = time.time
    _at: float | None = None
    _epoch_start: tuple[int, int] = (0, 0)
    _notable: NotableCheckpoints = field(default_factory=NotableCheckpoints)
    _recent: deque[StepDone] = field(default_factory=lambda: deque(maxlen=64))

    def apply(self, events: Iterable[Event | Reread], at: float | None = None) -> None:
        """``at``: when they happened, in seconds since 1970; without it, now."""
        self._at = at
        steps: list[StepDone] = []
        for event in events:
            self.version += 1
            if isinstance(event, Reread):
                self._become(event.state)
                steps = []
                continue
            notable = self._notable.take(event)
            if isinstance(event, StepDone):
                steps.append(event)
                continue
            self._take_steps(steps)
            steps = []
            self._take(event)
            if notable and isinstance(event, CheckpointSaved):
                self.log("info", checkpoint_line(event))
        self._take_steps(steps)
        self._at = None

    def _become(self, other: RunState) -> None:
        """Everything as it is there, but the counters, which only grow: what looks at them sees a change."""
        counters = self.version, self.epoch_version + 1, self.line_count
        for each in fields(self):
            setattr(self, each.name, getattr(other, each.name))
        self.version, self.epoch_version = counters[0], counters[1] + other.epoch_version
        self.line_count = max(self.line_count, counters[2] + 1)

    # what the screen asks

    @property
    def best(self) -> EvaluationDone | None:
        return best_of(self.evaluations)

    @property
    def series(self) -> tuple[str, ...]:
        return self.history.names if self.history else ()

    @property
    def lost(self) -> bool:
        """Whether the process that wrote the run is gone without a goodbye."""
        return self.ended is None and self.status is not None and self.status.state == "dead"

    @property
    def word(self) -> str:
        """What the run does, or that its process is silent or dead."""
        status = self.status
        if self.ended is None and status is not None and status.state in ("silent", "dead"):
            return status.state
        return self.state

    def value(self, name: str) -> float:
        """The newest value of a series, or NaN before the first step."""
        return self._values(self.last)[self.series.index(name)] if self.last else math.nan

    def epoch_mean(self, name: str) -> float:
        """Mean over the steps of the running epoch seen so far."""
        if not self.history or not self.last:
            return math.nan
        return self.history.mean(name, self._epoch_start[1], self.last.step)[0]

    def trend(self, name: str) -> Trend | None:
        """The last epoch's worth of steps (or half of all, if that is less) against as many before it."""
        if not self.history or not self.started or self.history.steps < 8:
            return None
        span = min(self.started.steps_per_epoch, self.history.steps // 2)
        last = self.history.last
        new, new_error = self.history.mean(name, last - span + 1, last)
        old, old_error = self.history.mean(name, last - 2 * span + 1, last - span)
        if not math.isfinite(new) or not math.isfinite(old) or old == 0:
            return None
        clear = abs(new - old) > 2 * math.hypot(new_error, old_error)
        return Trend((new - old) / abs(old), span, clear)

    @property
    def last_steps(self) -> list[StepDone]:
        """A few dozen, of the running epoch."""
        return [step for step in self._recent if self.last and step.epoch == self.last.epoch]

    @property
    def steps_per_second(self) -> float:
        """Of the last steps, pauses and evaluations not counted."""
        seconds = sum(step.seconds for step in self._recent)
        return len(self._recent) / seconds if seconds > 0 else math.nan

    @property
    def images_per_second(self) -> float:
        seconds = sum(step.seconds for step in self._recent)
        return sum(step.images for step in self._recent) / seconds if seconds > 0 else math.nan

    @property
    def data_share(self) -> float:
        """The part of the last steps' time spent waiting for batches."""
        seconds = sum(step.seconds for step in self._recent)
        return sum(step.data_seconds for step in self._recent) / seconds if seconds > 0 else math.nan

    @property
    def step_seconds(self) -> float:
        """Mean of the last steps, waiting included; NaN before the first."""
        return sum(s.seconds for s in self._recent) / len(self._recent) if self._recent else math.nan

    @property
    def step_data_seconds(self) -> float:
        """What of it was spent waiting for the batch."""
        return sum(s.data_seconds for s in self._recent) / len(self._recent) if self._recent else math.nan

    @property
    def progress(self) -> float:
        if not self.started or not self.started.total_steps:
            return 0.0
        return min(1.0, (self.last.step if self.last else self.started.first_step) / self.started.total_steps)

    @property
    def seconds_left(self) -> float:
        """For the remaining steps at the present speed."""
        if not self.started or not self.last or not self.started.total_steps:
            return math.nan
        return max(0, self.started.total_steps - self.last.step) / self.steps_per_second

    @property
    def unsaved_steps(self) -> int:
        """Steps that would be lost if the process died now."""
        if not self.last:
            return 0
        saved = self.checkpoint.step if self.checkpoint else (self.started.first_step if self.started else 0)
        return max(0, self.last.step - saved)

    @property
    def resumable(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return self.checkpoint is not None or (self.started is not None and self.started.first_step > 0)

    def log(self, level: str, text: str) -> None:
        """A line of the screen's own."""
        self.version += 1
        self.lines.append(Line(level, text, self.clock() if self._at is None else self._at))
        self.line_count += 1

    # folding

    def _values(self, step: StepDone) -> list[float]:
        terms = self.started.terms if self.started else tuple(step.terms)
        speed = step.images / step.seconds if step.seconds > 0 else math.nan
        return [step.terms.get(name, math.nan) for name in terms] + [step.grad_norm, step.lr, speed]

    def _take_steps(self, steps: list[StepDone]) -> None:
        if not steps:
            return
        if self.history is None:
            names = self.started.terms if self.started else tuple(steps[0].terms)
            self.history = History((*names, *EXTRA_SERIES))
        for step in steps:
            if step.epoch != self._epoch_start[0]:
                self._epoch_start = (step.epoch, max(self.history.first, step.step - step.iteration + 1))
        self.history.append([step.step for step in steps], [self._values(step) for step in steps])
        self._recent.extend(steps)
        self.last = steps[-1]

    def _take(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.started, self.ended = event, None
                names = (*event.terms, *EXTRA_SERIES)
                if not self._goes_on(event.first_step, names):
                    self.history = History(names)
                resumed = f", resumed at step {event.first_step:,}" if event.first_step else ""
                self.log("info", f"run {event.name} in {shorten_path(Path(event.run))}{resumed}")
            case EpochDone():
                self._row(event.epoch).done = event
            case EvaluationDone():
                self._row(event.epoch).evaluation = event
                self.evaluations.append(event)
                self.log("info", evaluation_line(event))
            case CheckpointSaved():
                self.checkpoint = event
            case SnapshotTaken():
                self.log("info", snapshot_line(event))
            case FindingRaised():
                if self.claims.raise_(event):
                    self.log(event.severity, finding_line(event))
            case FindingCleared():
                if self.claims.clear(event):
                    self.log("info", cleared_line(event))
            case LogLine():
                self.log(event.level, event.text)
            case StateChanged():
                self.state, self.detail = event.state, event.detail
            case RunEnded():
                self.ended, self.state, self.detail = event, event.status, ""
                self.log("error" if event.status == "failed" else "info", ended_line(event))
            case _:
                pass

    def _goes_on(self, first_step: int, names: tuple[str, ...]) -> bool:
        """Whether what is known of the run is what it did before ``first_step``."""
        known = self.history
        return known is not None and known.names == names and 0 < known.last <= first_step

    def _row(self, epoch: int) -> EpochRow:
        self.epoch_version += 1
        return self.epochs.setdefault(epoch, EpochRow(epoch))


@dataclass(frozen=True)
class Reread:
    """Among events: the run was read anew from its store, and all is as it is there."""

    state: RunState


def evaluation_line(event: EvaluationDone) -> str:
    best = ", best so far" if event.best else ""
    return (
        f"evaluation of {event.split} after epoch {event.epoch}: mAP50 {event.map50:.4f}, "
        f"mAP50-95 {event.map50_95:.4f} on {event.images:,} images{best} [{duration(event.seconds)}]"
    )


def checkpoint_line(event: CheckpointSaved) -> str:
    kind = "best checkpoint" if event.best else "checkpoint"
    return f"{kind} of step {event.step:,} (epoch {event.epoch}): {shorten_path(Path(event.path))}"


def snapshot_line(event: SnapshotTaken) -> str:
    return f"snapshot of step {event.step:,} ({event.reason}): {shorten_path(Path(event.path))}"


def finding_line(event: FindingRaised) -> str:
    fix = f"; {event.fix}" if event.fix else ""
    place = f" ({event.place})" if event.place else ""
    return f"{event.about}{place}: {event.message}{fix}"


def cleared_line(event: FindingCleared) -> str:
    return f"cleared at step {event.step:,}: {event.probe}"


def ended_line(event: RunEnded) -> str:
    return f"{event.status} at step {event.step:,} (epoch {event.epoch}): {event.message}"


def term_values(values: Mapping[str, float]) -> str:
    """``lcls=1.28, lbox=4.24``."""
    return ", ".join(f"{name}={digits3(value)}" for name, value in values.items())
