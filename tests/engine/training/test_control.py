from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from engine.training.control import Control, Request


class Worker:
    """A loop that takes its turns and counts."""

    def __init__(self, control: Control) -> None:
        self.steps = 0
        self.paused = 0
        self.served: list[Request] = []
        self.thread = threading.Thread(target=self._run, args=(control,), daemon=True)
        self.thread.start()

    def _run(self, control: Control) -> None:
        def pause() -> None:
            self.paused += 1

        while control.wait_turn(self.served.append, pause):
            self.steps += 1
            time.sleep(0.002)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.002)


@pytest.fixture
def control() -> Control:
    return Control()


def test_pause_steps_resume_and_stop(control: Control) -> None:
    control.pause()
    worker = Worker(control)
    until(lambda: worker.paused == 1)
    assert worker.steps == 0
    control.step()
    until(lambda: worker.steps == 1)
    control.step(3)
    until(lambda: worker.steps == 4)
    time.sleep(0.02)
    assert worker.steps == 4
    control.resume()
    until(lambda: worker.steps > 6)
    control.stop()
    worker.thread.join(5)
    assert not worker.thread.is_alive()


def test_requests_are_served_while_paused(control: Control) -> None:
    control.pause()
    worker = Worker(control)
    until(lambda: worker.paused == 1)
    control.checkpoint()
    until(lambda: worker.served == ["checkpoint"])
    assert worker.steps == 0
    control.stop()
    worker.thread.join(5)


def test_a_checkpoint_asked_for_before_a_stop_is_served(control: Control) -> None:
    served: list[Request] = []
    control.checkpoint()
    control.stop()
    assert control.wait_turn(served.append, lambda: None) is False
    assert served == ["checkpoint"]


def test_to_the_end_of_the_epoch(control: Control) -> None:
    control.pause()
    control.to_epoch_end()
    assert not control.paused
    control.epoch_ended()
    assert control.paused
    control.resume()
    control.epoch_ended()
    assert not control.paused, "only the one epoch was asked for"


def test_the_end_of_a_pause_is_told_before_the_next_step(control: Control) -> None:
    said: list[str] = []

    def pausing() -> None:
        said.append("pause")
        threading.Timer(0.02, control.step).start()

    def turn() -> bool:
        return control.wait_turn(lambda _: None, pausing, lambda: said.append("resume"))

    assert turn()
    assert said == []
    control.pause()
    assert turn()
    assert said == ["pause", "resume"]
    control.resume()
    assert turn()
    assert said == ["pause", "resume"]
