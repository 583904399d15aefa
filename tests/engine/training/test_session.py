"""Whole runs on a tiny set: what they leave behind, how they stop, and that they resume to the same bits."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
import tiny_voc
import torch

from engine.config import load_config
from engine.errors import UserError
from engine.nets.weights import read_description
from engine.runs import events as ev
from engine.runs.choosing import chosen_run
from engine.runs.snapshots import load as load_snapshot
from engine.runs.store import RunFolder, RunReader
from engine.scoring import evaluate_split
from engine.training.session import Training


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def make(
    config: Path, run: Path, *overrides: str, resume: bool = False, code: Path | None = None
) -> Training:
    return Training(load_config(config, overrides), run, source=config, code=code, resume=resume)


def train(
    config: Path, run: Path, *overrides: str, resume: bool = False, code: Path | None = None
) -> list[ev.Event]:
    training = make(config, run, *overrides, resume=resume, code=code)
    queue = training.feed.subscribe()
    training.run()
    return queue.drain()


T = TypeVar("T", bound=ev.Event)
RunUntil = Callable[[Training, int], list[ev.Event]]


def open_run(path: Path) -> RunReader:
    return RunReader(RunFolder.open(path))


def of_kind(events: Sequence[ev.Event], kind: type[T]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def test_a_run_from_start_to_end(tiny_config: Path, tmp_path: Path) -> None:
    events = train(tiny_config, tmp_path / "run")
    (started,) = of_kind(events, ev.RunStarted)
    assert (started.steps_per_epoch, started.total_steps, started.epochs) == (3, 9, 3)
    steps = of_kind(events, ev.StepDone)
    assert [(s.step, s.epoch, s.iteration) for s in steps[:4]] == [(1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 2, 1)]
    for step in steps:
        listed = sum(step.terms[name] for name in ("lcls", "lbox", "lobj"))
        assert step.terms["total"] == pytest.approx(listed, rel=1e-5)
        assert step.grad_norm > 0
    epochs = of_kind(events, ev.EpochDone)
    means = [sum(s.terms["lbox"] for s in steps if s.epoch == e) / 3 for e in (1, 2, 3)]
    assert [e.summaries["lbox"].mean for e in epochs] == pytest.approx(means)
    assert len(of_kind(events, ev.EvaluationDone)) == 3
    ended = events[-1]
    assert isinstance(ended, ev.RunEnded)
    assert (ended.status, ended.exit_code) == ("finished", 0)
    files = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert files == {"last.safetensors", "best.safetensors", "last.state.pt"}
    assert read_description(tmp_path / "run/checkpoints/last.safetensors")["classes"] == ["red", "blue"]
    with open_run(tmp_path / "run") as reader:
        assert reader.last_step() == 9
        assert reader.status().state == "finished"
        assert reader.new_steps(0)[4].terms["lbox"] == pytest.approx(steps[4].terms["lbox"])


def test_two_runs_of_one_seed_are_equal_to_the_byte(tiny_config: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(tiny_config, tmp_path / name)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def weights(run: Path) -> bytes:
    return (run / "checkpoints/last.safetensors").read_bytes()


@pytest.mark.parametrize("stop_after", [2, 3, 7])
def test_a_stopped_run_goes_on_to_the_same_bytes(
    tiny_config: Path, tmp_path: Path, run_until: RunUntil, stop_after: int
) -> None:
    train(tiny_config, tmp_path / "whole")
    seen = run_until(make(tiny_config, tmp_path / "parts"), stop_after)
    assert len(of_kind(seen, ev.StepDone)) == stop_after
    events = train(tiny_config, tmp_path / "parts", resume=True)
    assert of_kind(events, ev.StepDone)[0].step == stop_after + 1
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    with open_run(tmp_path / "parts") as parts, open_run(tmp_path / "whole") as whole:
        mine, theirs = parts.new_steps(0), whole.new_steps(0)
        assert [s.terms for s in mine] == [s.terms for s in theirs]
        assert [e.summaries for e in parts.epochs()] == [e.summaries for e in whole.epochs()]


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tiny_config: Path, tmp_path: Path) -> None:
    train(tiny_config, tmp_path / "whole", "train.epochs=20")
    script = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from engine.config import load_config\n"
        "from engine.training.session import Training\n"
        "config, run, resume = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == 'resume'\n"
        "values = load_config(config, ['train.epochs=20'])\n"
        "Training(values, run, source=config, code=None, resume=resume).run()\n"
    )
    run, state = tmp_path / "killed", tmp_path / "killed/checkpoints/last.state.pt"
    for delay in (0.0, 0.05, 0.12):  # after a checkpoint: at once, within an epoch, around the next one
        written = state.stat().st_mtime_ns if state.exists() else 0
        how = "resume" if written else "new"
        process = subprocess.Popen([sys.executable, "-c", script, str(tiny_config), str(run), how])
        while not state.exists() or state.stat().st_mtime_ns == written:
            assert process.poll() is None, "over before it could be killed"
            time.sleep(0.001)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, "-c", script, str(tiny_config), str(run), "resume"], check=True)
    assert weights(run) == weights(tmp_path / "whole")


def test_a_non_finite_value_is_never_applied(tiny_config: Path, tmp_path: Path) -> None:
    code = tmp_path / "bad.py"
    code.write_text(
        "calls = 0\n"
        "def loss(pred, targets, head):\n"
        "    global calls\n"
        "    calls += 1\n"
        "    lobj = (pred[..., 0] ** 2).mean() * (float('nan') if calls >= 6 else 1.0)\n"
        "    return {'lbox': (pred[..., 1:5] ** 2).mean(), 'lobj': lobj, 'total': lobj}\n"
    )
    events = train(tiny_config, tmp_path / "run", code=code)
    ended = events[-1]
    assert isinstance(ended, ev.RunEnded)
    assert (ended.status, ended.exit_code) == ("failed", 1)
    # the first call only asks for the terms' names: the sixth is step 5
    assert "lobj is nan at step 5" in ended.message
    assert ".jpg" in ended.message
    assert [s.step for s in of_kind(events, ev.StepDone)] == [1, 2, 3, 4]
    (taken,) = of_kind(events, ev.SnapshotTaken)
    snapshot = load_snapshot(taken.path)
    assert snapshot.step == 5
    assert len(snapshot.paths) == snapshot.batch == 4
    assert math.isnan(snapshot.terms["lobj"])
    state = torch.load(tmp_path / "run/checkpoints/last.state.pt", weights_only=True)
    assert state["step"] == 4
    assert all(torch.isfinite(t).all() for t in state["model"].values())


def test_the_users_own_functions_are_called(tiny_config: Path, tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "import torch\n"
        "def loss(pred, targets, head):\n"
        "    wanted = targets[..., 0]\n"
        "    lobj = torch.nn.functional.binary_cross_entropy_with_logits(pred[..., 0], wanted)\n"
        "    return {'lobj': lobj, 'mine': lobj * 2, 'total': lobj * 3}\n"
    )
    events = train(tiny_config, tmp_path / "run", code=code)
    (started,) = of_kind(events, ev.RunStarted)
    assert started.terms == ("lobj", "mine", "total")
    step = of_kind(events, ev.StepDone)[-1]
    assert step.terms["mine"] == pytest.approx(2 * step.terms["lobj"], rel=1e-5)


def test_an_error_in_the_users_code_ends_the_run_with_its_line(tiny_config: Path, tmp_path: Path) -> None:
    code = tmp_path / "broken.py"
    code.write_text("def loss(pred, targets, head):\n    return pred.no_such_thing\n")
    events = train(tiny_config, tmp_path / "run", code=code)
    ended = events[-1]
    assert isinstance(ended, ev.RunEnded)
    assert ended.status == "failed"
    assert "broken.py:2" in ended.message
    assert "no_such_thing" in ended.message
    assert "Traceback" in (tmp_path / "run/log.txt").read_text()


@pytest.mark.slow
def test_minutes_make_no_more_than_the_epochs(tiny_config: Path, tmp_path: Path) -> None:
    events = train(tiny_config, tmp_path / "run", "train.minutes=5", "train.epochs=2")
    (started,) = of_kind(events, ev.RunStarted)
    assert (started.total_steps, started.epochs) == (6, 2)
    said = [line.text for line in of_kind(events, ev.LogLine)]
    assert any(text == "train.epochs = 2 is the most: 6 steps" for text in said), said


@pytest.mark.slow
def test_minutes_become_steps_once(tiny_config: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    events = train(
        tiny_config, tmp_path / "run", "train.minutes=0.1", "train.epochs=100000", "train.eval_every=0"
    )
    took = time.monotonic() - started
    (begun,) = of_kind(events, ev.RunStarted)
    assert len(of_kind(events, ev.StepDone)) == begun.total_steps > 9
    assert took < 60
    state = torch.load(tmp_path / "run/checkpoints/last.state.pt", weights_only=True)
    assert state["total_steps"] == begun.total_steps


def test_resume_says_what_is_wrong(tiny_config: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no unfinished run"), chosen_run(tmp_path / "other.toml", None, True):
        pass
    with pytest.raises(UserError, match="no such run"):
        make(tiny_config, tmp_path / "nothing", resume=True)
    train(tiny_config, tmp_path / "run")
    with pytest.raises(UserError, match="finished"):
        make(tiny_config, tmp_path / "run", resume=True)
    with pytest.raises(UserError, match="holds a run already"):
        make(tiny_config, tmp_path / "run")


def test_a_resumed_run_must_be_the_same_run(tiny_config: Path, tmp_path: Path) -> None:
    training = make(tiny_config, tmp_path / "run")
    training.control.step(2)
    training.control.stop()
    training.run()
    with pytest.raises(UserError, match=r"train\.lr = 0\.5, but the run began with 0\.002"):
        make(tiny_config, tmp_path / "run", "train.lr=0.5", resume=True)


def test_a_run_resumed_by_its_own_config_is_still_found_by_the_one_it_began_with(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "tiny-1"
    for config, resume in ((tiny_config, False), (run / "config.toml", True)):
        training = make(config, run, resume=resume)
        training.control.pause()
        training.control.step(1)
        training.control.stop()
        training.run()
    with chosen_run(tiny_config, None, True) as found:
        assert found == run


def test_a_validation_that_fails_does_not_take_its_epoch_along(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("an image id stands twice")

    with monkeypatch.context() as context:
        context.setattr("engine.training.validation.evaluate", broken)
        events = train(tiny_config, tmp_path / "run")
    (ended,) = of_kind(events, ev.RunEnded)
    assert ended.status == "failed"
    assert "stands twice" in ended.message
    resumed = of_kind(train(tiny_config, tmp_path / "run", resume=True), ev.StepDone)
    assert [done.step for done in resumed] == list(range(4, 10))


def test_a_run_resumed_on_other_labels_says_so(tmp_path: Path) -> None:
    config = tiny_voc.write_config(tmp_path / "tiny")
    for change in (False, True):
        run = tmp_path / f"run-{change}"
        training = make(config, run)
        training.control.pause()
        training.control.step(2)
        training.control.stop()
        training.run()
        if change:
            label = next((tmp_path / "tiny").rglob("Annotations/*.xml"))
            label.write_text(label.read_text().replace("<xmin>", "<xmin>1"))
        told = [line.text for line in of_kind(train(config, run, resume=True), ev.LogLine)]
        assert any("no longer those the run began with" in text for text in told) == change


def test_the_last_validation_is_what_eval_says_in_any_precision(tiny_config: Path, tmp_path: Path) -> None:
    events = train(tiny_config, tmp_path / "run", "train.precision=bf16", "train.epochs=20")
    last = of_kind(events, ev.EvaluationDone)[-1]
    assert last.map50 > 0
    (tmp_path / "run/checkpoints/best.safetensors").unlink()
    scores = evaluate_split(load_config(tmp_path / "run/config.toml"), str(tmp_path / "run")).scores
    assert (scores.map50, scores.map50_95) == (last.map50, last.map50_95)


def test_the_step_before_a_pause_is_there_to_be_looked_at(
    tiny_config: Path, tmp_path: Path, run_until: RunUntil
) -> None:
    training = make(tiny_config, tmp_path / "run")
    run_until(training, 2)
    assert training.captures.ring.steps() == [2]
