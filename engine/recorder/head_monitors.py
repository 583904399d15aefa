"""The live monitors, as far as they can see a loop that is not ours.

Of a step that was copied into the ring they see prediction and targets (and the gradient, where the loop
keeps it); of every step its terms; of every epoch its means. Labels are seen of those few steps alone, so
that nothing is said of classes that an epoch lacks. What needs a hand inside the step (the terms'
gradients, the size of the updates) is the training contracts' business.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..doctor.monitors.board import Board
from ..doctor.monitors.head_rules import ChannelGradients, Classes, Objectness, Positives
from ..doctor.monitors.setting import HeadSums, Sample, Setting, Window
from ..doctor.monitors.statistics import HeadStatistics
from ..doctor.monitors.term_rules import EpochTrend, TotalByValue
from ..runs import events as ev
from ..runs.snapshots import Snapshot
from ..yolo.detector import Detector, Encoded
from .declared import Declared


class HeadMonitors:
    """Judges on the recorder's thread. Where something in it fails, it says so once and is silent."""

    def __init__(self, declared: Declared, steps_per_epoch: int, emit: Callable[[ev.Event], None]) -> None:
        self._declared = declared
        self._emit = emit
        self._steps_per_epoch = steps_per_epoch
        self._board = Board(emit)
        self._window = Window()
        self._off = False
        self._rules: _Rules | None = None
        self._statistics = (
            HeadStatistics(Detector(declared.heads, declared.layout)) if declared.heads else None
        )
        self._first_step = 0

    def step(self, done: ev.StepDone) -> None:
        if self._off:
            return
        try:
            if self._rules is None:
                self._first_step = done.step
                self._rules = _Rules(self._setting(done))
            if self._rules.total is not None:
                self._board.judge(self._rules.total.step(done), done.step)
        except Exception as error:
            self._give_up(error)

    def epoch(self, done: ev.EpochDone) -> None:
        if self._off or self._rules is None:
            return
        try:
            self._rules.know_epoch(done.step - self._first_step + 1)
            if set(self._rules.setting.expected_terms) <= set(done.summaries):
                self._board.judge(self._rules.trend.epoch(done, self._window), done.step)
        except Exception as error:
            self._give_up(error)

    def sample(self, snapshot: Snapshot, rate: float) -> None:
        """A step's tensors. Those of a run without heads or targets say nothing."""
        if self._off or self._statistics is None or self._rules is None:
            return
        if snapshot.tensor("pred", 0) is None or snapshot.tensor("targets", 0) is None:
            return
        try:
            sample = self._measured(snapshot, rate)
            self._window.add(sample.head)
            rules = self._rules
            for verdicts in (
                rules.positives.sample(sample),
                rules.objectness.judge(sample.step, self._window),
                rules.channels.sample(sample),
                rules.classes.sample(sample, self._window) if sum(sample.truths) else {},
            ):
                self._board.judge(verdicts, sample.step)
        except Exception as error:
            self._give_up(error)

    def _measured(self, snapshot: Snapshot, rate: float) -> Sample:
        assert self._statistics is not None
        heads = range(len(snapshot.heads))
        preds, targets = [], []
        for k in heads:
            pred, target, grad = (snapshot.tensor(name, k) for name in ("pred", "targets", "grad"))
            assert pred is not None
            assert target is not None
            pred = pred.detach()
            pred.grad = grad
            preds.append(pred)
            targets.append(target.float())
        count = self._declared.heads[0].classes
        measured = self._statistics.measure(preds, Encoded(targets, None, torch.zeros(0)))
        return Sample(
            step=snapshot.step,
            epoch=snapshot.epoch,
            rate=rate,
            terms=dict(snapshot.terms),
            truths=_truths(snapshot, count),
            head=HeadSums.read(measured.tolist(), count),
        )

    def _setting(self, done: ev.StepDone) -> Setting:
        profile = self._declared.profile
        heads = self._declared.heads
        names = self._declared.classes or tuple(map(str, range(heads[0].classes if heads else 0)))
        return Setting(
            classes=names,
            terms=tuple(done.terms),
            # what was not declared is not held against anybody
            total=tuple(profile.get("total", ())),
            objectness=str(profile.get("objectness", "one")),
            steps_per_epoch=self._steps_per_epoch,
            warmup_steps=0,
            rate=done.lr,
        )

    def _give_up(self, error: Exception) -> None:
        self._off = True
        text = " ".join(f"{type(error).__name__}: {error}".split())
        self._emit(ev.LogLine("warning", f"the monitors are off: {text}"))


class _Rules:
    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.positives = Positives(setting)
        self.objectness = Objectness(setting)
        self.channels = ChannelGradients(setting)
        self.classes = Classes(setting)
        self.trend = EpochTrend(setting)
        summed = {*setting.total, "total"} <= set(setting.terms) and setting.total
        self.total = TotalByValue(setting) if summed else None

    def know_epoch(self, steps: int) -> None:
        """How many steps an epoch has, where nobody had said so before the first was over."""
        if not self.setting.steps_per_epoch:
            self.setting = Setting(**{**vars(self.setting), "steps_per_epoch": steps})
            self.trend = EpochTrend(self.setting)


def _truths(snapshot: Snapshot, count: int) -> tuple[int, ...]:
    labels = [t for name, t in snapshot.tensors.items() if name.startswith("labels.")]
    whole = (
        np.concatenate([each.numpy().astype(np.int64) for each in labels])
        if labels
        else np.zeros(0, np.int64)
    )
    return tuple(np.bincount(whole[(whole >= 0) & (whole < count)], minlength=count).tolist())
