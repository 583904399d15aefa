"""A training from a log as a run in a folder, through the store's own writer: all readers read it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from .. import codec
from .. import events as ev
from ..folder import RunFolder
from ..writer import RunWriter
from .claims import Claim
from .roles import TOTAL
from .scores import average_precisions, score_of
from .training import Evaluation, Row, Training, bisect_before
from .watching import Notes

_BATCH = 5_000
_LONGEST_PAUSE = 6 * 3600.0
"""Seconds between two lines' clocks beyond which nobody was training."""
_NOTHING = float(codec.MISSING)


def store(
    training: Training,
    notes: Notes,
    claims: Callable[[], list[Claim]],
    folder: RunFolder,
    final: Path,
    source: dict[str, Any],
) -> None:
    """Write the run into ``folder``, as it will stand at ``final``. ``source``: what config.toml says of it;
    ``claims`` is asked for once the steps are written: they know the time."""
    folder.config.write_text(tomli_w.dumps({"imported": source}), encoding="utf-8")
    writer = RunWriter(folder)
    try:
        writer.set_meta(imported=source)
        started = _started(training, notes, final)
        writer.write([started])
        waiting: list[ev.Event] = []
        for event in _Replay(training, notes, started).events():
            waiting.append(event)
            if len(waiting) >= _BATCH:
                writer.write(waiting)
                waiting = []
        writer.write(
            [*waiting, *(claim.event(source["source"]) for claim in claims()), _ended(training, started)]
        )
    finally:
        writer.close()


def ordered_terms(training: Training) -> list[str]:
    """The total last, as the live view has it."""
    terms = training.terms()
    totals = [name for name in terms if TOTAL.match(name)]
    return [name for name in terms if name not in totals] + totals


def _started(training: Training, notes: Notes, final: Path) -> ev.RunStarted:
    per_epoch = training.steps_per_epoch
    seen = max((each.epoch for each in training.epochs), default=1) + training.epoch_offset
    epochs = max(seen, training.total_epochs or 0) if training.counts_epochs else 1
    classes = dict.fromkeys(name for each in training.evaluations for name in each.per_class)
    return ev.RunStarted(
        run=str(final),
        name=final.name,
        terms=tuple(ordered_terms(training)),
        per_object=False,
        epochs=epochs,
        steps_per_epoch=per_epoch,
        total_steps=epochs * per_epoch,
        batch_size=notes.batch or 0,
        images=0,
        classes=tuple(classes),
        device="",
        network="",
        parameters=0,
        first_step=0,
    )


def _ended(training: Training, started: ev.RunStarted) -> ev.RunEnded:
    last = training.epochs[-1]
    place = f"epoch {last.epoch}" if training.counts_epochs else f"iteration {last.last_iteration}"
    done = last.epoch + training.epoch_offset
    whole = training.complete(last) and (not training.total_epochs or done >= training.total_epochs)
    finished = training.counts_epochs and whole
    return ev.RunEnded(
        "finished" if finished else "stopped",
        f"imported: the log ends at {place}",
        training.step_of(last.epoch, last.last_iteration),
        done if training.counts_epochs else 1,
        0,
    )


class _Replay:
    """The spool's rows as events."""

    def __init__(self, training: Training, notes: Notes, started: ev.RunStarted) -> None:
        self.training, self.notes, self.started = training, notes, started
        self._terms = set(training.terms())
        self._steps: list[int] = []
        self._previous: Row | None = None
        self._epoch: list[ev.StepDone] = []
        self._best = -math.inf
        self._evaluations = sorted(training.evaluations, key=lambda e: training.step_of(e.epoch, e.iteration))
        self._told = 0
        self.seconds = 0.0

    def events(self) -> Iterator[ev.Event]:
        for row in self.training.spool.rows():
            step = self.training.step_of(row.epoch, row.iteration)
            last = self._steps[-1] if self._steps else 0
            if row.resumed or step < last:
                yield from self._rewind(step)
                last = self._steps[-1] if self._steps else 0
            if step <= last:
                continue
            if self._epoch and self._epoch[-1].epoch != self._number(row):
                yield from self._end_epoch()
            done = self._step(row, step, last)
            yield from self._tell_evaluations(step)
            yield done
            self._steps.append(step)
            self._epoch.append(done)
            self._previous = row
        yield from self._end_epoch()
        yield from self._tell_evaluations(None)

    def _number(self, row: Row) -> int:
        return max(1, row.epoch + self.training.epoch_offset) if self.training.counts_epochs else 1

    def _rewind(self, step: int) -> Iterator[ev.Event]:
        yield from self._end_epoch()
        before = bisect_before(self._steps, step)
        while self._steps and self._steps[-1] > before:
            self._steps.pop()
        self._previous = None
        # What is done again replaces what was there: the writer goes back by itself.
        yield ev.LogLine("info", f"the log resumes at step {step}")
        yield ev.RunStarted(
            **{name: getattr(self.started, name) for name in ev.RunStarted.__slots__ if name != "first_step"},
            first_step=before,
        )

    def _step(self, row: Row, step: int, last: int) -> ev.StepDone:
        covered = self._covered(row, step, last)
        seconds = self._seconds(row, covered)
        if math.isfinite(seconds):
            self.notes.seconds += seconds
            self.notes.timed_steps += covered
        images = covered * self.notes.batch if self.notes.batch else 0
        return ev.StepDone(
            step=step,
            epoch=self._number(row),
            iteration=max(1, row.iteration + self.training.iteration_offset),
            lr=_given(row.lr),
            terms={name: value for name, value in row.values.items() if name in self._terms},
            grad_norm=_given(row.grad_norm),
            images=images,
            objects=0,
            data_seconds=_given(row.data if row.data is None else row.data * covered),
            seconds=seconds,
            memory=int(row.memory) if row.memory is not None and math.isfinite(row.memory) else 0,
        )

    def _covered(self, row: Row, step: int, last: int) -> int:
        """Iterations for which the point stands: those since the one before it, of the same epoch."""
        if last == 0 and self.training.runs_through:
            return 1  # the log may begin anywhere
        within = max(1, row.iteration + self.training.iteration_offset)
        return max(1, step - last if self.training.runs_through else min(step - last, within))

    def _seconds(self, row: Row, covered: int) -> float:
        """Of the iterations it stands for: by the bar, by the printed time of one, by the clock."""
        before = self._previous
        if row.elapsed is not None:
            same = before is not None and before.epoch == row.epoch and before.elapsed is not None
            gone = row.elapsed - (before.elapsed or 0.0) if same and before is not None else row.elapsed
            return gone if gone >= 0 else row.elapsed
        if row.seconds is not None and math.isfinite(row.seconds):
            return row.seconds * covered
        if row.clock is not None and before is not None and before.clock is not None:
            gone = row.clock - before.clock
            if 0 <= gone < _LONGEST_PAUSE:
                return gone
        return _NOTHING

    def _end_epoch(self) -> Iterator[ev.Event]:
        steps, self._epoch = self._epoch, []
        known = {each.epoch + self.training.epoch_offset: each for each in self.training.epochs}
        if not steps or not self.training.counts_epochs:
            return
        epoch = known.get(steps[-1].epoch)
        if epoch is None or not self.training.complete(epoch):
            return
        seconds = [step.seconds for step in steps if math.isfinite(step.seconds)]
        yield ev.EpochDone(
            steps[-1].epoch,
            steps[-1].step,
            {name: summary for name in self.started.terms if (summary := _summary(steps, name)) is not None},
            sum(step.images for step in steps),
            0,
            sum(seconds),
            steps[-1].lr if math.isfinite(steps[-1].lr) else 0.0,
        )

    def _tell_evaluations(self, before: int | None) -> Iterator[ev.Event]:
        """Those of steps below ``before``: each after the step it was made at."""
        while self._told < len(self._evaluations):
            each = self._evaluations[self._told]
            step = self.training.step_of(each.epoch, each.iteration)
            if before is not None and step >= before:
                return
            self._told += 1
            yield from self._evaluation(each, step)

    def _evaluation(self, each: Evaluation, step: int) -> Iterator[ev.Event]:
        percent = any(score > 1.5 for done in self._evaluations for score in average_precisions(done.values))
        map50, mean = (value / 100 if percent else value for value in average_precisions(each.values))
        if math.isnan(map50) and math.isnan(mean):
            return
        score = score_of(each.values)
        best = score is not None and score[1] > self._best
        self._best = max(self._best, score[1]) if score is not None else self._best
        number = each.epoch + self.training.epoch_offset if self.training.counts_epochs else 1
        yield ev.EvaluationDone(number, step, "val", map50, mean, each.per_class, 0, 0, 0.0, best)


def _given(value: float | None) -> float:
    return _NOTHING if value is None else value


def _summary(steps: list[ev.StepDone], name: str) -> ev.Summary | None:
    values = np.array([step.terms[name] for step in steps if name in step.terms])
    if not len(values):
        return None
    quarter = max(1, len(values) // 4)
    with np.errstate(invalid="ignore", over="ignore"):
        trend = values[-quarter:].mean() - values[:quarter].mean() if len(values) > 1 else 0.0
        return ev.Summary(float(values.mean()), float(values.std()), float(trend), float(values[-1]))
