"""One training: a run's folder, its feed, its control, and the thread's work from first step to last."""

from __future__ import annotations

import math
import time
import traceback
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..config import Config, dump_config, load_config
from ..data.batches import Batch
from ..errors import UserError
from ..files import write_atomically
from ..predictor import make_predictor, score_dataset
from ..runs import events as ev
from ..runs.environment import environment
from ..runs.folder import RunFolder, next_free
from ..runs.snapshots import save, snapshot_path
from ..runs.store import RunWriter, StoreSubscriber, newest
from ..yolo.plugin import UserFunctions, line_at_fault
from .capture import as_snapshot
from .checkpoint import load_state, random_state, restore_random_state, save_model, save_state
from .control import Control, Request
from .planning import steps_for_minutes
from .progress import MOST_UNREAD, EpochTotals, PendingStep, StepReader
from .schedule import learning_rate
from .setup import Parts, put_together
from .step import Captured, Stepper

FREE_TO_DIFFER = {("train", "workers"), ("train", "device"), ("train", "log_seconds"), ("data", "cache")}
"""Settings that a resumed run may change: they alter no bit of what is learnt on one device."""


def choose_run(config: Config, source: Path, run: Path | None, resume: bool) -> Path:
    """The folder of a run about to start or go on. Raises ``UserError``."""
    if run is not None:
        return run
    if not resume:
        return next_free("runs", source.stem)
    found = newest("runs", config=source, unfinished=True)
    if found is None:
        raise UserError(
            "has no unfinished run below runs/", where=source, fix="name one with --run, or drop --resume"
        )
    return found.path


class Training:
    """Set up in the constructor, which raises ``UserError``; ``run`` blocks to the end and never raises."""

    def __init__(
        self, config: Config, run_dir: Path, *, source: Path, code: Path | None, resume: bool
    ) -> None:
        self.config = _with_code(config, code)
        self.source = source
        self.feed = ev.Feed()
        self.control = Control()
        self._state: dict[str, Any] | None = None
        if resume:
            self.folder = RunFolder.open(run_dir)
            self._state = load_state(self.folder.last_state)
            if self._state["finished"]:
                raise UserError("is finished: there is nothing to resume", where=self.folder.path)
            _check_same(load_config(self.folder.config), self.config)
        self.parts = put_together(self.config, self._state and self._state["blueprint"])
        if not resume:
            self.folder = RunFolder.create(run_dir)
            text = dump_config(self.config)
            write_atomically(self.folder.config, lambda temporary: temporary.write_text(text))
        self._store = self._open_store()

    def run(self) -> ev.RunEnded:
        """All of the training, in the calling thread."""
        try:
            ended = _Loop(self).run()
        except Exception as error:  # whatever it is, it must reach the screen and the log
            self._log_traceback()
            message = _in_one_line(error, self.parts.user)
            ended = ev.RunEnded("failed", message, *self._reached(), exit_code=_exit_code(error))
        self.feed.emit(ended)
        self.parts.loader.close()
        self._store.close()
        return ended

    def log(self, text: str, level: str = "info") -> None:
        self.feed.emit(ev.LogLine(level, text))  # type: ignore[arg-type]

    def _open_store(self) -> StoreSubscriber:
        writer = RunWriter(self.folder)
        writer.set_meta(
            config=str(self.source.resolve()),
            environment=environment(self.parts.compute.name),
            blueprint=self.parts.blueprint.to_json(),
            code=self.parts.user.path,
            code_sha256=self.parts.user.sha256,
        )
        if self._state is not None:
            writer.rewind(self._state["step"])
        return StoreSubscriber(self.feed.subscribe(), writer, lambda line: self.log(line, "warning"))

    def _reached(self) -> tuple[int, int]:
        step = getattr(self, "_step", 0)
        return step, step // max(1, self.parts.loader.steps_per_epoch)

    def _log_traceback(self) -> None:
        with self.folder.log.open("a", encoding="utf-8") as log:
            log.write(traceback.format_exc())


class _Loop:
    """The training thread's work."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.config = training.config
        self.parts: Parts = training.parts
        self.control = training.control
        self.emit = training.feed.emit
        self.folder = training.folder
        self.stepper = Stepper(
            self.parts.model,
            self.parts.blueprint.detector(self.parts.user),
            self.config.train,
            self.parts.compute,
        )
        self.steps_per_epoch = self.parts.loader.steps_per_epoch
        self.step = 0
        self.seen = 0
        self.total_steps = self.config.train.epochs * self.steps_per_epoch
        self.rate_factor = 1.0
        self.best = -math.inf
        self.overwritten = self.lost = 0
        self.unread: deque[tuple[int, int, Batch]] = deque(maxlen=MOST_UNREAD + 1)
        self.snapshot_wanted = ""
        self.captured: list[tuple[int, Captured, str]] = []

    # the whole

    def run(self) -> ev.RunEnded:
        self.emit(ev.StateChanged("preparing"))
        for note in self.parts.notes:
            self.training.log(note)
        self._find_terms()
        if self.training._state is not None:
            self._load(self.training._state)
        elif self.config.train.minutes:
            self._measure()
        self.reader = StepReader(self.stepper.term_names, self.parts.compute.device)
        self.totals = self._new_totals()
        if self.training._state is not None and self.training._state["totals"]:
            self.totals.load_state(self.training._state["totals"])
        self._announce()
        batches = self.parts.loader.train_batches(self.step, self.total_steps, self.config.augment.mosaic_off)
        self.emit(ev.StateChanged("training"))
        while self.step < self.total_steps:
            if not self.control.wait_turn(self._serve, self._paused):
                return self._stopped()
            self._one_step(batches)
            failed = self._read() if self.reader.due() or self.step % self.steps_per_epoch == 0 else None
            if failed is not None:
                return failed
            if self.step % self.steps_per_epoch == 0 or self.step == self.total_steps:
                self._end_epoch()
        return self._finished()

    def _one_step(self, batches: Iterator[Batch]) -> None:
        started = time.perf_counter()
        batch = next(batches)
        loaded = time.perf_counter()
        rate = self._rate()
        capture = bool(self.snapshot_wanted)
        result = self.stepper.step(batch, rate, self.seen, capture)
        self.step += 1
        self.training._step = self.step  # type: ignore[attr-defined]
        if result.captured is not None:
            self.captured.append((self.step, result.captured, self.snapshot_wanted))
            self.snapshot_wanted = ""
        self.unread.append((self.step, self.seen, batch))
        self.seen += len(batch)
        self._report_batch(batch)
        epoch, iteration = divmod(self.step - 1, self.steps_per_epoch)
        self.reader.add(
            PendingStep(
                self.step,
                epoch + 1,
                iteration + 1,
                rate,
                result.record,
                len(batch),
                batch.objects,
                loaded - started,
                time.perf_counter() - started,
            )
        )

    def _rate(self) -> float:
        factor = self.control.take_lr_factor()
        if factor is not None:
            self.rate_factor = factor
            self.training.log(f"learning rate x {factor:g} from step {self.step + 1}")
        scheduled = learning_rate(self.step, self.total_steps, self.steps_per_epoch, self.config.train)
        return scheduled * self.rate_factor

    def _read(self) -> ev.RunEnded | None:
        """Read the losses of the steps since last time; a run that met a non-finite value ends here."""
        for done in self.reader.read(self.parts.compute.memory_used()):
            if not _finite(done, self.parts.compute.scaled):
                return self._not_finite(done)
            self.totals.add(done)
            self.emit(done)
        self.unread.clear()
        for step, captured, reason in self.captured:
            self._save_snapshot(captured, step, reason)
        self.captured.clear()
        return None

    # ends

    def _end_epoch(self) -> None:
        epoch = -(-self.step // self.steps_per_epoch)
        self.emit(self.totals.event(epoch, self.step))
        self.totals = self._new_totals()
        if self.overwritten and epoch == 1:  # about the same in every epoch: once is enough
            self.training.log(
                f"slots wanted by two truths in epoch 1: {self.overwritten}; truths left without a slot: {self.lost}"
            )
        last = self.step == self.total_steps
        every = self.config.train.eval_every
        if self.parts.val is not None and (last or (every and epoch % every == 0)):
            self._validate(epoch)
        self._checkpoint(finished=last)
        if not last:
            self.control.epoch_ended()
            self.emit(ev.StateChanged("training"))

    def _finished(self) -> ev.RunEnded:
        best = f", best mAP50-95 {self.best:.3f}" if self.best > -math.inf else ""
        message = f"trained {self.step} steps{best}; weights in {self.folder.checkpoints}"
        return ev.RunEnded("finished", message, self.step, self._epoch, 0)

    def _stopped(self) -> ev.RunEnded:
        failed = self._read()
        if failed is not None:
            return failed
        self.emit(ev.StateChanged("stopping"))
        self._checkpoint()
        message = f"stopped after step {self.step} of {self.total_steps}; go on with --resume"
        return ev.RunEnded("stopped", message, self.step, self._epoch, 0)

    def _not_finite(self, done: ev.StepDone) -> ev.RunEnded:
        """The bad step was never applied: keep its tensors, go back to the step before it, and end."""
        what = next(
            (f"{name} is {value}" for name, value in done.terms.items() if not math.isfinite(value)),
            f"the gradient's norm is {done.grad_norm}",
        )
        seen, batch = next((seen, batch) for step, seen, batch in self.unread if step == done.step)
        self.step, self.seen = done.step - 1, seen
        snapshot = self._save_snapshot(self.stepper.look(batch, seen), done.step, f"non-finite: {what}")
        self._checkpoint()
        files = ", ".join(Path(path).name for path in batch.paths)
        self.training.log(f"step {done.step}: {what}; images {', '.join(batch.paths)}", "error")
        message = (
            f"{what} at step {done.step} (epoch {done.epoch}, iteration {done.iteration}); images {files}; "
            f"the step was not applied; its tensors are in {snapshot}"
        )
        return ev.RunEnded("failed", message, self.step, self._epoch, 1)

    # what else happens between steps

    def _serve(self, request: Request) -> None:
        if request == "checkpoint":
            self._read()
            self._checkpoint()
        else:
            self.snapshot_wanted = "asked for"
            self.training.log("the next step's tensors will be kept")

    def _paused(self) -> None:
        self._read()
        self.emit(ev.StateChanged("paused"))

    def _validate(self, epoch: int) -> None:
        assert self.parts.val is not None
        self.emit(ev.StateChanged("evaluating"))
        started = time.perf_counter()
        model = self.stepper.averaged
        training = model.training
        predictor = make_predictor(model.eval(), self.parts.blueprint, self.parts.user, self.parts.compute)
        scores = score_dataset(predictor, self.parts.val, self.config.train.batch_size)
        model.train(training)
        best = scores.map50_95 > self.best
        if best:
            self.best = scores.map50_95
            save_model(self.folder.best, model, self.parts.blueprint.to_json())
            self.emit(ev.CheckpointSaved(self.step, epoch, str(self.folder.best), True))
        self.emit(
            ev.EvaluationDone(
                epoch,
                self.step,
                self.parts.val.name,
                scores.map50,
                scores.map50_95,
                {name: values.ap50 for name, values in scores.per_class.items()},
                scores.images,
                scores.objects,
                time.perf_counter() - started,
                best,
            )
        )

    def _checkpoint(self, finished: bool = False) -> None:
        self.emit(ev.StateChanged("saving"))
        blueprint = self.parts.blueprint.to_json()
        save_model(self.folder.last, self.stepper.averaged, blueprint)
        state = {
            **self.stepper.state(),
            "step": self.step,
            "seen": self.seen,
            "total_steps": self.total_steps,
            "rate_factor": self.rate_factor,
            "best": self.best,
            "totals": self.totals.state(),
            "random": random_state(),
            "blueprint": blueprint,
            "finished": finished,
        }
        save_state(self.folder.last_state, state)
        self.emit(ev.CheckpointSaved(self.step, self._epoch, str(self.folder.last), False))

    def _load(self, state: dict[str, Any]) -> None:
        self.stepper.load_state(state)
        self.step, self.seen = state["step"], state["seen"]
        self.total_steps, self.rate_factor = state["total_steps"], state["rate_factor"]
        self.best = state["best"]
        restore_random_state(state["random"])
        self.training.log(f"resumed after step {self.step}")

    def _save_snapshot(self, captured: Captured, step: int, reason: str) -> Path:
        path = snapshot_path(self.folder.snapshots, step)
        epoch = -(-step // self.steps_per_epoch)
        save(as_snapshot(captured, self.parts.blueprint, self.parts.user, step, epoch, reason), path)
        self.emit(ev.SnapshotTaken(step, str(path), reason))
        return path

    def _report_batch(self, batch: Batch) -> None:
        for problem in batch.skipped:
            self.training.log(f"skipped {problem.path}: {problem.detail}", "warning")
        self.overwritten += batch.targets.overwritten
        self.lost += batch.targets.lost

    # before the first step

    def _find_terms(self) -> None:
        """The user's loss names its own terms: ask it once, without learning from it."""
        if self.parts.user.get("loss") is None:
            return
        batch = next(self.parts.loader.train_batches(self.step, self.step + 1)).to(self.parts.compute.device)
        self.stepper.model.eval()
        pred = self.stepper.model(self.stepper.images(batch))
        terms = self.stepper.detector.loss(pred, batch.targets)
        self.stepper.model.train()
        names = [name for name in terms if name not in ("total", "maps")]
        self.stepper.term_names = (*names, "total")

    def _measure(self) -> None:
        self.emit(ev.StateChanged("preparing", "measuring the speed"))
        self.total_steps, seconds = steps_for_minutes(
            self.parts.model,
            self.stepper.detector,
            self.parts.loader,
            self.config.train,
            self.parts.compute,
            self.config.augment.mosaic_off,
        )
        self.training.log(
            f"{self.config.train.minutes:g} minutes at {seconds * 1e3:.0f} ms a step: "
            f"{self.total_steps} steps, {self.total_steps / self.steps_per_epoch:.1f} epochs"
        )

    def _announce(self) -> None:
        self.emit(
            ev.RunStarted(
                run=str(self.folder.path),
                name=self.folder.name,
                terms=self.stepper.term_names,
                per_object=self.totals.per_object,
                epochs=self._epochs,
                steps_per_epoch=self.steps_per_epoch,
                total_steps=self.total_steps,
                batch_size=self.config.train.batch_size,
                images=len(self.parts.train),
                classes=self.parts.blueprint.classes,
                device=self.parts.compute.name,
                network=self.config.model.name,
                parameters=sum(p.numel() for p in self.stepper.model.parameters()),
                first_step=self.step,
            )
        )

    def _new_totals(self) -> EpochTotals:
        return EpochTotals(self.stepper.term_names, self.config.loss.reduction == "batch")

    @property
    def _epoch(self) -> int:
        return -(-self.step // self.steps_per_epoch)

    @property
    def _epochs(self) -> int:
        return -(-self.total_steps // self.steps_per_epoch)


def _finite(done: ev.StepDone, scaled: bool) -> bool:
    terms = all(math.isfinite(value) for value in done.terms.values())
    return terms and (scaled or math.isfinite(done.grad_norm))


def _with_code(config: Config, code: Path | None) -> Config:
    if code is None:
        return config
    return config.model_copy(update={"code": config.code.model_copy(update={"file": str(code.resolve())})})


def _check_same(kept: Config, given: Config) -> None:
    """A resumed run goes on as it began. Raises ``UserError`` naming the first key that differs."""
    before, now = kept.model_dump(mode="json"), given.model_dump(mode="json")
    for section, keys in before.items():
        for key, value in keys.items():
            if now[section][key] != value and (section, key) not in FREE_TO_DIFFER:
                raise UserError(
                    f"{section}.{key} = {now[section][key]!r}, but the run began with {value!r}",
                    where="--resume",
                    fix="give the run's own config.toml, or start a new run",
                )


def _in_one_line(error: Exception, user: UserFunctions) -> str:
    if isinstance(error, UserError):
        return str(error)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    line = line_at_fault(user.path, error)
    return f"{Path(user.path).name}:{line}: {text}" if line else text


def _exit_code(error: Exception) -> int:
    return 2 if isinstance(error, UserError) else 1
