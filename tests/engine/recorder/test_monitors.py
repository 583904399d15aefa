"""The live monitors on a loop that is not ours, of which they see a few steps' tensors only."""

from __future__ import annotations

from pathlib import Path

import torch

from engine.recorder import watch
from engine.recorder.declared import declare
from engine.recorder.head_monitors import HeadMonitors
from engine.runs import events as ev
from engine.runs.snapshots import make_snapshot

from .runs import HEAD, kinds, losses, tensors


def done(step: int) -> ev.StepDone:
    return ev.StepDone(step, 1, step, 1e-3, {"total": 1.0}, 1.0, 2, 2, 0.0, 0.1, 0)


def test_a_class_that_only_unseen_steps_hold_is_not_called_absent(tmp_path: Path) -> None:
    with watch(tmp_path / "run", head=HEAD, steps_per_epoch=4) as run:
        for k in range(8):
            given = tensors(k)
            if k % 4:  # the first of an epoch is looked at, these are not
                given["labels"] = [torch.tensor([0])] * 2
            run.step(losses(), **given)
    assert kinds(tmp_path / "run", "FindingRaised") == []


def test_targets_without_a_positive_slot_are_found() -> None:
    declared = declare(None, HEAD, None)
    raised: list[ev.Event] = []
    monitors = HeadMonitors(declared, 4, raised.append)
    given = tensors()
    given["targets"].zero_()
    for step in range(1, 5):
        monitors.step(done(step))
        snapshot = make_snapshot(
            step=step,
            epoch=1,
            layout=declared.layout,
            heads=declared.heads,
            pred=[given["pred"]],
            targets=[given["targets"]],
            boxes=given["boxes"],
            labels=given["labels"],
        )
        monitors.sample(snapshot, 1e-3)
    (found,) = [event for event in raised if isinstance(event, ev.FindingRaised)]
    assert (found.probe, found.function) == ("monitor.positives", "assign")
