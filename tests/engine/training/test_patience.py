"""A run that no longer becomes better ends by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine import evaluate as evaluating
from engine.config import load_config
from engine.errors import UserError
from engine.runs import events as ev
from engine.runs.store import RunFolder, RunReader
from engine.training import validation
from engine.training.checkpoint import load_state
from engine.training.session import Training


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def course(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The mAP50-95 of each validation to come: all else about it is real."""
    to_come: list[float] = []
    real = evaluating.evaluate

    def told(*args: object) -> object:
        scores = real(*args)
        object.__setattr__(scores, "map50_95", to_come.pop(0))
        return scores

    monkeypatch.setattr(validation, "evaluate", told)
    return to_come


def make(config: Path, run: Path, *overrides: str, resume: bool = False) -> Training:
    values = load_config(config, ["train.epochs=9", *overrides])
    return Training(values, run, source=config, code=None, resume=resume)


def test_it_ends_after_so_many_without_a_better_one(
    tiny_config: Path, tmp_path: Path, course: list[float]
) -> None:
    course += [0.1, 0.3, 0.2, 0.3, 0.35, 0.1, 0.35, 0.2]
    training = make(tiny_config, tmp_path / "run", "train.patience=3")
    queue = training.feed.subscribe()
    ended = training.run()
    assert (ended.status, ended.exit_code, ended.epoch, ended.step) == ("finished", 0, 8, 24)
    assert "3 validations in a row without a better mAP50-95 than 0.350 of epoch 5" in ended.message
    assert ended.message.endswith("best.safetensors")
    events = queue.drain()
    assert ended.message in [e.text for e in events if isinstance(e, ev.LogLine)]
    assert [e.epoch for e in events if isinstance(e, ev.EvaluationDone) and e.best] == [1, 2, 5]
    with RunReader(RunFolder.open(tmp_path / "run")) as reader:
        assert reader.status().state == "finished"
    with pytest.raises(UserError, match="finished"):
        make(tiny_config, tmp_path / "run", "train.patience=3", resume=True)


def test_a_resumed_run_has_not_forgotten_how_long_it_has_waited(
    tiny_config: Path,
    tmp_path: Path,
    course: list[float],
    run_until: Callable[[Training, int], list[ev.Event]],
) -> None:
    course += [0.3, 0.2, 0.1, 0.1, 0.1]
    run_until(make(tiny_config, tmp_path / "run", "train.patience=3"), 8)
    assert load_state(tmp_path / "run/checkpoints/last.state.pt")["waited"] == 1
    ended = make(tiny_config, tmp_path / "run", "train.patience=3", resume=True).run()
    assert ended.epoch == 4
    assert "0.300 of epoch 1" in ended.message


@pytest.mark.slow
def test_by_the_minutes_and_with_rare_validations(
    tiny_config: Path, tmp_path: Path, course: list[float]
) -> None:
    course += [0.3, 0.2]
    overrides = ("train.patience=1", "train.eval_every=2", "train.minutes=1", "train.epochs=100000")
    ended = make(tiny_config, tmp_path / "run", *overrides).run()
    assert (ended.status, ended.epoch) == ("finished", 4)


def test_the_last_epoch_is_no_early_end(tiny_config: Path, tmp_path: Path, course: list[float]) -> None:
    course += [0.3, 0.2, 0.1]
    ended = make(tiny_config, tmp_path / "run", "train.patience=2", "train.epochs=3").run()
    assert ended.message.startswith("trained 9 steps, best mAP50-95 0.300")


def test_never_any_score(tiny_config: Path, tmp_path: Path, course: list[float]) -> None:
    course += [math.nan, math.nan]
    ended = make(tiny_config, tmp_path / "run", "train.patience=2").run()
    assert "2 validations in a row without any mAP50-95" in ended.message


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["data.val="], r"train\.patience = 4 counts validations, and data\.val is empty; name a split"),
        (["train.eval_every=0"], r"counts validations, and train\.eval_every = 0; set"),
    ],
)
def test_without_validations_it_is_refused(tiny_config: Path, overrides: list[str], told: str) -> None:
    with pytest.raises(UserError, match=rf"^--set train\.patience=4: .*{told}"):
        load_config(tiny_config, ["train.patience=4", *overrides])
