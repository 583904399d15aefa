"""How a training without a screen ends: in a process of its own, with real pipes and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("pty_app.py")
STOPPED = "stopped"
"""What the scripted training writes where it was stopped and not killed."""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A training whose stdout and stderr are one pipe, as under ``2>&1 |``."""
    begun: list[subprocess.Popen[str]] = []

    def run(**options: object) -> subprocess.Popen[str]:
        arguments = {"mode": "headless", "end_file": str(tmp_path / "end"), **options}
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(tmp_path), json.dumps(arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])},
        )
        begun.append(process)
        return process

    yield run
    for process in begun:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def until_it_trains(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if "boxes without area" in line:
            return
    raise AssertionError("it never began")


def test_where_the_reader_of_both_streams_goes_it_stops_with_a_checkpoint(
    start: Start, tmp_path: Path
) -> None:
    process = start(epochs=10_000, step_seconds=0.001, shown_seconds=5.0)
    until_it_trains(process)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(30) == 141
    assert (tmp_path / "end").read_text() == STOPPED


def test_ctrl_c_that_takes_the_reader_along_stops_with_a_checkpoint(start: Start, tmp_path: Path) -> None:
    process = start(epochs=10_000, step_seconds=0.001, shown_seconds=5.0)
    until_it_trains(process)
    assert process.stdout is not None
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) in (130, 141)
    assert (tmp_path / "end").read_text() == STOPPED


def test_one_signal_told_twice_is_one(start: Start, tmp_path: Path) -> None:
    process = start(epochs=10_000, step_seconds=0.1)
    until_it_trains(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert (tmp_path / "end").read_text() == STOPPED


def test_the_second_signal_leaves_at_once_and_without_an_abort(start: Start, tmp_path: Path) -> None:
    process = start(step_seconds=600)
    until_it_trains(process)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert "again to leave at once" in process.stdout.readline()
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 143
    assert process.stdout.read() == ""
    assert not (tmp_path / "end").exists()
