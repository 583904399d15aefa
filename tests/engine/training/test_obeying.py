"""What another process asks of a training reaches its control, and everybody hears of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config import load_config
from engine.runs.folder import RunFolder
from engine.runs.reader import RunReader
from engine.runs.requests import RequestWriter
from engine.training.control import Control
from engine.training.obeying import Obeying
from engine.training.session import Training
from tui.session import TrainingThread


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run")


def test_every_request_reaches_its_method(folder: RunFolder) -> None:
    control, lines = Control(), []
    obeying = Obeying(folder, control, lines.append)
    asker = RequestWriter(folder)
    served: list[str] = []
    asker.send("step", count=2)
    asker.send("snapshot")
    asker.send("checkpoint")
    asker.send("lr", factor=0.1)
    obeying.look()
    assert control.wait_turn(served.append, lambda: None)
    assert control.wait_turn(served.append, lambda: None)
    assert served == ["snapshot", "checkpoint"]
    assert control.take_lr_factor() == 0.1
    assert control.paused
    asker.send("epoch_end")
    obeying.look()
    assert not control.paused
    control.epoch_ended()
    assert control.paused
    asker.send("resume")
    obeying.look()
    assert not control.paused
    asker.send("pause")
    obeying.look()
    assert control.paused
    asker.send("stop")
    obeying.look()
    assert not control.wait_turn(served.append, lambda: None)
    assert lines[0] == f"{asker.who} asks to do 2 steps"
    assert lines[-1] == f"{asker.who} asks to stop"
    assert len(lines) == 8


def test_what_was_asked_before_is_not_obeyed_and_close_ends_the_thread(folder: RunFolder) -> None:
    control = Control()
    RequestWriter(folder).send("stop")
    obeying = Obeying(folder, control, lambda _: None, interval=0.01)
    obeying.start()
    RequestWriter(folder).send("pause")
    until(lambda: control.paused)
    assert not control.stopping
    obeying.close()
    RequestWriter(folder).send("stop")
    time.sleep(0.05)
    assert not control.stopping


def test_a_training_is_paused_stepped_looked_into_and_stopped_through_its_folder(
    tiny_config: Path, tmp_path: Path
) -> None:
    config = load_config(tiny_config, ["train.epochs=2000"])
    training = Training(config, tmp_path / "run", source=tiny_config, code=None, resume=False)
    thread = TrainingThread(training, training.folder.log)
    asker = RequestWriter(training.folder)
    thread.start()
    with RunReader(training.folder) as reader:
        until(lambda: reader.last_step() > 0)
        asker.send("pause")
        until(lambda: reader.status().doing == "paused")
        at = reader.last_step()
        asker.send("snapshot")
        asker.send("step", count=2)
        until(lambda: reader.last_step() == at + 2 and reader.status().doing == "paused")
        assert [taken.step for taken in reader.snapshots()] == [at + 1]
        assert Path(reader.snapshots()[0].path).is_file()
        asker.send("resume")
        until(lambda: reader.last_step() > at + 2)
        assert reader.status().doing != "paused"
        asker.send("stop")
        thread.join(20)
        assert thread.ended is not None
        assert (thread.ended.status, thread.ended.exit_code) == ("stopped", 0)
        assert reader.status().state == "stopped"
        said = [entry.text for entry in reader.log()]
        assert f"{asker.who} asks to pause" in said
        assert f"{asker.who} asks to stop" in said
