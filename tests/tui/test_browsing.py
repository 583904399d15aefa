"""The list of runs and the comparison, as a user drives them."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot
from textual.screen import Screen

from engine.runs import events as ev
from engine.runs.compare import compare
from engine.runs.listing import list_runs
from engine.runs.store import RunFolder, RunWriter
from tui.browsing import BrowseApp
from tui.cli import main
from tui.overlaid import Curve, binned
from tui.screens.compare import CompareScreen
from tui.screens.runs import RunsScreen

STEPS = 60


def made(path: Path, score: float, level: float, seconds: float = 60.0) -> None:
    folder = RunFolder.create(path)
    folder.config.write_text(f'[data]\nformat = "demo"\n[train]\nlr = {level}\n')
    writer = RunWriter(folder)
    terms = ("lbox", "total")
    writer.write(
        [
            ev.RunStarted(
                str(path), path.name, terms, False, 3, 20, 60, 8, 160, ("a",), "cpu", "compact", 9, 0
            ),
            *(
                ev.StepDone(
                    n, 1 + (n - 1) // 20, 1 + (n - 1) % 20, 1e-3,
                    {"lbox": level / n, "total": level}, 1.0, 8, 9, 0.0, seconds, 1,
                )
                for n in range(1, STEPS + 1)
            ),
            ev.EvaluationDone(3, 60, "val", score, score / 2, {"a": score}, 5, 5, 1.0, True),
            ev.RunEnded("finished", "", STEPS, 3, 0),
        ]
    )  # fmt: skip
    writer.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, score, level in (("alpha", 0.3, 3.0), ("beta", 0.9, 2.0), ("gamma", 0.6, 1.0)):
        made(tmp_path / "runs" / name, score, level)
    return tmp_path / "runs"


@asynccontextmanager
async def shown(
    screen: Screen[Any], folder: Path, size: tuple[int, int]
) -> AsyncIterator[tuple[BrowseApp, Pilot[int]]]:
    app = BrowseApp(screen, folder / "log.txt")
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app, pilot


def text_of(app: BrowseApp) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_runs_are_searched_sorted_marked_and_compared(root: Path, size: tuple[int, int]) -> None:
    screen = RunsScreen(root, list_runs(root))
    async with shown(screen, root, size) as (app, pilot):
        assert [info.name for info in screen.shown()] == ["gamma", "beta", "alpha"]
        while "mAP50▾" not in text_of(app):
            await pilot.press("s")
        assert [info.name for info in screen.shown()] == ["beta", "gamma", "alpha"]
        await pilot.press("r")
        assert [info.name for info in screen.shown()] == ["alpha", "gamma", "beta"]
        await pilot.press("slash", *"amm", "q")
        assert "nothing fits" in text_of(app)
        await pilot.press("backspace", "enter")
        assert [info.name for info in screen.shown()] == ["gamma"]
        await pilot.press("escape", "o")  # nothing is marked: o does nothing
        assert app.screen is screen
        await pilot.press("c", "c", "o")
        await pilot.pause()
        assert isinstance(app.screen, CompareScreen)
        assert "alpha" in text_of(app)
        await pilot.press("q")
        assert app.screen is screen
        await pilot.press("home", "enter")
        assert app.opening == (root / "alpha").resolve()


async def test_a_narrow_screen_says_what_it_leaves_out(root: Path) -> None:
    async with shown(RunsScreen(root, list_runs(root)), root, (80, 24)) as (app, _):
        assert "narrow: without" in text_of(app)
        assert "network" in text_of(app)


async def test_curves_by_epoch_step_and_hours_and_every_table(root: Path) -> None:
    screen = CompareScreen(compare([root / "alpha", root / "beta"]))
    async with shown(screen, root, (100, 30)) as (app, pilot):
        assert screen.chart.term == "total"
        assert "by epoch" in text_of(app)
        seen = []
        for _ in range(3):
            await pilot.press("x")
            curve = screen.chart.curves[0].curve("total", screen.chart.unit)
            assert curve is not None
            seen.append((screen.chart.unit, round(float(curve.x.max()), 3)))
        assert sorted(seen) == [("epoch", 3.0), ("hours", 1.0), ("step", 60.0)]
        await pilot.press("tab")
        assert "train.lr" in text_of(app)
        for _ in screen.chart.terms:
            await pilot.press("right", "l", "s")
            assert screen.chart.term in text_of(app)
        await pilot.press("z")
        assert "train.lr" not in text_of(app)
        await pilot.press("q")
    assert app.return_value == 0


def test_columns_hold_means_and_gaps() -> None:
    curve = Curve(np.array([0.0, 0.1, 5.0, 10.0]), np.array([1.0, 3.0, np.nan, 7.0]))
    columns = binned(curve, 10.0, 11)
    assert columns.mean[0] == 2.0
    assert columns.mean[10] == 7.0
    assert columns.gap.tolist() == [k == 5 for k in range(11)]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(str(left.value.code)), out, err


def test_commands_on_a_pipe(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "runs", str(root), "--json")
    assert code == 0
    assert [(each["name"], each["state"], each["best_map50"]) for each in json.loads(out)] == [
        ("gamma", "finished", 0.6),
        ("beta", "finished", 0.9),
        ("alpha", "finished", 0.3),
    ]
    assert "0.9000" in run(capsys, "runs", str(root))[1]
    code, out, _ = run(capsys, "compare", str(root / "alpha"), str(root / "beta"), "--json")
    document = json.loads(out)
    assert code == 0
    assert document["differing"] == {"train.lr": {"alpha": "3.0", "beta": "2.0"}}
    assert "train.lr" in run(capsys, "compare", str(root / "alpha"), str(root / "beta"))[1]
    code, out, err = run(capsys, "compare", str(root / "alpha"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    code, _, _ = run(capsys, "export", str(root / "beta"), "--format", "csv", "--out", str(tmp_path / "out"))
    assert code == 0
    with (tmp_path / "out" / "steps.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == STEPS + 1
    code, _, err = run(capsys, "export", str(root / "beta"), "--format", "pdf")
    assert code == 2
    assert "there are: csv" in err
