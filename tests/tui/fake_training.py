"""A scripted training: emits the events of a real one through a real feed and obeys a real control."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from engine.runs.events import (
    CheckpointSaved,
    EpochDone,
    EvaluationDone,
    Event,
    Feed,
    LogLine,
    RunEnded,
    RunStarted,
    StateChanged,
    StepDone,
    Summary,
)
from engine.training.control import Control, Request

TERMS = ("lcls", "lbox", "lobj", "liou", "total")


@dataclass
class FakeTraining:
    folder: Path
    epochs: int = 20
    steps_per_epoch: int = 38
    step_seconds: float = 0.0
    """How long a step really takes."""
    shown_seconds: float = 0.667
    """What ``StepDone`` says it took."""
    nan_at: int = 0
    """The step whose ``lobj`` is NaN; the run goes on, as one with scaler overflows does."""
    fail_at: int = 0
    crash_at: int = 0
    terms: tuple[str, ...] = TERMS
    per_object: bool = True
    factor: float = 1.0
    """On every term: two runs that differ."""
    findings: dict[int, list[Event]] = field(default_factory=dict)
    """Emitted after these steps."""
    first_step: int = 0
    """Steps done before, by a run that this one resumes."""
    pause_at: int = 0
    """Pause by itself after this step: a still picture for tests."""
    feed: Feed = field(default_factory=Feed)
    control: Control = field(default_factory=Control)

    def run(self) -> RunEnded:
        rng = random.Random(7)
        per_epoch, total = self.steps_per_epoch, self.epochs * self.steps_per_epoch
        classes = ("circle", "square", "cross")
        emit = self.feed.emit
        emit(StateChanged("preparing"))
        emit(
            RunStarted(
                str(self.folder), self.folder.name, self.terms, self.per_object, self.epochs, per_epoch,
                total, 16, 600, classes, "cpu", "compact", 2_140_000, self.first_step,
            )
        )  # fmt: skip
        emit(LogLine("info", "anchors by k-means: best possible recall 0.994"))
        emit(LogLine("warning", "3 boxes without area were dropped, see `yolotui data check`"))
        emit(StateChanged("training"))
        values: list[dict[str, float]] = []
        best, step, epoch = 0.0, self.first_step, 1 + self.first_step // per_epoch
        while step < total:
            self._at = (step, epoch)
            if not self.control.wait_turn(self._serve_request, self._paused, self._resumed):
                emit(StateChanged("stopping"))
                self._serve("checkpoint", step, epoch)
                return self._end("stopped", "on request", step, epoch, 0)
            time.sleep(self.step_seconds)
            step += 1
            epoch, iteration = (step - 1) // per_epoch + 1, (step - 1) % per_epoch + 1
            if step == self.crash_at:
                raise ZeroDivisionError("the fake training was told to crash")
            if step == self.fail_at:
                self._serve("checkpoint", step - 1, epoch)
                return self._end(
                    "failed", f"lobj is not finite at step {step}: images a.jpg, b.jpg", step, epoch, 1
                )
            terms = self._terms(step, total, rng)
            values.append(terms)
            emit(
                StepDone(
                    step, epoch, iteration, 0.000994, terms, 12 * math.exp(-step / total) + rng.random(),
                    16, 48, 0.01, self.shown_seconds * (0.95 + 0.1 * rng.random()), 10_700_000_000,
                )
            )  # fmt: skip
            for finding in self.findings.get(step, []):
                emit(finding)
            if iteration == per_epoch:
                best = self._end_epoch(epoch, step, values, best, rng)
                values = []
            if step == self.pause_at:
                self.control.pause()
        return self._end("finished", f"all {total:,} steps done", step, epoch, 0)

    def _terms(self, step: int, total: int, rng: random.Random) -> dict[str, float]:
        fall = math.exp(-3 * step / total)
        starts = (1.28, 4.24, 148.0, 1.45, 0.7)
        terms = {
            name: self.factor * (start * fall + 0.05 * start) * (0.8 + 0.4 * rng.random())
            for name, start in zip(self.terms[:-1], starts * 9, strict=False)
        }
        if step == self.nan_at:
            terms["lobj"] = math.nan
        terms[self.terms[-1]] = sum(value for name, value in terms.items() if name != "liou")
        return terms

    def _end_epoch(
        self, epoch: int, step: int, values: list[dict[str, float]], best: float, rng: random.Random
    ) -> float:
        summaries = {}
        for name in self.terms:
            series = [value[name] / 3 for value in values if math.isfinite(value[name])]
            mean = sum(series) / len(series)
            spread = math.sqrt(sum((x - mean) ** 2 for x in series) / len(series))
            quarter = max(1, len(series) // 4)
            trend = sum(series[-quarter:]) / quarter - sum(series[:quarter]) / quarter
            summaries[name] = Summary(mean, spread, trend, series[-1])
        seconds = self.shown_seconds * len(values)
        self.feed.emit(
            EpochDone(epoch, step, summaries, 16 * len(values), 48 * len(values), seconds, 0.000994)
        )
        self.feed.emit(StateChanged("evaluating", "val"))
        map50 = 0.95 * (1 - math.exp(-epoch / 5)) + 0.02 * rng.random()
        is_best = map50 > best
        per_class = {"circle": map50, "square": map50, "cross": map50}
        self.feed.emit(
            EvaluationDone(epoch, step, "val", map50, map50 * 0.6, per_class, 60, 180, 2.1, is_best)
        )
        self._serve("checkpoint", step, epoch, is_best)
        self.control.epoch_ended()
        self.feed.emit(StateChanged("training"))
        return max(best, map50)

    def _serve_request(self, request: Request) -> None:
        self._serve(request, *self._at)

    def _serve(self, request: Request, step: int, epoch: int, best: bool = False) -> None:
        name = "best" if best else "last"
        self.feed.emit(
            CheckpointSaved(step, epoch, str(self.folder / "checkpoints" / f"{name}.safetensors"), best)
        )

    def _paused(self) -> None:
        self.feed.emit(StateChanged("paused"))

    def _resumed(self) -> None:
        self.feed.emit(StateChanged("training"))

    def _end(self, status: str, message: str, step: int, epoch: int, code: int) -> RunEnded:
        ended = RunEnded(status, message, step, epoch, code)  # type: ignore[arg-type]
        self.feed.emit(ended)
        return ended
