"""Where captured steps come from, and what is said where there are none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from inspecting import inspector, press, screen_text
from scenes import canonical_pred, snapshot

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tiny_voc import write_config

from engine.config import load_config
from engine.errors import UserError
from engine.runs.events import RunEnded
from engine.runs.snapshots import save, snapshot_path
from engine.training.session import Training
from tui.app import LiveApp
from tui.inspect.sources import choose_reference, open_steps
from tui.screens.inspect import InspectScreen

SLICED = """
def decode(pred, head):
    import torch
    t = pred[..., 0:4]
    rows, columns = torch.arange(head.grid_h).view(-1, 1, 1), torch.arange(head.grid_w).view(1, -1, 1)
    x = (columns + 0.5 + t[..., 0]) / head.grid_w
    y = (rows + 0.5 + t[..., 1]) / head.grid_h
    w = head.anchors[:, 0] * t[..., 2].exp() / head.grid_w
    h = head.anchors[:, 1] * t[..., 3].exp() / head.grid_h
    return torch.stack([x, y, w, h], -1)
"""
RIGHT = SLICED.replace("0:4", "1:5")


def trained(folder: Path, steps: int = 3, **capture: int) -> Path:
    """A run of the tiny set whose every step is on disk."""
    config = load_config(
        write_config(folder, val=""),
        [
            "train.epochs=1",
            f"capture.snapshot_every={capture.get('every', 1)}",
            "capture.spike=0",
        ],
    )
    run = folder / "run"
    Training(config, run, source=folder / "tiny.toml", code=None, resume=False).run()
    return run


def test_a_run_without_snapshots_says_how_to_get_one(tmp_path: Path) -> None:
    run = trained(tmp_path, every=0)
    for path in (run / "snapshots").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"holds no snapshots.*snapshot_every"):
        open_steps(run, code=None, reference="", overrides=[])


def test_what_is_neither_run_nor_config(tmp_path: Path) -> None:
    for target, message in ((tmp_path, "is not a run"), (tmp_path / "nothing", "no such run or config")):
        with pytest.raises(UserError, match=message):
            open_steps(target, code=None, reference="", overrides=[])
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UserError, match="neither a run nor"):
        choose_reference(str(tmp_path / "a.txt"))


async def test_a_run_opens_with_all_its_steps(tmp_path: Path) -> None:
    run = trained(tmp_path)
    steps = open_steps(run, code=None, reference="", overrides=[])
    async with inspector(steps, tmp_path) as (app, pilot):
        assert app.inspector.inspection is not None
        assert app.inspector.inspection.steps() == [1, 2, 3]
        assert "3 of 3 captured" in screen_text(app)
        await press(pilot, "left_curly_bracket")
        assert app.inspector.inspection.step == 1


async def test_a_file_is_tried_on_a_runs_steps(tmp_path: Path) -> None:
    run, code = trained(tmp_path), tmp_path / "mine.py"
    code.write_text(SLICED)
    steps = open_steps(run, code=code, reference="", overrides=[])
    async with inspector(steps, tmp_path) as (app, pilot):
        assert app.inspector.inspection is not None
        assert "`decode` (mine.py:2) reads conf x y w" in " ".join(screen_text(app).split())
        code.write_text(SLICED.replace("return torch", "return nothing"))
        await press(pilot, "r")
        await until(lambda: not app.inspector.busy, pilot)
        assert "mine.py:10: NameError" in screen_text(app)
        code.write_text(RIGHT)
        await press(pilot, "r")
        await until(lambda: not app.inspector.busy, pilot)
        assert "every slot agrees" in screen_text(app)
        await press(pilot, "left_square_bracket")
        assert app.inspector.inspection.step == 2


async def test_a_second_run_is_the_reference_of_the_same_step(tmp_path: Path) -> None:
    run = trained(tmp_path)
    other = tmp_path / "other"
    Training(
        load_config(
            tmp_path / "tiny.toml",
            ["train.epochs=1", "train.seed=1", "capture.snapshot_every=2", "data.val="],
        ),
        other,
        source=tmp_path / "tiny.toml",
        code=None,
        resume=False,
    ).run()
    snapshot_path(other / "snapshots", 3).unlink()
    steps = open_steps(run, code=None, reference=str(other), overrides=[])
    async with inspector(steps, tmp_path) as (app, pilot):
        assert app.inspector.inspection is not None
        assert app.inspector.inspection.step == 2  # the last that both have
        assert "✘ here:" in screen_text(app)
        assert "slots differ from other in" in " ".join(screen_text(app).split())
        await press(pilot, "right_square_bracket")
        assert "other has no snapshot of step 3, only of 2" in screen_text(app)


async def test_a_dump_is_the_reference(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "snapshots").mkdir(parents=True)
    (run / "run.db").touch()
    save(snapshot(), snapshot_path(run / "snapshots", 10))
    theirs = canonical_pred().clone()
    theirs[1, 2, 3, 1, 4] += 1
    np.savez(tmp_path / "theirs.npz", pred=theirs.numpy())
    steps = open_steps(run, code=None, reference=str(tmp_path / "theirs.npz"), overrides=[])
    async with inspector(steps, tmp_path) as (app, _):
        assert app.inspector.inspection is not None
        assert str(app.inspector.inspection.slot) == "[1, 2, 3, 1]"
        assert "pred: 1 of 96 slots differ from theirs.npz in h" in screen_text(app)


async def test_a_mended_file_is_read_again(tmp_path: Path) -> None:
    config, code = write_config(tmp_path), tmp_path / "mine.py"
    code.write_text(SLICED)
    steps = open_steps(config, code=code, reference="", overrides=[])
    async with inspector(steps, tmp_path) as (app, pilot):
        assert "`decode` (mine.py:2) reads conf x y w" in " ".join(screen_text(app).split())
        code.write_text("def decode(pred, head):\n    return pred[..., 9:\n")
        await press(pilot, "r")
        await until(lambda: not app.inspector.busy, pilot)
        assert "mine.py:2: cannot be imported" in screen_text(app)
        code.write_text(RIGHT)
        await press(pilot, "r")
        await until(lambda: not app.inspector.busy, pilot)
        assert "every slot agrees" in screen_text(app)


async def until(condition: Callable[[], bool], pilot: object) -> None:
    for _ in range(400):
        await pilot.pause(0.05)  # type: ignore[attr-defined]
        if condition():
            await pilot.pause(0.1)  # type: ignore[attr-defined]
            return
    raise AssertionError("it never came")


@pytest.mark.slow
async def test_from_the_live_view_and_back(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, val=""), ["train.epochs=10000", "train.eval_every=0"])
    training = Training(config, tmp_path / "run", source=tmp_path / "tiny.toml", code=None, resume=False)
    app = LiveApp(training, tmp_path / "run")
    async with app.run_test(size=(120, 36)) as pilot:
        await until(lambda: bool(app.live.order), pilot)
        assert not training.control.capturing
        await press(pilot, "i")
        screen = app.screen
        assert isinstance(screen, InspectScreen)
        await until(lambda: screen.inspection is not None, pilot)
        assert training.control.capturing
        assert screen.inspection is not None
        first = screen.inspection.step
        await until(lambda: screen.inspection is not None and screen.inspection.step > first, pilot)
        await press(pilot, "F")
        stays = screen.inspection.step
        await pilot.pause(0.5)
        assert screen.inspection.step == stays
        await press(pilot, "space")
        assert training.control.paused
        await until(lambda: "paused" in screen_text(app), pilot)
        await press(pilot, "S", *"snapshot", "enter")
        assert snapshot_path(tmp_path / "run" / "snapshots", stays).is_file()
        await press(pilot, "space", "q")
        assert app.screen is app.live
        assert not training.control.capturing
        training.control.stop()
        await until(lambda: not app.thread.is_alive(), pilot)
    assert isinstance(app.thread.ended, RunEnded)
    assert app.crash is None
