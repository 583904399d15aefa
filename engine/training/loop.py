"""The training thread's work, from the first step to the last."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config import Config
from ..data.batches import Batch
from ..doctor.monitors import Monitors, Setting, not_finite
from ..learning.schedule import learning_rate
from ..runs import events as ev
from ..runs.folder import RunFolder
from ..runs.snapshots import Snapshot, from_bytes, to_bytes
from .capture import Captures
from .checkpointing import Checkpoints
from .control import Control, Request
from .distributed import Group
from .orders import Order, Orders
from .planning import steps_for_minutes
from .progress import MOST_UNREAD, EpochTotals, PendingStep, StepReader
from .setup import Parts
from .step import Captured, Stepper
from .tallies import Tallies
from .validation import Validation


class Loop:
    """``state``: what a checkpoint kept, or None for a new run."""

    def __init__(
        self,
        config: Config,
        parts: Parts,
        folder: RunFolder,
        control: Control,
        emit: Callable[[ev.Event], None],
        captures: Captures,
        state: dict[str, Any] | None,
        group: Group | None = None,
    ) -> None:
        self.config = config
        self.group = group or Group()
        self.parts = parts
        self.folder = folder
        self.control = control
        self.emit = emit
        self.captures = captures
        self.step = 0
        self.seen = 0
        self.steps_per_epoch = parts.loader.steps_per_epoch
        self.total_steps = config.train.epochs * self.steps_per_epoch
        self._state = state
        self._stepper = Stepper(
            parts.model, parts.blueprint.detector(parts.user), config.train, parts.compute, self.group
        )
        self._orders = Orders(control, self.group, self._stepper.agree_anew)
        self._rate_factor = 1.0
        self._validation = Validation(config.train, parts, folder, self.group, emit)
        self._checkpoints = Checkpoints(folder, parts.blueprint.to_json(), self.group, emit)
        self._tallies = Tallies(len(parts.blueprint.classes), self.group, self._log)
        self._unread: deque[tuple[int, int, Batch]] = deque(maxlen=MOST_UNREAD + 1)
        """Step, images seen before it, and batch of every step whose losses are unread."""
        self._captured: deque[tuple[int, Captured]] = deque()
        self._failed: ev.StepDone | None = None
        """The step whose losses turned out not to be finite."""

    @property
    def epoch(self) -> int:
        """The epoch of the last step done, 1-based; 0 before the first."""
        return -(-self.step // self.steps_per_epoch)

    # the whole

    def run(self) -> ev.RunEnded:
        self.emit(ev.StateChanged("preparing"))
        for note in self.parts.notes:
            self._log(note)
        if self.parts.user.get("loss") is not None:
            self._stepper.find_terms(next(self.parts.loader.train_batches(0, 1)))
        if self._state is None and self.config.train.minutes:
            self._measure()
        self._reader = StepReader(
            self._stepper.term_names, self.parts.compute.device, counted=self.group.size > 1
        )
        self._totals = self._new_totals()
        self._monitors = self._new_monitors()
        if self._state is not None:
            self._load(self._state)
        self._stepper.expect(self.total_steps)
        self._announce()
        batches = self.parts.loader.train_batches(self.step, self.total_steps, self.config.augment.mosaic_off)
        self.emit(ev.StateChanged("training"))
        while self.step < self.total_steps:
            match self._orders.next(
                self._serve, self._on_pause, self._on_resume, self._bad_step, self._stepper.changed
            ):
                case Order.STOP:
                    return self._stopped()
                case Order.FAIL:
                    return self._not_finite(self._orders.bad_step)
            self._one_step(batches)
            epoch_done = self.step % self.steps_per_epoch == 0 or self.step == self.total_steps
            if self._reader.due() or epoch_done:
                self._read(all_of_them=epoch_done)
            if epoch_done:
                if self._orders.agree_on_failure(self._bad_step()):
                    return self._not_finite(self._orders.bad_step)
                self._end_epoch()
                if self._validation.exhausted:
                    break
        return self._finished()

    def _bad_step(self, read_all: bool = False) -> int:
        if read_all:
            self._read()
        return self._failed.step if self._failed is not None else 0

    def _one_step(self, batches: Iterator[Batch]) -> None:
        started = time.perf_counter()
        batch = next(batches)
        loaded = time.perf_counter()
        scheduled, rate = self._rates()
        if self.step + 1 == self.total_steps:  # so that there is something to look into when all is over
            self.captures.ask("the last step")
        # the last step before a pause is the one that somebody will want to look at
        wanted = self.control.paused or self.captures.wants(self.step + 1, self.control.capturing)
        capture = self.group.leads and wanted
        look = None
        if self.group.leads:
            look = self._monitors.look(self.step + 1, rate, scheduled, batch.labels)
        idle = self.parts.loader.is_idle(self.step)
        result = self._stepper.step(batch, rate, self.seen, capture, look, idle)
        self._unread.append((self.step + 1, self.seen, batch))
        # in a group the part at hand says nothing of pictures that could not be read elsewhere
        self.seen += len(batch) if self.group.size == 1 else self.parts.loader.images_of(self.step)
        self.step += 1
        if result.captured is not None:
            self._captured.append((self.step, result.captured))
        if not idle:
            self._tallies.add(batch, self._monitors)
        if not self.group.leads:
            return
        self._reader.add(
            PendingStep(
                step=self.step,
                epoch=self.epoch,
                iteration=(self.step - 1) % self.steps_per_epoch + 1,
                lr=rate,
                record=result.record,
                images=len(batch),
                objects=batch.objects,
                data_seconds=loaded - started,
                seconds=time.perf_counter() - started,
            )
        )

    def _rates(self) -> tuple[float, float]:
        """Of the next step: as scheduled, and as used."""
        factor = self._orders.rate_factor
        if factor != self._rate_factor:
            self._rate_factor = factor
            self._log(f"learning rate x {factor:g} from step {self.step + 1}")
        scheduled = learning_rate(self.step, self.total_steps, self.steps_per_epoch, self.config.train)
        return scheduled, scheduled * self._rate_factor

    def _read(self, all_of_them: bool = True) -> None:
        """Read the losses of the steps since last time; a run that met a non-finite value ends after it."""
        if self._failed is not None:
            return
        last = self.step
        for done, measured in self._reader.read(self.parts.compute.memory_used(), all_of_them):
            last = done.step
            if not _finite(done, self.parts.compute.scaled):
                self._failed = done
                return
            self._totals.add(done)
            self.emit(done)
            self._monitors.take(done, measured)
            leapt = self.captures.spikes.leapt(done)
            if leapt:
                self._keep_spike(done, leapt)
        while self._captured and self._captured[0][0] <= last:
            step, captured = self._captured.popleft()
            self.captures.take(captured, step, -(-step // self.steps_per_epoch))
        while self._unread and self._unread[0][0] <= last:
            self._unread.popleft()

    # ends

    def _end_epoch(self) -> None:
        self._tallies.gather(self._monitors)
        if self.group.leads:
            summary = self._totals.event(self.epoch, self.step)
            self.emit(summary)
            self._monitors.epoch_done(summary)
        self._totals = self._new_totals()
        if self._tallies.overwritten and self.epoch == 1:  # about the same in every epoch: once is enough
            self._log(
                f"slots wanted by two truths in epoch 1: {self._tallies.overwritten}; "
                f"truths left without a slot: {self._tallies.lost}"
            )
        last = self.step == self.total_steps
        if self._validation.due(self.epoch, last):
            self._validate()
            last = last or self._validation.exhausted
        if not last:
            self.control.epoch_ended()
        if last or self.control.paused or self._checkpoints.due:
            self._checkpoint(finished=last)
        if not last:
            self.emit(ev.StateChanged("training"))

    def _validate(self) -> None:
        try:
            self._validation.run(self._stepper.averaged, self.step, self.epoch)
        except Exception:
            # what was learnt is not lost with what scores it; who goes on begins with the next epoch
            with contextlib.suppress(Exception):
                self._checkpoint()
            raise

    def _finished(self) -> ev.RunEnded:
        if self._validation.exhausted and self.step < self.total_steps:
            message = f"ended early: {self._validation.why_exhausted()}"
            self._log(message)
            return ev.RunEnded("finished", message, self.step, self.epoch, 0)
        found = self._validation.best
        best = f", best mAP50-95 {found:.3f}" if found > -math.inf else ""
        message = f"trained {self.step} steps{best}; weights in {self.folder.checkpoints}"
        return ev.RunEnded("finished", message, self.step, self.epoch, 0)

    def _stopped(self) -> ev.RunEnded:
        self.emit(ev.StateChanged("stopping"))
        self._checkpoint()
        message = f"stopped after step {self.step} of {self.total_steps}; go on with --resume"
        return ev.RunEnded("stopped", message, self.step, self.epoch, 0)

    def _not_finite(self, step: int) -> ev.RunEnded:
        """The bad step was never applied: keep its tensors, go back to the step before it, and end."""
        seen, batch = self._batch_of(step)
        self.step, self.seen = step - 1, seen
        captured = self._stepper.look(batch, seen)
        done = self._failed
        if done is None:  # the leader has read it, and tells
            self._blamed(captured, step, "")
            return ev.RunEnded("failed", "the leader tells", self.step, self.epoch, 1)
        what = next(
            (f"{name} is {value}" for name, value in done.terms.items() if not math.isfinite(value)),
            f"the gradient's norm is {done.grad_norm}",
        )
        term = any(not math.isfinite(value) for value in done.terms.values())
        self.emit(not_finite(done.step, what, "loss" if term else "loop"))
        snapshot = self._blamed(captured, step, f"non-finite: {what}")
        path = self.captures.write(snapshot)
        self._checkpoint()
        self._log(f"step {done.step}: {what}; images {', '.join(snapshot.paths)}", "error")
        files = ", ".join(Path(image).name for image in snapshot.paths)
        message = (
            f"{what} at step {done.step} (epoch {done.epoch}, iteration {done.iteration}); images {files}; "
            f"the step was not applied; its tensors are in {path}"
        )
        return ev.RunEnded("failed", message, self.step, self.epoch, 1)

    def _blamed(self, captured: Captured, step: int, reason: str) -> Snapshot:
        """The tensors of that rank's part of the batch which is not finite, at every rank."""
        epoch = -(-step // self.steps_per_epoch)
        own = self.captures.made(captured, step, epoch, reason)
        if self.group.size == 1:
            return own
        whole = captured.is_finite()
        parts = self.group.collect(None if whole else to_bytes(own))
        bad = next((part for part in parts if part is not None), None)
        return own if bad is None else replace(from_bytes(bad), reason=reason)

    # between two steps

    def _serve(self, request: Request) -> None:
        if request == "checkpoint":
            self._read()
            self._checkpoint()
            self.emit(ev.StateChanged("paused" if self.control.paused else "training"))
        else:
            self.captures.ask()
            self._log(f"step {self.step + 1} becomes a snapshot")

    def _on_pause(self) -> None:
        self._read()
        self.emit(ev.StateChanged("paused"))

    def _on_resume(self) -> None:
        self.emit(ev.StateChanged("training"))

    def _checkpoint(self, finished: bool = False) -> None:
        if self.group.leads:
            rest = {
                "step": self.step,
                "seen": self.seen,
                "total_steps": self.total_steps,
                "rate_factor": self._rate_factor,
                **self._validation.state(),
                "totals": self._totals.state(),
                "monitors": self._monitors.state(),
                "finished": finished,
                "data": self.parts.train.digest,
            }
            self._checkpoints.write(self._stepper, self.step, self.epoch, rest)

    def _load(self, state: dict[str, Any]) -> None:
        self.step, self.seen = state["step"], state["seen"]
        self.total_steps = state["total_steps"]
        self._rate_factor = self._orders.rate_factor = state["rate_factor"]
        self._validation.load_state(state)
        self._totals.load_state(state["totals"])
        self._monitors.load_state(state.get("monitors"))
        self._checkpoints.take_up(state, self._stepper, (self.config.train.seed, self.group.rank, self.step))
        self._log(f"resumed after step {self.step}")
        if state.get("data", self.parts.train.digest) != self.parts.train.digest:
            self._log(
                "the training images or their labels are no longer those the run began with: it goes on, and "
                "not as it would have",
                "warning",
            )

    def _keep_spike(self, done: ev.StepDone, leapt: str) -> None:
        """From the ring where the step is in it; else that batch once more, a moment later."""
        self._log(f"step {done.step}: {leapt}", "warning")
        held = self.captures.ring.get(done.step)
        if held is not None:
            self.captures.write(held)
            return
        seen, batch = self._batch_of(done.step)
        captured = self._stepper.look(batch, seen)
        reason = f"{leapt}; its batch again, after step {self.step}"
        self.captures.keep(captured, done.step, done.epoch, reason)

    def _batch_of(self, step: int) -> tuple[int, Batch]:
        return next((seen, batch) for number, seen, batch in self._unread if number == step)

    # before the first step

    def _measure(self) -> None:
        self.emit(ev.StateChanged("preparing", "measuring the speed"))
        self.total_steps, seconds = steps_for_minutes(
            self.parts.model,
            self._stepper.detector,
            self.parts.loader,
            self.config.train,
            self.parts.compute,
            self.config.augment.mosaic_off,
            self.group,
        )
        self._log(
            f"{self.config.train.minutes:g} minutes at {seconds * 1e3:.0f} ms a step: "
            f"{self.total_steps} steps, {self.total_steps / self.steps_per_epoch:.1f} epochs"
        )
        most = self.config.train.epochs * self.steps_per_epoch
        if self.total_steps > most:  # few images are learnt by heart long before the time is up
            self.total_steps = most
            self._log(f"train.epochs = {self.config.train.epochs} is the most: {most} steps")

    def _announce(self) -> None:
        self.emit(
            ev.RunStarted(
                run=str(self.folder.path),
                name=self.folder.name,
                terms=self._stepper.term_names,
                per_object=self._totals.per_object,
                epochs=-(-self.total_steps // self.steps_per_epoch),
                steps_per_epoch=self.steps_per_epoch,
                total_steps=self.total_steps,
                batch_size=self.config.train.batch_size,
                images=len(self.parts.train),
                classes=self.parts.blueprint.classes,
                device=f"{self.group.size} x {self.parts.compute.name}"
                if self.group.size > 1
                else self.parts.compute.name,
                network=self.config.model.name,
                parameters=sum(p.numel() for p in self._stepper.model.parameters()),
                first_step=self.step,
                processes=self.group.local_size,
            )
        )

    def _new_monitors(self) -> Monitors:
        config = self.config
        setting = Setting(
            classes=self.parts.blueprint.classes,
            terms=self._stepper.term_names,
            total=tuple(config.loss.total),
            objectness=config.loss.objectness,
            steps_per_epoch=self.steps_per_epoch,
            warmup_steps=round(config.train.warmup_epochs * self.steps_per_epoch),
            rate=config.train.lr,
        )
        stepper = self._stepper
        return Monitors(setting, stepper.detector, stepper.model, stepper.optimizer, self.emit)

    def _new_totals(self) -> EpochTotals:
        return EpochTotals(self._stepper.term_names, self.config.loss.reduction == "batch")

    def _log(self, text: str, level: Any = "info") -> None:
        self.emit(ev.LogLine(level, text))


def _finite(done: ev.StepDone, scaled: bool) -> bool:
    terms = all(math.isfinite(value) for value in done.terms.values())
    return terms and (scaled or math.isfinite(done.grad_norm))
