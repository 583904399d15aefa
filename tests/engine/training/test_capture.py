"""Which steps are kept: the ring, the schedule, the key, the spike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.config import load_config
from engine.runs import events as ev
from engine.runs.snapshots import list_snapshots, load
from engine.training.session import Training

Make = Callable[..., Training]


@pytest.fixture
def make(tiny_config: Path, tmp_path: Path) -> Make:
    torch.set_num_threads(1)

    def build(*overrides: str) -> Training:
        config = load_config(tiny_config, ["train.eval_every=0", *overrides])
        return Training(config, tmp_path / "run", source=tiny_config, code=None, resume=False)

    return build


def test_unasked_the_last_step_alone_is_kept(make: Make) -> None:
    training = make()
    training.run()
    assert training.captures.ring.steps() == [9]
    kept = {step: load(path).reason for step, path in list_snapshots(training.folder.snapshots)}
    assert kept == {9: "the last step"}


def test_the_ring_keeps_the_last_steps(make: Make) -> None:
    training = make("capture.every=2", "capture.ring_steps=3")
    training.run()
    assert training.captures.ring.steps() == [6, 8, 9]
    snapshot = training.captures.ring.get(6)
    assert snapshot is not None
    assert {"images", "pred.0", "targets.0", "decoded.0", "grad.0", "loss.lbox.0"} <= set(snapshot.tensors)


def test_the_ring_stays_within_its_bytes(make: Make) -> None:
    training = make("capture.every=1", "capture.ring_mb=0.5")
    training.run()
    assert 0 < training.captures.ring.nbytes <= 0.5 * 2**20


def test_looking_on_changes_nothing(make: Make, tiny_config: Path, tmp_path: Path) -> None:
    watched = make("capture.every=1")
    watched.run()
    config = load_config(tiny_config, ["train.eval_every=0"])
    alone = Training(config, tmp_path / "alone", source=tiny_config, code=None, resume=False)
    alone.run()
    assert watched.folder.last.read_bytes() == alone.folder.last.read_bytes()


def test_a_captured_step_tells_what_the_step_told(make: Make) -> None:
    training = make("capture.every=1")
    queue = training.feed.subscribe()
    training.run()
    steps = {e.step: e for e in queue.drain() if isinstance(e, ev.StepDone)}
    for snapshot in training.captures.ring.snapshots():
        assert snapshot.terms == pytest.approx(dict(steps[snapshot.step].terms))
        for term in ("lcls", "lbox", "lobj"):
            total = sum(float(snapshot.tensors[f"loss.{term}.{k}"].sum()) for k in range(1))
            assert total == pytest.approx(snapshot.terms[term], rel=1e-4)


def test_scheduled_and_asked_for_snapshots_are_on_disk(make: Make) -> None:
    training = make("capture.snapshot_every=4")
    training.control.snapshot()
    training.run()
    kept = {step: load(path).reason for step, path in list_snapshots(training.folder.snapshots)}
    assert kept == {1: "asked for", 4: "scheduled", 8: "scheduled", 9: "the last step"}


def step(number: int, lobj: float, lcls: float = 0.01, epoch: int = 1) -> ev.StepDone:
    terms = {"lcls": lcls, "lobj": lobj, "total": lcls + lobj}
    return ev.StepDone(number, epoch, number, 1e-3, terms, 1.0, 4, 8, 0.0, 0.1, 0)


def test_a_leap_is_a_spike_once_an_epoch(make: Make) -> None:
    spikes = make().captures.spikes
    for number in range(60):
        assert spikes.leapt(step(number, 2.0 + number % 3)) == ""
    assert spikes.leapt(step(60, 3.0, lcls=0.5)) == "", "nearly nothing beside the total"
    assert spikes.leapt(step(61, 50.0)).startswith("lobj leapt to 50, usually")
    assert spikes.leapt(step(62, 50.0)) == "", "said in this epoch"
    assert spikes.leapt(step(63, 50.0, epoch=2)) != ""
