from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.runs import events as ev
from engine.training.session import Training

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import tiny_voc


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config of the tiny VOC set: three epochs of three steps."""
    return tiny_voc.write_config(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def run_until() -> Callable[[Training, int], list[ev.Event]]:
    """Runs a training for so many steps and stops it; what it said until then."""

    def run(training: Training, steps: int) -> list[ev.Event]:
        queue = training.feed.subscribe()
        training.control.pause()
        training.control.step(steps)
        thread = threading.Thread(target=training.run)
        thread.start()
        seen: list[ev.Event] = []
        while not any(isinstance(e, ev.StateChanged) and e.state == "paused" for e in seen):
            queue.arrived.wait(10)
            seen += queue.drain()
        training.control.stop()
        thread.join(30)
        return seen

    return run
