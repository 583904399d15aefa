"""The live view on the scripted training, driven by keys, read as text."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
import tiny_voc
from fake_training import TERMS, FakeTraining
from screen_text import paused_at, running, settled, text_of, until
from store_writer import StoredTraining

from engine.config import load_config
from engine.runs.events import RunEnded, StepDone
from engine.training.session import Training
from tui.app import LiveApp
from tui.keys import available
from tui.screens.help import HelpScreen
from tui.screens.inspect import InspectScreen
from tui.screens.question import Question
from tui.widgets.bars import Footer, Notice
from tui.widgets.chart import Chart
from tui.widgets.epochs import EpochTable
from tui.widgets.panel import Panel

SIZES = [(80, 24), (120, 36), (200, 60)]


@pytest.mark.parametrize("size", SIZES)
async def test_every_size_shows_everything_or_names_it(tmp_path: Path, size: tuple[int, int]) -> None:
    async with running(tmp_path, size, pause_at=250) as (app, pilot):
        text = await paused_at(app, pilot)
        for words in (
            "demo-3",
            "‖ paused",
            "epoch 7/20",
            "iter 22/38",
            "lr 0.000994",
            "it/s",
            "img/s",
            "mem 10.7G",
            "left",
        ):
            assert words in text, text
        for number, name in enumerate((*TERMS, "mAP50"), 1):
            assert f"{number} {name} " in text
        for panel in app.live.panels():
            named = panel.panel_name in " ".join(app.live.query_one("#hidden", Notice).lines)
            nothing_to_say = panel.panel_name == "findings"
            assert panel.display != (named or nothing_to_say), panel.panel_name
        assert all(len(line) == size[0] for line in text.split("\n"))


async def test_a_small_terminal_names_what_has_no_room(tmp_path: Path) -> None:
    async with running(tmp_path, (50, 12), pause_at=50) as (app, pilot):
        await until(pilot, lambda: app.session.control.paused)
        text = await settled(app, pilot)
        assert "no room:" in text
        named = text.split("no room:")[1].split("\n")[0]
        assert "log" in named
        assert "5" in named


async def test_panel_title_carries_value_mean_and_trend(tmp_path: Path) -> None:
    async with running(tmp_path, (200, 60), pause_at=250) as (app, pilot):
        text = await paused_at(app, pilot)
        state = app.live.state
        title = next(line for line in text.split("\n") if "5 total" in line)
        assert state.last is not None
        assert f"5 total  {state.last.terms['total']:.1f}" in title
        assert f"mean {state.epoch_mean('total'):.1f}" in title
        assert "↓ -" in title


async def test_pause_step_epoch_end_and_resume(tmp_path: Path) -> None:
    async with running(tmp_path, step_seconds=0.002, shown_seconds=0.01) as (app, pilot):
        state = app.live.state
        await until(pilot, lambda: state.last is not None)
        await pilot.press("space")
        await until(pilot, lambda: state.state == "paused")
        await settled(app, pilot)
        assert state.last is not None
        before = state.last.step
        await pilot.press("n")
        await until(pilot, lambda: state.last is not None and state.last.step == before + 1)
        await pilot.press("e")
        await until(
            pilot,
            lambda: state.last is not None and state.last.iteration == 38 and app.session.control.paused,
        )
        epoch = state.last.epoch
        await pilot.press("space")
        await until(pilot, lambda: state.last is not None and state.last.epoch > epoch)


async def test_a_checkpoint_on_request(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=10) as (app, pilot):
        await paused_at(app, pilot)
        assert app.live.state.unsaved_steps == 10
        await pilot.press("c")
        await until(pilot, lambda: app.live.state.unsaved_steps == 0)
        assert "checkpoint of step 10" in await settled(app, pilot)


async def test_log_scale_smoothing_and_x_unit_change_the_charts(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=250) as (app, pilot):
        pictures = [await paused_at(app, pilot)]
        for key in ("l", "s", "x"):
            await pilot.press(key)
            pictures.append(await settled(app, pilot))
        assert len(set(pictures)) == 4
        assert "step " in pictures[-1]


async def test_nan_is_counted_named_and_kept_out_of_the_axis(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=100, nan_at=50) as (app, pilot):
        text = await paused_at(app, pilot)
        title = next(line for line in text.split("\n") if "3 lobj" in line)
        assert "1 non-finite" in title[title.index("3 lobj") :]
        assert "1 non-finite" not in title[: title.index("3 lobj")]
        assert "nan" not in title


@pytest.mark.slow
async def test_panels_hide_show_and_enlarge(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=100) as (app, pilot):
        await paused_at(app, pilot)
        live = app.live
        await pilot.press("1")
        text = await settled(app, pilot)
        assert not live.chart("lcls").display
        assert "hidden: 1 lcls" in text
        await pilot.press("a")
        await settled(app, pilot)
        assert all(panel.display for panel in live.panels() if panel.panel_name != "findings")
        live.chart("lbox").focus()
        await pilot.press("enter")
        await settled(app, pilot)
        assert [panel.panel_name for panel in live.panels() if panel.display] == ["lbox"]
        await pilot.press("3")
        await settled(app, pilot)
        assert [panel.panel_name for panel in live.panels() if panel.display] == ["lobj"]
        await pilot.press("escape")
        await settled(app, pilot)
        assert sum(panel.display for panel in live.panels()) > 6
        live.query_one(EpochTable).focus()
        await pilot.press("h")
        assert "epochs" in (await settled(app, pilot)).split("hidden:")[1]


async def test_tab_goes_through_every_visible_panel_and_back(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=100) as (app, pilot):
        await paused_at(app, pilot)
        shown = [panel for panel in app.live.panels() if panel.display]
        seen = []
        for _ in shown:
            await pilot.press("tab")
            assert isinstance(app.focused, Panel)
            seen.append(app.focused.panel_name)
        assert sorted(seen) == sorted(panel.panel_name for panel in shown)
        here = app.focused
        await pilot.press("tab", "shift+tab")
        assert app.focused is here


@pytest.mark.slow
async def test_the_epoch_table_marks_the_best_and_changes_its_statistic(tmp_path: Path) -> None:
    async with running(tmp_path, (80, 24), pause_at=250) as (app, pilot):
        text = await paused_at(app, pilot)
        assert "★" in text
        assert "epochs  mean per object" in text
        await pilot.press("m", "m")
        assert "epochs  spread per object" in await settled(app, pilot)
        await pilot.press("m", "m", "m")
        text = await settled(app, pilot)
        assert "epochs  mean spread trend last per object" in text
        assert "columns ←→" in text
        app.live.query_one(EpochTable).focus()
        await pilot.press(*["right"] * 30)
        assert "time" in await settled(app, pilot)


@pytest.mark.slow
async def test_the_log_scrolls_and_follows(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=300) as (app, pilot):
        newest = (await paused_at(app, pilot)).split("─ log")[1]
        app.live.query_one("#log").focus()
        await pilot.press("home")
        assert "run demo-3 in" in (await settled(app, pilot)).split("log")[
            -1
        ] or "run demo-3 in" in "\n".join(text_of(app))
        await pilot.press("end")
        await settled(app, pilot)
        # up to the panel beside it, whose figures go on
        line = newest.strip().split("\n")[1].split("  cpu ")[0].strip()
        assert line
        assert line in "\n".join(text_of(app))


async def test_what_is_printed_goes_into_the_log(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=10) as (app, pilot):
        await paused_at(app, pilot)
        print("a library said", "something", sep=" ")
        print("of ", end="")
        print("one line")
        await pilot.pause()
        assert "of one line" in await settled(app, pilot)
        assert "a library said something" in await settled(app, pilot)
        assert "a library said something" in app.log_path.read_text()


async def test_the_end_is_a_sentence_and_the_view_stays(tmp_path: Path) -> None:
    async with running(tmp_path, epochs=2, steps_per_epoch=5) as (app, pilot):
        await until(pilot, lambda: app.live.ended)
        text = await settled(app, pilot)
        assert "✔ finished" in text
        assert "finished at step 10 of 10, epoch 2 · best epoch 2: mAP50" in text
        assert "next: yolotui eval" in text
        assert "yolotui detect IMAGE" in text  # a long path is cut at the screen's edge
        assert "pause" not in text.split("\n")[-1]
        await pilot.press("q")
        await pilot.pause()
        assert app.return_value == 0


async def test_a_failure_says_what_failed_and_exits_1(tmp_path: Path) -> None:
    async with running(tmp_path, (200, 60), fail_at=7) as (app, pilot):
        await until(pilot, lambda: app.live.ended)
        text = await settled(app, pilot)
        assert "✘ failed" in text
        assert "lobj is not finite at step 7: images a.jpg, b.jpg" in text
        await pilot.press("q")
        await pilot.pause()
        assert app.return_value == 1


async def test_q_stops_and_leaves(tmp_path: Path) -> None:
    async with running(tmp_path, step_seconds=0.01) as (app, pilot):
        await until(pilot, lambda: app.live.state.last is not None)
        await pilot.press("q")
        await until(pilot, lambda: app.return_value is not None)
        assert app.return_value == 0
        assert app.thread.ended is not None
        assert app.thread.ended.status == "stopped"


async def test_a_resumed_run_shows_what_it_did_before(tmp_path: Path) -> None:
    folder = tmp_path / "demo-3"
    StoredTraining(folder, epochs=4).run()
    done = 4 * FakeTraining.steps_per_epoch
    app = LiveApp(FakeTraining(folder, epochs=8, first_step=done, pause_at=done + 2), folder)
    async with app.run_test(size=(120, 36)) as pilot:
        await paused_at(app, pilot)
        screen = await settled(app, pilot)
        state = app.live.state
        assert state.history is not None
        assert (state.history.first, state.history.last) == (1, done + 2)
        assert [row.epoch for row in state.epochs.values()] == [1, 2, 3, 4]
        assert state.best is not None
        assert f"{state.best.map50:.3f}" in screen
        assert "epoch 5/8" in screen
        assert app.live.can_control
        app.session.control.stop()
        await until(pilot, lambda: app.live.ended)
        assert any("best epoch " in line for line in app.live.parting_lines())


@pytest.mark.slow
async def test_a_run_that_is_over_can_be_looked_into_and_not_paused(tmp_path: Path) -> None:
    config = tiny_voc.write_config(tmp_path / "tiny")
    folder = tmp_path / "run"
    training = Training(load_config(config), folder, source=config, code=None, resume=False)
    app = LiveApp(training, folder)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("i")  # while it goes on
        await until(pilot, lambda: isinstance(app.screen, InspectScreen))
        await until(pilot, lambda: not app.thread.is_alive())
        screen = app.screen
        assert isinstance(screen, InspectScreen)
        await until(pilot, lambda: screen.inspection is not None and screen.control is None)
        await pilot.press("q")
        await until(pilot, lambda: app.live.ended)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, InspectScreen))
        later = app.screen
        assert isinstance(later, InspectScreen)
        assert later.inspection is not None
        assert later.inspection.step == training.config.train.epochs * 3
        assert not {"pause", "resume", "step"} & {row.action for _, row in available(later)}
    training.parts.close()


class StoppedWhilePreparing(FakeTraining):
    """Looks at what it is asked only when all is set up, as a training does."""

    def run(self) -> RunEnded:
        while not self.control.stopping:
            time.sleep(0.01)
        return super().run()


async def test_q_before_the_first_step_leaves_in_peace(tmp_path: Path) -> None:
    """The first it hears of the run is its end: charts would come onto a screen that is closing."""
    folder = tmp_path / "demo-3"
    app = LiveApp(StoppedWhilePreparing(folder), folder)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("q")
        await until(pilot, lambda: app.return_value is not None)
    assert (app.return_value, app.crash) == (0, None)
    assert app.live.parting_lines()[0].startswith("stopped at step 0")


@pytest.mark.slow
async def test_q_asks_only_if_something_would_be_lost(tmp_path: Path) -> None:
    fake = FakeTraining(tmp_path / "demo-3", step_seconds=0.0)
    app = LiveApp(fake, tmp_path / "demo-3")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.live.state.last is not None)
        fake.step_seconds = 2.0
        await pilot.pause(0.3)
        await settled(app, pilot)
        await pilot.press("q")
        assert app.leaving == 0
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("n")
        await until(pilot, lambda: not isinstance(app.screen, Question))
        assert app.return_value is None
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("y")
        await until(pilot, lambda: app.return_value == 0)
    await asyncio.to_thread(app.thread.join)


async def test_keys_are_answered_however_poor_the_budget(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=20) as (app, pilot):
        await paused_at(app, pilot)
        app.live.budget.share = 1e-9
        app.live.budget.slowest = 1e9
        await pilot.pause(0.5)
        before = app.live.state.last
        assert before is not None
        await pilot.press("n")
        await until(pilot, lambda: f"iter {before.iteration + 1}/38" in "\n".join(text_of(app)))


async def test_any_number_of_terms(tmp_path: Path) -> None:
    terms = (*(f"term{k}" for k in range(12)), "total")
    async with running(tmp_path, (80, 24), pause_at=20, terms=terms) as (app, pilot):
        await until(pilot, lambda: app.session.control.paused and bool(app.live.order))
        text = await settled(app, pilot)
        assert "no room:" in text
        shown = [
            panel.panel_name for panel in app.live.panels() if panel.display and isinstance(panel, Chart)
        ]
        assert shown


async def test_a_million_steps_cost_no_memory(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=1) as (app, pilot):
        await paused_at(app, pilot)
        state = app.live.state
        assert state.last is not None
        history = state.history
        assert history is not None
        for start in range(0, 1_000_000, 20_000):
            state.apply([_late(state.last, start + k) for k in range(1, 20_001, 400)])
        cells = sum(level.low.size for level in history._levels)
        assert cells <= 4096 * len(history.names) * 12
        await settled(app, pilot)


def _late(step: StepDone, number: int) -> StepDone:
    return StepDone(number + 1, 1, 1, step.lr, step.terms, 1.0, 16, 48, 0.01, 0.1, 1)


async def test_themes_switch(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=20) as (app, pilot):
        await paused_at(app, pilot)
        dark = app.live.query_one(Footer).rich_style.bgcolor
        await pilot.press("t")
        await pilot.pause()
        assert app.theme == "yolotui-light"
        assert app.live.query_one(Footer).rich_style.bgcolor != dark


async def test_help_is_about_what_is_focused(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=20) as (app, pilot):
        await paused_at(app, pilot)
        app.live.query_one(EpochTable).focus()
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        assert app.screen.help_title == "Epoch table"
        await pilot.press("escape")
        await pilot.pause()
        app.live.chart("lobj").focus()
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        assert app.screen.help_title == "Chart: lobj"


async def test_a_long_failure_is_wrapped_not_cut(tmp_path: Path) -> None:
    async with running(tmp_path, (80, 24), fail_at=7) as (app, pilot):
        await until(pilot, lambda: app.live.ended)
        await settled(app, pilot)
        lines = app.live.query_one("#outcome", Notice).lines
        assert all(len(line) < 80 for line in lines)
        assert "images a.jpg, b.jpg" in " ".join(lines)
        assert lines[-1] in "\n".join(text_of(app))
