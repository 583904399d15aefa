"""The monitors of one run: asked before a step what to look at, told after it what was seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...layout import Head
from ...runs import events as ev
from ...yolo.detector import Detector, Encoded
from .board import Board, Verdicts
from .head_rules import ChannelGradients, Classes, Objectness, Positives
from .movement import Movement, frozen_within
from .setting import HeadSums, Sample, Setting, TermGradients, Window
from .statistics import HeadStatistics
from .term_gradients import term_gradients
from .term_rules import EpochTrend, TermGradient, TotalByValue
from .update_rules import Rate, Unmoved, UpdateSize

EVERY = 10
"""Steps between two samples, at least."""
FIRST = (1, 2, 3)
"""Steps that are sampled too: what is wrong from the start is said at the start."""
TERMS_FIRST = (1, 5, 10)
TERMS_EVERY = 50
"""Steps between two looks at the terms' gradients, at least; else an epoch."""
SHARE = 0.005
"""Of a step's time, for each of the two."""


class Look:
    """What is measured at one step. The stepper calls its methods in their order."""

    def __init__(self, owner: Monitors, step: int, rate: float, terms: bool) -> None:
        self.step = step
        self.rate = rate
        self.terms = terms
        self.truths: tuple[int, ...] = ()
        self.seconds = self.terms_seconds = 0.0
        self._owner = owner
        self._preds: list[Tensor] = []
        self._heads: Sequence[Head] = ()
        self._frozen: list[tuple[int, ...]] = []
        self._parts: list[Tensor] = []

    def loss_made(self, terms: Mapping[str, Any], preds: Sequence[Tensor], heads: Sequence[Head]) -> None:
        """Before the backward pass. ``heads``: the grids of this batch's size."""
        with self._owner.guarded():
            self._preds, self._heads = list(preds), heads
            for pred in self._preds:
                pred.retain_grad()
            if self.terms:
                started = time.perf_counter()
                names, layout = self._owner.setting.terms, self._owner.detector.layout
                self._parts.append(term_gradients(terms, names, self._preds, layout, heads))
                for pred in self._preds:
                    pred.grad = None  # a retained gradient has gathered those of the terms too
                self._frozen = frozen_within(self._preds)
                self.terms_seconds = time.perf_counter() - started

    def before_update(self, encoded: Encoded) -> None:
        """After the backward pass."""
        with self._owner.guarded():
            started = time.perf_counter()
            self._parts.append(self._owner.statistics.measure(self._preds, encoded, self._heads))
            movement = self._owner.movement
            if self.terms:
                self._owner.structure(self.step, movement.unreached(), self._frozen)
            movement.before()
            self.seconds += time.perf_counter() - started

    def after_update(self) -> Tensor | None:
        """All that was measured, to be read with the step's losses."""
        with self._owner.guarded():
            started = time.perf_counter()
            self._parts.append(self._owner.movement.after())
            values = torch.cat([part.detach().float() for part in self._parts])
            self._preds = []
            self.seconds += time.perf_counter() - started
            return values
        return None


class Monitors:
    """Never raises: where something in it fails, it says so once and is silent from then on."""

    def __init__(
        self,
        setting: Setting,
        detector: Detector,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        emit: Callable[[ev.Event], None],
    ) -> None:
        self.setting = setting
        self.detector = detector
        self.statistics = HeadStatistics(detector)
        self.movement = Movement(model, optimizer)
        self.board = Board(emit)
        self.off = False
        self._emit = emit
        self._looks: dict[int, Look] = {}
        self._next, self._next_terms = 0, 0
        self._sample_seconds: list[float] = []
        self._step_seconds = 0.0
        self._window = Window()
        self._positives = Positives(setting)
        self._objectness = Objectness(setting)
        self._channels = ChannelGradients(setting)
        self._classes = Classes(setting)
        self._update = UpdateSize(setting, self.movement.is_weight)
        self._unmoved = Unmoved(self.movement.names, self.movement.is_weight)
        self._rate = Rate(setting)
        self._trend = EpochTrend(setting)
        self._total = TotalByValue(setting)
        self._gradient = TermGradient(setting)

    # in the step

    def look(self, step: int, rate: float, scheduled: float, labels: Sequence[Tensor]) -> Look | None:
        """What to measure at ``step`` (1-based); None for most steps. ``labels``: the batch's, on the CPU."""
        if self.off:
            return None
        look = None
        with self.guarded():
            self._judge(self._rate.step(step, rate, scheduled), step)
            truths = self.counts(labels)
            self._classes.count(truths)
            sampled = step in FIRST or step in TERMS_FIRST or step >= self._next
            if sampled:
                terms = step in TERMS_FIRST or step >= self._next_terms
                look = Look(self, step, rate, terms)
                look.truths = truths
                self._plan(look)
                self._looks[step] = look
                if terms:
                    self.movement.follow(self._unmoved.without_gradient)
        return look

    def also_met(self, counts: Sequence[int]) -> None:
        """Objects a class that other processes' parts of the batches held."""
        with self.guarded():
            self._classes.count(counts)

    def counts(self, labels: Sequence[Tensor]) -> tuple[int, ...]:
        """Objects a class."""
        count = len(self.setting.classes)
        whole = np.concatenate([each.numpy() for each in labels]) if labels else np.zeros(0, np.int64)
        known = whole[(whole >= 0) & (whole < count)].astype(np.int64)
        return tuple(np.bincount(known, minlength=count).tolist())

    def _plan(self, look: Look) -> None:
        seconds = self._step_seconds
        usual = sorted(self._sample_seconds)[len(self._sample_seconds) // 2] if self._sample_seconds else 0.0
        self._next = look.step + max(EVERY, int(usual / (SHARE * seconds)) if seconds else 0)
        if look.terms:
            self._next_terms = look.step + max(TERMS_EVERY, self.setting.steps_per_epoch)

    def structure(self, step: int, unreached: Sequence[str], frozen: Sequence[tuple[int, ...]]) -> None:
        # what takes no part in the forward pass is a spare (the classifier of somebody's backbone): harmless
        ran = self.movement.followed()
        self._unmoved.without_gradient = list(unreached)
        cut = [name for name in unreached if name in ran]
        self._judge(self._unmoved.structure(step, self.movement.missing, cut, frozen), step)

    # when its losses are read

    def take(self, done: ev.StepDone, values: Sequence[float]) -> None:
        """A step's losses, and what its ``Look`` measured (empty where there was none)."""
        if self.off:
            return
        with self.guarded():
            self._step_seconds = done.seconds + 0.9 * (self._step_seconds - done.seconds)
            self._judge(self._total.step(done), done.step)
            look = self._looks.pop(done.step, None)
            if look is not None and len(values):
                self._note_cost(look, done.seconds)
                self._take_sample(self._sample(look, done, list(values)))

    def _note_cost(self, look: Look, seconds: float) -> None:
        if look.step not in FIRST:  # those warm things up
            self._sample_seconds = [*self._sample_seconds[-8:], look.seconds]
        spacing = int(look.terms_seconds / (SHARE * seconds))
        if look.terms and spacing > TERMS_EVERY:
            self._next_terms = max(self._next_terms, look.step + spacing)

    def _sample(self, look: Look, done: ev.StepDone, values: list[float]) -> Sample:
        gradients = None
        if look.terms:
            count = len(self.setting.terms)
            norms, products = values[:count], values[count : count + count * count]
            values = values[count + count * count :]
            gradients = TermGradients(tuple(norms), np.array(products).reshape(count, count))
        classes = len(self.setting.classes)
        size = HeadSums.size(classes)
        return Sample(
            step=look.step,
            epoch=done.epoch,
            rate=look.rate,
            terms=dict(done.terms),
            truths=look.truths,
            head=HeadSums.read(values[:size], classes),
            moved=tuple(values[size:]),
            gradients=gradients,
        )

    def _take_sample(self, sample: Sample) -> None:
        self._window.add(sample.head)
        for verdicts in (
            self._positives.sample(sample),
            self._objectness.judge(sample.step, self._window),
            self._channels.sample(sample),
            self._classes.sample(sample, self._window),
            self._gradient.sample(sample),
            self._update.sample(sample),
            self._unmoved.sample(sample),
        ):
            self._judge(verdicts, sample.step)

    def epoch_done(self, done: ev.EpochDone) -> None:
        if self.off:
            return
        with self.guarded():
            self._judge(self._classes.epoch(done.step), done.step)
            self._judge(self._trend.epoch(done, self._window), done.step)

    def _judge(self, verdicts: Verdicts, step: int) -> None:
        self.board.judge(verdicts, step)

    # with a checkpoint

    def state(self) -> dict[str, Any]:
        """Plain values: what a resumed run must know to go on as if never interrupted."""
        rules = {name: _plain(rule) for name, rule in self._rules().items()}
        return {"next": self._next, "next_terms": self._next_terms, "rules": rules}

    def load_state(self, state: Mapping[str, Any] | None) -> None:
        """``None``, or without a rule: a checkpoint from before there was one; it begins anew."""
        if state is None:
            return
        with self.guarded():
            self._next, self._next_terms = state["next"], state["next_terms"]
            for name, rule in self._rules().items():
                vars(rule).update(state["rules"].get(name, {}))

    def _rules(self) -> dict[str, object]:
        return {
            "board": self.board,
            "window": self._window,
            "positives": self._positives,
            "objectness": self._objectness,
            "channels": self._channels,
            "classes": self._classes,
            "update": self._update,
            "unmoved": self._unmoved,
            "trend": self._trend,
            "total": self._total,
            "gradient": self._gradient,
        }

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """A monitor that fails must not take the training with it."""
        try:
            yield
        except Exception as error:
            if not self.off:
                text = " ".join(f"{type(error).__name__}: {error}".split())
                self._emit(ev.LogLine("warning", f"the monitors are off: {text}"))
            self.off = True


def _plain(rule: object) -> dict[str, Any]:
    return {name: value for name, value in vars(rule).items() if not name.startswith("_")}


def not_finite(step: int, what: str, function: str) -> ev.FindingRaised:
    """The loop stops by itself at a value that is not finite; this is its finding."""
    return ev.FindingRaised(
        "warning",
        "monitor.finite",
        function,
        f"{what}; the step was not applied",
        step,
        expected="finite terms and gradients",
        got=what,
        fix="inspect the run: the snapshot of this step; jump to NaN",
    )
