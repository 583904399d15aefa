from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from fake_training import FakeTraining

from engine.runs.events import (
    CheckpointSaved,
    EpochDone,
    FindingCleared,
    FindingRaised,
    RunStarted,
    StepDone,
)
from tui.headless import HeadlessLog, train_headless
from tui.seedline import seed_line

SEED = (
    "training 1/102, iter 722/722, lr 0.000994: 722it [08:00, 1.50it/s, lcls=1.28, lbox=4.24, lobj=148, "
    "liou=1.45, mem_occupy=10.7G, total=154]"
)
STARTED = RunStarted(
    "runs/voc-1", "voc-1", ("lcls", "lbox", "lobj", "liou", "total"), False, 102, 722, 102 * 722, 16, 11540,
    ("cat",), "cuda", "yolov2", 50_000_000, 0,
)  # fmt: skip


def step(number: int, seconds: float = 1.0, **terms: float) -> StepDone:
    values = {"lcls": 1.28, "lbox": 4.24, "lobj": 148.0, "liou": 1.45, "total": 153.52} | terms
    epoch, iteration = divmod(number - 1, 722)
    return StepDone(
        number, epoch + 1, iteration + 1, 0.000994, values, 1.0, 16, 48, 0.0, seconds, 10_700_000_000
    )


def test_the_seeds_line_to_the_letter() -> None:
    assert seed_line(STARTED, [step(722)], 480.0, 722) == SEED


def test_each_value_is_the_mean_since_the_last_line() -> None:
    line = seed_line(STARTED, [step(1, lbox=1.0), step(2, lbox=2.0), step(3, lbox=6.0)], 3.0, 3)
    assert "lbox=3.00" in line


def test_a_line_every_interval_and_at_the_end_of_the_epoch() -> None:
    lines: list[str] = []
    log = HeadlessLog(10.0, lines.append)
    log.take([STARTED])
    lines.clear()
    log.take([step(number) for number in range(1, 723)])
    iterations = [int(match[1]) for line in lines if (match := re.search(r"iter (\d+)/722", line))]
    assert iterations == [*range(10, 721, 10), 722]
    assert lines[-1].endswith("total=154]")
    assert ": 722it [12:02, 1.00it/s" in lines[-1]


def test_a_new_epoch_counts_its_own_time() -> None:
    lines: list[str] = []
    log = HeadlessLog(10.0, lines.append)
    log.take([STARTED, *(step(number) for number in range(1, 733))])
    assert "training 2/102, iter 10/722" in lines[-1]
    assert ": 10it [00:10," in lines[-1]


def test_a_run_in_plain_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeTraining(tmp_path, epochs=2, steps_per_epoch=5)
    assert train_headless(fake, tmp_path, tmp_path / "log.txt", 10.0) == 0
    output, errors = capsys.readouterr()
    assert not errors
    lines = output.splitlines()
    assert lines[0].startswith(f"run {tmp_path}: compact, 2,140,000 parameters")
    assert "warning: 3 boxes without area were dropped" in output
    assert sum(line.startswith("training ") for line in lines) == 1  # both epochs are short
    assert any(line.startswith("training 2/2, iter 5/5") for line in lines)
    assert sum(line.startswith("evaluation of val") for line in lines) == 2
    assert not any("best checkpoint" in line for line in lines)
    assert "best so far" in output
    assert lines[-2].startswith("finished at step 10 of 10")
    assert "\x1b" not in output


def test_a_crash_is_one_line_and_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeTraining(tmp_path, crash_at=3)
    assert train_headless(fake, tmp_path, tmp_path / "log.txt", 10.0) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "ZeroDivisionError" in errors
    assert str(tmp_path / "log.txt") in errors
    assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_a_failure_is_one_line_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeTraining(tmp_path, fail_at=3)
    assert train_headless(fake, tmp_path, tmp_path / "log.txt", 10.0) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "lobj is not finite at step 3: images a.jpg, b.jpg" in errors
    assert "--resume" in errors


def test_short_epochs_do_not_flood_the_log() -> None:
    lines: list[str] = []
    log = HeadlessLog(10.0, lines.append)
    started = replace(STARTED, steps_per_epoch=4, total_steps=100, epochs=25)
    steps = [replace(step(n), epoch=(n - 1) // 4 + 1, iteration=(n - 1) % 4 + 1) for n in range(1, 101)]
    log.take([started, *steps])
    training = [line for line in lines if line.startswith("training ")]
    assert len(training) == 10  # 100 seconds
    assert training[-1].startswith("training 25/25, iter 4/4")


def test_checkpoints_have_a_line_where_somebody_asked_and_at_the_end() -> None:
    lines: list[str] = []
    log = HeadlessLog(1e9, lines.append)
    started = replace(STARTED, steps_per_epoch=4, total_steps=8, epochs=2)
    last, best = "checkpoints/last.safetensors", "checkpoints/best.safetensors"
    log.take(
        [
            started,
            CheckpointSaved(2, 1, last, False),  # asked for
            EpochDone(1, 4, {}, 64, 64, 4.0, 1e-3),
            CheckpointSaved(4, 1, best, True),
            CheckpointSaved(4, 1, last, False),  # routine
            CheckpointSaved(4, 1, last, False),  # asked for right after it
            EpochDone(2, 8, {}, 64, 64, 4.0, 1e-3),
            CheckpointSaved(8, 2, last, False),
        ]
    )
    saved = [line for line in lines if "checkpoint" in line]
    assert [line.split(" (")[0] for line in saved] == [
        "checkpoint of step 2",
        "checkpoint of step 4",
        "checkpoint of step 8",
    ]


def test_a_finding_is_printed_once_until_it_is_cleared() -> None:
    lines: list[str] = []
    log = HeadlessLog(10.0, lines.append)
    raised = FindingRaised("warning", "monitor.stalled", "loss", "lobj does not fall", 10)
    log.take([raised, replace(raised, step=20), FindingCleared("monitor.stalled", 30)])
    assert lines == ["warning: loss: lobj does not fall", "cleared at step 30: monitor.stalled"]
    log.take([FindingCleared("monitor.stalled", 40), replace(raised, step=50)])
    assert lines[2:] == ["warning: loss: lobj does not fall"]
    claim = log.state.claims.newest_first()[0]
    assert (claim.count, claim.first_step, claim.newest.step, claim.cleared) == (3, 10, 50, None)
