"""How often a run is kept: at the ends of epochs, as often as the writing's share of the time allows."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from engine.config import load_config
from engine.errors import UserError
from engine.runs import events as ev
from engine.training import checkpointing
from engine.training.checkpoint import load_state
from engine.training.session import Training

EPOCHS = 6


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def make(config: Path, run: Path, resume: bool = False) -> Training:
    values = load_config(config, [f"train.epochs={EPOCHS}", "train.eval_every=0", "data.val="])
    return Training(values, run, source=config, code=None, resume=resume)


def kept(events: list[ev.Event]) -> list[int]:
    """The epochs after which the run was kept."""
    return [event.epoch for event in events if isinstance(event, ev.CheckpointSaved) and not event.best]


def test_a_damaged_state_is_said_to_be_so(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.state.pt"
    path.parent.mkdir()
    path.write_text("garbage")
    with pytest.raises(UserError, match=r"last\.state\.pt: is damaged; start a new run") as caught:
        load_state(path)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize(
    ("share", "epochs"),
    [pytest.param(1e9, [1, 2, 3, 4, 5, 6], id="cheap"), pytest.param(1e-9, [1, EPOCHS], id="dear")],
)
def test_as_many_epochs_are_kept_as_the_writing_allows(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, epochs: list[int]
) -> None:
    """The first and the last always."""
    monkeypatch.setattr(checkpointing, "MOST_SHARE", share)
    training = make(tiny_config, tmp_path / "run")
    queue = training.feed.subscribe()
    training.run()
    assert kept(queue.drain()) == epochs


def test_a_pause_at_the_end_of_an_epoch_is_kept(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who pauses there may well leave for good."""
    monkeypatch.setattr(checkpointing, "MOST_SHARE", 1e-9)
    training = make(tiny_config, tmp_path / "run")
    queue = training.feed.subscribe()
    training.control.to_epoch_end()
    thread = threading.Thread(target=training.run)
    thread.start()
    seen: list[ev.Event] = []
    for times in (1, 2):
        while pauses(seen) < times:
            assert queue.arrived.wait(30)
            seen += queue.drain()
        if times == 2:
            training.control.resume()
        else:
            training.control.to_epoch_end()
    thread.join(30)
    assert kept(seen + queue.drain()) == [1, 2, EPOCHS]


def pauses(seen: list[ev.Event]) -> int:
    return sum(isinstance(event, ev.StateChanged) and event.state == "paused" for event in seen)
