"""The recorder's thread: reads what the steps left, writes events and snapshots, hears what is asked."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch

from ..runs import events as ev
from ..runs.codec import MISSING
from ..runs.snapshot_ring import SnapshotRing
from ..runs.snapshots import CodePlace, Snapshot
from ..runs.spikes import Spikes
from ..runs.summaries import summarize
from .declared import Declared
from .head_monitors import HeadMonitors
from .observed import Observed
from .saying import Saying
from .shelf import GIVES_WAY, Shelf
from .tensors import as_snapshot

INTERVAL = 0.1
"""Seconds between two looks at what was left and what is asked."""
SHARE = 0.005
"""Of the time, for copying steps into the ring: what one copy cost decides when the next is made."""
SOONEST = 0.5
"""Seconds between two copies at least."""
MEMORY_EVERY = 1.0
BAD_EPISODES = 3
"""Times that a non-finite value is kept as a snapshot; an episode ends with a finite step."""


@dataclass(frozen=True)
class EpochEnded:
    """The loop has said so."""


@dataclass(frozen=True)
class KeepLatest:
    """Somebody asked for a snapshot while the loop waits: that of the step just done."""


Left = (
    Observed | EpochEnded | KeepLatest | ev.StateChanged | ev.LogLine | ev.FindingRaised | ev.CheckpointSaved
)


@dataclass(frozen=True)
class Start:
    """What is known of the run before its first step."""

    folder: str
    name: str
    epochs: int
    steps_per_epoch: int
    first_step: int
    network: str
    parameters: int
    versions: dict[str, str]
    place: Callable[[], CodePlace | None]


class Worker:
    """``look`` is called every 0.1 s, for requests. ``left`` is filled by the loop's thread alone."""

    def __init__(
        self,
        start: Start,
        declared: Declared,
        emit: Callable[[ev.Event], None],
        look: Callable[[], None],
        shelf: Shelf,
        ring: SnapshotRing,
        saying: Saying,
        spike: float,
    ) -> None:
        self.left: deque[Left] = deque()
        self.wake = threading.Event()
        self._start, self._declared = start, declared
        self._emit, self._look = emit, look
        self._shelf, self._ring, self._say = shelf, ring, saying
        self._spikes = Spikes(spike)
        self._monitors = HeadMonitors(declared, start.steps_per_epoch, emit)
        self._latest: Observed | None = None
        self._latest_terms: dict[str, float] = {}
        self._started = False
        self._epoch = 0
        self._rows: dict[str, list[float]] = {}
        self._epoch_images = self._epoch_objects = self._epoch_steps = 0
        self._epoch_seconds, self._lr = 0.0, math.nan
        self._before = 0
        """Steps of the epoch before."""
        self._step = start.first_step
        self._copy_at = 0.0
        self._bad = False
        self._episodes = 0
        self._first = True
        self._stream: Any = None
        self._process = psutil.Process()
        self._memory, self._memory_at = 0, 0.0
        self._closing = threading.Event()
        self._ended: ev.RunEnded | None = None
        self.thread = threading.Thread(target=self._run, name="yolotui-recorder", daemon=True)

    def close(self, ended: ev.RunEnded, timeout: float) -> None:
        """Read what is left and end the run."""
        self._ended = ended
        self._closing.set()
        self.wake.set()
        self.thread.join(timeout)

    def _run(self) -> None:
        while not self._closing.is_set():
            self.wake.wait(INTERVAL)
            self.wake.clear()
            self._tick()
        self._tick()
        with self._guarded("the end of the run"):
            self._finish()

    def _tick(self) -> None:
        with self._guarded("requests"):
            self._look()
        with self._guarded("recording"):
            waiting = [self.left.popleft() for _ in range(len(self.left))]
            self._fill([each for each in waiting if isinstance(each, Observed)])
            memory = self._look_at_memory() if waiting else 0
            for each in waiting:
                try:
                    self._take(each, memory)
                except Exception as error:
                    self._say.failed("recording", error)
            self._copy()

    @contextlib.contextmanager
    def _guarded(self, doing: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._say.failed(doing, error)

    # what the steps left

    def _fill(self, items: Sequence[Observed]) -> None:
        """Bring the values that are on a device: the one place where anybody waits for it."""
        away = [item for item in items if item.record is not None]
        if not away:
            return
        with self._on_own_stream(away[-1].ready):
            values = iter(torch.cat([item.record for item in away if item.record is not None]).tolist())
        for item in away:
            for place in item.places:
                item.values[place] = next(values)
            item.record = None

    @contextlib.contextmanager
    def _on_own_stream(self, ready: Any) -> Iterator[None]:
        """Behind the step that ``ready`` marks, but not behind what the loop has queued since."""
        if ready is None:
            yield
            return
        if self._stream is None:
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._stream.wait_event(ready)
        with torch.cuda.stream(self._stream):
            yield

    def _look_at_memory(self) -> int:
        if time.monotonic() >= self._memory_at:
            self._memory_at = time.monotonic() + MEMORY_EVERY
            peak = torch.cuda.max_memory_allocated() if _on_cuda() else self._process.memory_info().rss
            self._memory = int(peak)
        return self._memory

    def _take(self, each: Left, memory: int) -> None:
        match each:
            case Observed():
                self._take_step(each, memory)
            case EpochEnded():
                self._end_epoch()
            case KeepLatest():
                self._keep_latest("asked for", asked=True)
            case _:
                self._emit(each)

    def _take_step(self, item: Observed, memory: int) -> None:
        if not self._started:
            self._announce(item)
        if item.epoch != self._epoch:
            self._end_epoch()
            self._epoch = item.epoch
        *values, norm, rate = item.values
        terms = dict(zip(item.names, values, strict=True))
        done = ev.StepDone(
            step=item.step,
            epoch=item.epoch,
            iteration=item.iteration,
            lr=rate,
            terms=terms,
            grad_norm=norm,
            images=item.images,
            objects=item.objects,
            data_seconds=float(MISSING),
            seconds=item.seconds,
            memory=memory,
        )
        self._emit(done)
        self._add_to_epoch(done)
        self._step, self._lr = item.step, rate
        try:
            self._judge(item, done)
        except Exception as error:
            self._say.failed("snapshots", error)
        self._monitors.step(done)
        item.read = True
        if item.given is not None:
            self._latest, self._latest_terms = item, terms
        if self._start.steps_per_epoch and item.iteration == self._start.steps_per_epoch:
            self._end_epoch()

    def _announce(self, item: Observed) -> None:
        self._started = True
        start = self._start
        terms = [name for name in item.names if name != "total"]
        self._emit(
            ev.RunStarted(
                run=start.folder,
                name=start.name,
                terms=(*terms, *(["total"] if "total" in item.names else [])),
                per_object=False,
                epochs=start.epochs,
                steps_per_epoch=start.steps_per_epoch,
                total_steps=start.epochs * start.steps_per_epoch,
                batch_size=item.images,
                images=item.images * start.steps_per_epoch,
                classes=self._declared.classes,
                device=torch.cuda.get_device_name() if _on_cuda() else "cpu",
                network=start.network,
                parameters=start.parameters,
                first_step=start.first_step,
            )
        )
        self._emit(ev.StateChanged("training"))

    # epochs

    def _add_to_epoch(self, done: ev.StepDone) -> None:
        for name, value in done.terms.items():
            self._rows.setdefault(name, []).append(value)
        self._epoch_steps += 1
        self._epoch_images += done.images
        self._epoch_objects += done.objects
        self._epoch_seconds += done.seconds

    def _end_epoch(self) -> None:
        if not self._epoch_steps:
            return
        summaries = {name: summarize(np.array(values)) for name, values in self._rows.items()}
        done = ev.EpochDone(
            epoch=self._epoch,
            step=self._step,
            summaries=summaries,
            images=self._epoch_images,
            objects=self._epoch_objects,
            seconds=self._epoch_seconds,
            lr=self._lr,
        )
        self._emit(done)
        self._monitors.epoch(done)
        self._before = self._epoch_steps
        self._rows = {}
        self._epoch_images = self._epoch_objects = self._epoch_steps = 0
        self._epoch_seconds = 0.0

    # tensors

    def _judge(self, item: Observed, done: ev.StepDone) -> None:
        """Is this step to be kept on disk? The first is, and what is not as usual."""
        finite = all(map(math.isfinite, done.terms.values()))
        bad = "" if finite else next(f"{k} is {v}" for k, v in done.terms.items() if not math.isfinite(v))
        fresh = bool(bad) and not self._bad
        self._bad = bool(bad)
        leapt = self._spikes.leapt(done)
        if fresh:
            self._emit(ev.LogLine("error", f"step {done.step}: {bad}"))
            self._emit(_not_finite(done.step, bad))
            self._episodes += 1
            if self._episodes <= BAD_EPISODES:
                self._keep(item, done.terms, f"non-finite: {bad}")
                self._keep_good(done.step)
        elif leapt:
            self._emit(ev.LogLine("warning", f"step {done.step}: {leapt}"))
            self._keep(item, done.terms, leapt)
        elif item.reason:
            self._keep(item, done.terms, item.reason, asked=item.reason != GIVES_WAY)
        elif self._first and item.given is not None:
            self._keep(item, done.terms, "the first step")
        self._first = self._first and item.given is None

    def _keep(self, item: Observed, terms: Any, reason: str, asked: bool = False) -> None:
        snapshot = self._snapshot(item, terms, reason)
        if snapshot is not None:
            self._ring.add(snapshot)
            self._shelf.put(snapshot, asked=asked)

    def _keep_good(self, before: int) -> None:
        """The newest finite step that the ring holds, to be looked at beside the bad one."""
        for held in reversed(self._ring.snapshots()):
            if held.step < before and all(math.isfinite(value) for value in held.terms.values()):
                self._shelf.put(held)
                return

    def _keep_latest(self, reason: str, asked: bool = False) -> None:
        if self._latest is None:
            self._emit(ev.LogLine("warning", "no snapshot: the loop gives step() no tensors"))
            return
        self._keep(self._latest, self._latest_terms, reason, asked)

    def _copy(self) -> None:
        """The latest step into the ring, as often as ``SHARE`` allows."""
        item = self._latest
        if item is None or item.given is None or time.monotonic() < self._copy_at:
            return
        held = self._ring.get(item.step)
        if held is not None:
            return
        started = time.thread_time()
        snapshot = self._snapshot(item, self._latest_terms, "")
        if snapshot is not None:
            self._ring.add(snapshot)
            self._monitors.sample(snapshot, self._lr)
        spent = time.thread_time() - started
        self._copy_at = time.monotonic() + max(SOONEST, spent / SHARE)

    def _snapshot(self, item: Observed, terms: Any, reason: str) -> Snapshot | None:
        given = item.given
        if given is None:
            return None
        with self._on_own_stream(item.ready):
            return as_snapshot(
                given,
                self._declared,
                step=item.step,
                epoch=item.epoch,
                terms=terms,
                reason=reason,
                place=self._start.place(),
                versions=self._start.versions,
                say=self._say,
            )

    # the end

    def _finish(self) -> None:
        ended = self._ended
        assert ended is not None
        whole = self._epoch_steps >= self._before and (self._before or self._start.steps_per_epoch)
        if ended.status == "finished" and whole:
            self._end_epoch()
        with self._guarded("snapshots"):
            if self._latest is not None and not self._bad:
                self._keep_latest("the last step")
        self._emit(ev.RunEnded(ended.status, ended.message, self._step, self._epoch, ended.exit_code))


def _on_cuda() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _not_finite(step: int, what: str) -> ev.FindingRaised:
    return ev.FindingRaised(
        "warning",
        "monitor.finite",
        "loss",
        what,
        step,
        expected="finite terms",
        got=what,
        fix="inspect the run: the snapshot of this step and the one before; jump to NaN",
    )
