"""Healthy runs raise nothing, and train to the same bits as without monitors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.doctor.monitors import watch
from engine.runs import events as ev
from engine.runs.snapshots import list_snapshots, load

from .runs import DARKNET, of_kind, raised, trained


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("profile", [(), DARKNET], ids=["compact", "darknet"])
def test_nothing_is_raised(tmp_path: Path, seed: int, profile: tuple[str, ...]) -> None:
    events = trained(tmp_path, 540, *profile, f"train.seed={seed}")
    assert len(of_kind(events, ev.StepDone)) == 540
    assert not raised(events)


@pytest.mark.slow
def test_nothing_is_raised_with_the_network_of_yolov2(tmp_path: Path) -> None:
    anchors = "model.anchors=[[0.5, 0.5], [1.0, 0.8]]"
    events = trained(tmp_path, 9, *DARKNET, "model.name=yolov2", anchors)
    assert not raised(events)


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.strides=[8, 16]", "model.anchors=[[[2, 2]], [[2, 1.5]]]"),
        (
            'layout.order="b (a c) y x"',
            'layout.pred=["x", "y", "w", "h", "conf", "class*"]',
            'layout.target_xy="cell"',
        ),
        ('data.classes=["red", "blue"]', "loss.box=iou", 'loss.total=["lcls", "lbox", "lobj", "liou"]'),
    ],
    ids=["two heads", "another layout", "collinear terms"],
)
def test_designs(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    assert not raised(trained(tmp_path, 30, *overrides))


def test_the_weights_are_the_same_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "with").mkdir()
    trained(tmp_path / "with", 9)
    monkeypatch.setattr(watch.Monitors, "look", lambda self, *_: None)
    (tmp_path / "without").mkdir()
    trained(tmp_path / "without", 9)
    a, b = (
        (tmp_path / name / "run/checkpoints/last.safetensors").read_bytes() for name in ("with", "without")
    )
    assert a == b


def test_a_monitor_that_fails_does_not_stop_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such shape")

    monkeypatch.setattr(watch.HeadStatistics, "measure", broken)
    events = trained(tmp_path, 6)
    assert len(of_kind(events, ev.StepDone)) == 6
    (line,) = [each for each in of_kind(events, ev.LogLine) if "monitors" in each.text]
    assert line.text == "the monitors are off: RuntimeError: no such shape"


def test_captured_gradients_are_those_of_the_total(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = ("capture.snapshot_every=1",)
    (tmp_path / "with").mkdir()
    trained(tmp_path / "with", 3, *every)
    monkeypatch.setattr(watch.Monitors, "look", lambda self, *_: None)
    (tmp_path / "without").mkdir()
    trained(tmp_path / "without", 3, *every)
    paths = [list_snapshots(tmp_path / name / "run/snapshots")[0][1] for name in ("with", "without")]
    first, second = (load(path) for path in paths)
    assert first.step == second.step == 1
    gradient = first.tensor("grad", 0)
    assert gradient is not None
    assert torch.equal(gradient, second.tensor("grad", 0))
