"""The live view on a run that somebody else writes: what is seen, what is asked, how it is left."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import tiny_voc
from screen_text import settled, text_of, until
from store_writer import StoredTraining
from textual.pilot import Pilot

from engine.config import load_config
from engine.errors import UserError
from engine.runs import events as ev
from engine.runs.folder import RunFolder
from engine.runs.reader import RunReader
from engine.runs.requests import RequestWriter
from engine.runs.store import RunWriter
from engine.training.session import Training
from tui.attached import AttachedRun
from tui.commands.attach import choose, follow
from tui.keys import available
from tui.screens.inspect import InspectScreen
from tui.screens.question import Question
from tui.session import TrainingThread
from tui.viewer import AttachedApp
from tui.widgets.bars import Notice

SIZES = [(80, 24), (120, 36)]
SLOW: dict[str, object] = {"epochs": 100, "step_seconds": 0.005}


@asynccontextmanager
async def attached(
    folder: RunFolder, size: tuple[int, int] = (120, 36)
) -> AsyncIterator[tuple[AttachedApp, Pilot[int]]]:
    run = AttachedRun(folder)
    app = AttachedApp(run, log_path=folder.path.parent / "viewer.log")
    async with app.run_test(size=size, notifications=True) as pilot:
        yield app, pilot
        run.close()
        await until(pilot, lambda: not app.thread.is_alive())


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.01)


def last_step(folder: RunFolder) -> int:
    with RunReader(folder) as reader:
        return reader.last_step()


def finished_run(path: Path, **script: object) -> RunFolder:
    training = StoredTraining(path, **script)
    training.run()
    return training.folder


def offered(app: AttachedApp) -> set[str]:
    return {row.action for _, row in available(app.screen) if row.footer}


@pytest.mark.parametrize("size", SIZES)
async def test_everything_that_happened_before_is_there(tmp_path: Path, size: tuple[int, int]) -> None:
    finding = ev.FindingRaised("warning", "monitor.stalled", "loss", "lobj does not fall", 10)
    folder = finished_run(tmp_path / "demo-1", epochs=4, findings={50: [finding]})
    async with attached(folder, size) as (app, pilot):
        await until(pilot, lambda: bool(app.live.order))
        screen = await settled(app, pilot)
        for part in ("✔ finished", "iter 38/38", "5 total", "q detach"):
            assert part in screen
        state = app.live.state
        assert sorted(state.epochs) == [1, 2, 3, 4]
        assert [row.evaluation is not None for row in state.epochs.values()] == [True] * 4
        assert len(state.claims) == 1
        assert state.history is not None
        assert (state.history.first, state.history.last, state.history.steps) == (1, 152, 152)
        said = [line.text for line in state.lines]
        assert "anchors by k-means: best possible recall 0.994" in said
        assert all(abs(line.at - time.time()) < 60 for line in state.lines)


async def test_keys_reach_the_writer_and_the_header_says_what_it_does(tmp_path: Path) -> None:
    with StoredTraining(tmp_path / "demo-1", **SLOW) as training:
        wait(lambda: last_step(training.folder) > 0)
        async with attached(training.folder) as (app, pilot):
            await until(pilot, lambda: "▶ training" in text_of(app)[0])
            assert {"pause", "step", "checkpoint", "snapshot", "detach"} <= offered(app)
            await pilot.press("space")
            await until(pilot, lambda: "‖ paused" in text_of(app)[0])
            assert training.fake.control.paused
            assert "asked to" not in text_of(app)[0]
            assert "resume" in offered(app)
            at = training.fake._at[0]
            await pilot.press("n", "n")
            await until(pilot, lambda: training.fake._at[0] == at + 2)
            await until(pilot, lambda: app.live.state.last.step == at + 2)  # type: ignore[union-attr]
            await pilot.press("space")
            await until(pilot, lambda: "▶ training" in text_of(app)[0])
            assert training.fake._at[0] >= at + 2


async def test_a_pause_by_one_viewer_is_seen_by_every_other(tmp_path: Path) -> None:
    with StoredTraining(tmp_path / "demo-1", **SLOW) as training:
        async with attached(training.folder) as (app, pilot):
            RequestWriter(training.folder).send("pause")
            await until(pilot, lambda: "‖ paused" in text_of(app)[0])
            await until(pilot, lambda: any("asks to pause" in line.text for line in app.live.state.lines))


@pytest.mark.slow
async def test_leaving_leaves_it_running_and_stopping_asks(tmp_path: Path) -> None:
    with StoredTraining(tmp_path / "demo-1", **SLOW) as training:
        async with attached(training.folder) as (app, pilot):
            await until(pilot, lambda: "stop" in offered(app))
            await pilot.press("q")
            await until(pilot, lambda: app.return_code is not None or not app.is_running)
            assert app.return_value == 0
            assert "goes on; back with: yolotui attach" in app.live.parting_lines()[0]
        assert not training.fake.control.stopping
        async with attached(training.folder) as (app, pilot):
            await until(pilot, lambda: "stop" in offered(app))
            await pilot.press("Q")
            await until(pilot, lambda: isinstance(app.screen, Question))
            await pilot.press("n")
            assert not training.fake.control.stopping
            await pilot.press("Q")
            await until(pilot, lambda: isinstance(app.screen, Question))
            await pilot.press("y")
            await until(pilot, lambda: "■ stopped" in text_of(app)[0])
            assert offered(app).isdisjoint({"pause", "resume", "step", "epoch_end", "checkpoint", "stop"})


async def test_a_finished_run_says_why_it_cannot_be_paused(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "demo-1", epochs=1)
    async with attached(folder) as (app, pilot):
        await until(pilot, lambda: bool(app.live.order))
        assert offered(app).isdisjoint({"pause", "resume", "step", "epoch_end", "checkpoint", "snapshot"})
        await pilot.press("space")
        await until(pilot, lambda: "nothing to control" in "\n".join(text_of(app)))
        assert not list(folder.path.glob("requests.jsonl")) or not RequestWriter(folder).path.read_bytes()


async def test_where_nothing_can_be_written_it_looks_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RequestWriter, "refusal", lambda _: "runs/demo-1 cannot be written by ann")
    with StoredTraining(tmp_path / "demo-1", **SLOW) as training:
        async with attached(training.folder, (120, 36)) as (app, pilot):
            await until(pilot, lambda: "▶ training" in text_of(app)[0] and app.live.state.last is not None)
            await until(
                pilot, lambda: "looking only: runs/demo-1 cannot be written by ann" in text_of(app)[0]
            )
            assert "pause" not in offered(app)
            await pilot.press("space")
            await until(pilot, lambda: "Looking only" in "\n".join(text_of(app)))
            assert not training.fake.control.paused


async def test_a_run_that_is_gone_on_with_goes_on_in_the_view(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "demo-1", epochs=2)
    async with attached(folder) as (app, pilot):
        await until(pilot, lambda: "✔ finished" in text_of(app)[0])
        writer = RunWriter(folder)
        with RunReader(folder) as reader:
            begun, steps = reader.started(), reader.new_steps(0)
        assert begun is not None
        values = {name: getattr(begun, name) for name in begun.__slots__} | {"first_step": 38}
        writer.write([ev.RunStarted(**values), ev.StateChanged("training"), *steps[38:60]])
        await until(pilot, lambda: "▶ training" in text_of(app)[0])
        state = app.live.state
        await until(pilot, lambda: state.last is not None and state.last.step == 60)
        assert state.ended is None
        assert sorted(state.epochs) == [1]
        assert state.history is not None
        assert (state.history.first, state.history.last) == (1, 60)
        assert not app.live.query_one("#outcome", Notice).lines
        writer.close()


async def test_a_run_that_has_not_begun_is_waited_for(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "demo-1")
    RunWriter(folder).close()
    async with attached(folder) as (app, pilot):
        assert app.live.order == []
        with StoredTraining(folder.path, **SLOW):
            await until(pilot, lambda: bool(app.live.order) and "▶ training" in text_of(app)[0])


def test_a_long_run_opens_at_once_and_whole(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "long")
    writer = RunWriter(folder)
    n = 60_000
    fields = {"lr": 0.1, "grad_norm": 1.0, "images": 16, "objects": 5, "data_seconds": 0.0, "memory": 1}
    started = ev.RunStarted(
        str(folder.path), "long", ("a", "total"), False, 6, 10_000, n, 16, 1, (), "cpu", "n", 1, 0
    )
    writer.write([started])
    writer.write(
        ev.StepDone(k, (k - 1) // 10_000 + 1, (k - 1) % 10_000 + 1, terms={"a": float(k), "total": 2.0 * k},
                    seconds=0.5, **fields)  # type: ignore[arg-type]
        for k in range(1, n + 1)
    )  # fmt: skip
    writer.close()
    run = AttachedRun(folder)
    begun = time.perf_counter()
    state = run.read()
    assert time.perf_counter() - begun < 2.0
    history = state.history
    assert history is not None
    assert (history.first, history.last, history.steps) == (1, n, n)
    for name, factor in (("a", 1), ("total", 2)):
        whole = history.columns(name, 1, n, 50)
        line = factor * (1 + (n - 1) / 49 * np.arange(50))
        assert whole.mean == pytest.approx(line, rel=0.02, abs=700)
        assert history.columns(name, n, n, 1).mean[0] == factor * n
        assert history.reading(name, 1, n).finite == n
        assert history.reading(name, 1, n).mean == pytest.approx(factor * (n + 1) / 2)
    assert history.reading("img/s", 1, n).mean == pytest.approx(32)
    assert state.epoch_mean("a") == pytest.approx(55_000.5, rel=0.01)
    run.close()
    run.run()


def test_lines_where_there_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with StoredTraining(tmp_path / "demo-1", epochs=3, step_seconds=0.01) as training:
        wait(lambda: last_step(training.folder) > 5)
        assert follow(AttachedRun(training.folder), 10.0) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "demo-1: " in lines[0]
    assert "process" in lines[0]
    assert lines[1].startswith("training 1/3, iter ")
    assert any(line.startswith("training 3/3, iter 38/38") for line in lines[2:])
    assert sum(line.startswith("evaluation of val") for line in lines) == 3
    assert lines[-2].startswith("finished at step 114")
    assert follow(AttachedRun(training.folder), 10.0) == 0


def test_which_run_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no runs below runs/"):
        choose(None)
    first = finished_run(tmp_path / "runs/demo-1", epochs=1)
    with pytest.raises(UserError, match=r"goes on.*attach runs/demo-1"):
        choose(None)
    (tmp_path / "demo-1").mkdir()  # a folder of that name, of something else
    assert choose(Path("demo-1")) == choose(Path("runs/demo-1")) == first
    with StoredTraining(tmp_path / "runs/demo-2", **SLOW) as training:
        wait(lambda: last_step(training.folder) > 0)
        finished_run(tmp_path / "runs/demo-3", epochs=1)
        assert choose(None) == training.folder
    with pytest.raises(UserError, match="no such run"):
        choose(Path("nosuch"))


@pytest.mark.slow
async def test_the_inspector_opens_on_the_snapshots_of_the_other_process(
    tmp_path: Path,
) -> None:
    source = tiny_voc.write_config(tmp_path / "tiny", val="")
    config = load_config(source, ["train.epochs=10000", "train.eval_every=0"])
    training = Training(config, tmp_path / "demo-1", source=source, code=None, resume=False)
    thread = TrainingThread(training, training.folder.log)
    thread.start()
    async with attached(training.folder) as (app, pilot):
        await until(pilot, lambda: "inspect" in offered(app) and "pause" in offered(app))
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, InspectScreen))
        screen = app.screen
        assert isinstance(screen, InspectScreen)
        await until(pilot, lambda: screen.inspection is not None)  # the one it asked for
        held = screen.steps.timeline.steps()
        await pilot.press("space")
        await until(pilot, lambda: app.attached.control.paused)
        await pilot.press("s")
        await until(pilot, lambda: len(screen.steps.timeline.steps()) > len(held))
        assert "inspector" not in app.live.state.note
        await pilot.press("q")
        await until(pilot, lambda: app.screen is app.live)
    training.control.stop()
    thread.join(30)
