"""What is done with the live view: cursor, zoom, filter, another run laid over, findings, layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_training import FakeTraining
from screen_text import paused_at, running, settled, until

from engine.runs.events import FindingCleared, FindingRaised
from engine.runs.folder import RunFolder
from engine.runs.writer import RunWriter
from tui.app import LiveApp
from tui.budget import default_share
from tui.inspect.picker import Picker
from tui.keys import available
from tui.screens.finding import FindingScreen
from tui.widgets.bars import Notice
from tui.widgets.filter import FilterLine
from tui.widgets.findings import FindingsPanel
from tui.widgets.machine import MachinePanel

SIZES = [(80, 24), (120, 36), (200, 60)]
CLAIM = FindingRaised(
    "error", "decode.influence", "decode", "reads conf x y w", 20, "pred", ("conf", "h"), "x y w h",
    "conf x y w", "slice pred[..., 1:5]",
)  # fmt: skip
STALLED = FindingRaised("warning", "monitor.stalled", "loss", "lobj does not fall", 10)


def write_run(folder: Path, **script: object) -> None:
    fake = FakeTraining(folder, **script)  # type: ignore[arg-type]
    subscription = fake.feed.subscribe()
    fake.run()
    writer = RunWriter(RunFolder.create(folder))
    writer.write(subscription.drain())
    writer.close()


def title_of(app: LiveApp, name: str) -> str:
    return app.live.chart(name).plain_text().split("\n")[0]


# cursor and zoom


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
async def test_the_cursor_reads_every_chart_at_the_same_step(tmp_path: Path, size: tuple[int, int]) -> None:
    async with running(tmp_path, size, pause_at=300) as (app, pilot):
        await paused_at(app, pilot)
        app.live.chart("total").focus()
        await pilot.press("right", "0")
        for _ in range(5):
            await pilot.press("plus")
        await pilot.press("left", "left", "left", "left")
        await settled(app, pilot)
        step = app.live.options.view.cursor
        assert step == 297
        history = app.live.state.history
        assert history is not None
        for name in ("lcls", "total"):
            value = history.columns(name, step, step, 1).mean[0]
            read = history.reading(name, step, step)
            assert (read.first, read.last, read.finite) == (step, step, 1)
            assert read.low == read.mean == read.high == value
            assert f"{value:.3g}"[:3] in title_of(app, name)
            assert "297" in title_of(app, name)
            assert "▲" in app.live.chart(name).plain_text().split("\n")[-1]


@pytest.mark.slow
async def test_a_column_of_several_steps_says_which_and_their_bounds(tmp_path: Path) -> None:
    async with running(tmp_path, (200, 60), pause_at=700) as (app, pilot):
        await paused_at(app, pilot)
        app.live.chart("total").focus()
        await pilot.press("left", "left", "shift+left")
        title = title_of(app, "total")
        chart, history = app.live.chart("total"), app.live.state.history
        assert history is not None
        first, last = app.live.options.view.reading(chart._plot, 1, 700)
        assert last > first
        assert f"mean of steps {first}-{last}" in title
        read = history.reading("total", first, last)
        assert read.low < read.mean < read.high
        assert f"min {read.low:.1f} max {read.high:.1f}" in title


@pytest.mark.slow
async def test_zoom_pan_and_back_to_all(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=400) as (app, pilot):
        await paused_at(app, pilot)
        chart = app.live.chart("total")
        chart.focus()
        whole = chart.plain_text()
        await pilot.press("plus")
        assert chart.x_range() == (201, 400)
        await pilot.press("[")
        assert chart.x_range() == (101, 300)
        await pilot.press("left_square_bracket", "left_square_bracket")
        assert chart.x_range() == (1, 200)
        await pilot.press("end")
        assert chart.x_range() == (201, 400)
        assert app.live.options.view.end is None  # follows
        await pilot.press("home")
        assert chart.x_range() == (1, 200)
        assert app.live.options.view.cursor == 1
        await pilot.press("escape")
        assert app.live.options.view.cursor is None
        await pilot.press("0")
        await settled(app, pilot)
        assert chart.x_range() == (1, 400)
        assert chart.plain_text() == whole


async def test_a_zoomed_window_follows_the_newest_step(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=400) as (app, pilot):
        await paused_at(app, pilot)
        chart = app.live.chart("total")
        chart.focus()
        await pilot.press("plus", "n")
        await until(pilot, lambda: app.live.state.last is not None and app.live.state.last.step == 401)
        assert chart.x_range() == (202, 401)


@pytest.mark.slow
async def test_old_steps_are_read_exactly_from_the_store(tmp_path: Path) -> None:
    script = {"steps_per_epoch": 1000, "epochs": 20}
    write_run(tmp_path / "demo-3", **script)
    async with running(tmp_path, pause_at=19_000, **script) as (app, pilot):
        await paused_at(app, pilot)
        history, stored = app.live.state.history, app.live.own_store.get()
        assert history is not None
        assert stored is not None
        assert history.grain(5) > 1
        assert history.reading("lobj", 5, 5).finite > 1
        read = stored.reading("lobj", 5, 5)
        assert read is not None
        assert (read.first, read.last, read.finite) == (5, 5, 1)
        app.live.chart("lobj").focus()
        await pilot.press("home", *["plus"] * 12)
        await pilot.press("right", "right", "right", "right")
        await settled(app, pilot)
        assert f"{read.mean:.0f}" in title_of(app, "lobj")
        assert "5" in title_of(app, "lobj")


# findings


@pytest.mark.parametrize("size", SIZES)
async def test_findings_stand_once_newest_first(tmp_path: Path, size: tuple[int, int]) -> None:
    script = {10: [STALLED], 20: [CLAIM, STALLED], 30: [FindingCleared("monitor.stalled", 30)]}
    async with running(tmp_path, size, pause_at=40, findings=script) as (app, pilot):
        text = await paused_at(app, pilot)
        panel = app.live.query_one(FindingsPanel)
        lines = panel.plain_text().split("\n")
        assert "1 error  1 cleared" in lines[0]
        assert "✘ decode pred[conf h]" in lines[1]
        assert "✔ loss ×2" in lines[2]
        assert panel.display
        assert "✘ decode pred[conf h]" in text


@pytest.mark.slow
async def test_enter_shows_all_of_a_finding(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=40, findings={10: [STALLED], 20: [CLAIM]}) as (app, pilot):
        await paused_at(app, pilot)
        panel = app.live.query_one(FindingsPanel)
        panel.focus()
        await pilot.press("down")
        assert panel.claim() is not None
        assert panel.claim().newest == STALLED  # type: ignore[union-attr]
        footer = (await settled(app, pilot)).split("\n")[-1]
        assert "enter detail" in footer
        assert "enter enlarge" not in footer
        await pilot.press("up", "enter")
        await pilot.pause()
        assert isinstance(app.screen, FindingScreen)
        text = await settled(app, pilot)
        for words in ("pred[conf h]", "x y w h", "conf x y w", "slice pred[..., 1:5]", "at step 20"):
            assert words in text, words
        await pilot.press("escape")
        assert app.screen is app.live


async def test_without_findings_the_panel_is_shown_only_where_asked(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=40) as (app, pilot):
        await paused_at(app, pilot)
        panel = app.live.query_one(FindingsPanel)
        assert not panel.display
        await pilot.press("f")
        assert "none so far" in await settled(app, pilot)
        await pilot.press("f")
        await settled(app, pilot)
        assert not panel.display
        assert "findings" in " ".join(app.live.query_one("#hidden", Notice).lines)


# filter


@pytest.mark.slow
async def test_a_filter_works_while_it_is_typed_and_names_what_it_hides(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=40) as (app, pilot):
        await paused_at(app, pilot)
        await pilot.press("slash", *"obj|TOT")
        text = await settled(app, pilot)
        assert [p.panel_name for p in app.live.panels() if p.display] == ["lobj", "total"]
        assert "filter /obj|TOT/ hides: 1 lcls  2 lbox  4 liou  6 mAP50  epochs  log  machine" in text
        assert "enter keep" in text.split("\n")[-1]
        assert not app.session.control.stopping  # letters are typed, not obeyed
        await pilot.press("enter")
        await settled(app, pilot)
        assert not app.live.query_one(FilterLine).display
        await pilot.press("slash", "x", "x", "escape")
        await settled(app, pilot)
        assert [p.panel_name for p in app.live.panels() if p.display] == ["lobj", "total"]
        await pilot.press("a")
        await settled(app, pilot)
        assert app.live.chart("lcls").display


async def test_a_broken_expression_is_said_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=40) as (app, pilot):
        await paused_at(app, pilot)
        before = [p.panel_name for p in app.live.panels() if p.display]
        await pilot.press("slash", "(")
        assert "no regular expression yet" in await settled(app, pilot)
        await pilot.press("enter")
        await settled(app, pilot)
        assert [p.panel_name for p in app.live.panels() if p.display] == before


# another run laid over


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
async def test_a_run_beside_it_is_laid_over(tmp_path: Path, size: tuple[int, int]) -> None:
    write_run(tmp_path / "demo-2", factor=0.3, epochs=10)
    async with running(tmp_path, size, pause_at=200) as (app, pilot):
        await paused_at(app, pilot)
        chart = app.live.chart("total")
        before = chart.plain_text()
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, Picker))
        await pilot.press("enter")
        text = await settled(app, pilot)
        assert app.live.options.overlay is not None
        assert "╍╍ demo-2" in text
        assert chart.plain_text() != before
        styles = {segment.style for strip in chart._frame or [] for segment in strip}
        assert len({style.color for style in styles if style}) >= 4
        await pilot.press("left", "left")
        await settled(app, pilot)
        assert "╍ " in title_of(app, "total")
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, Picker))
        await pilot.press("enter")
        await settled(app, pilot)
        assert app.live.options.overlay is None


@pytest.mark.slow
async def test_epochs_are_laid_over_epochs_and_steps_over_steps(tmp_path: Path) -> None:
    write_run(tmp_path / "demo-2", steps_per_epoch=76, epochs=4)
    async with running(tmp_path, pause_at=120) as (app, pilot):
        await paused_at(app, pilot)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, Picker))
        await pilot.press("enter")
        await settled(app, pilot)
        overlay = app.live.options.overlay
        assert overlay is not None
        chart = app.live.chart("mAP50")
        assert list(overlay.precision(chart._overlay_scale())[0]) == [38, 76, 114, 152]
        await pilot.press("x")
        assert list(overlay.precision(chart._overlay_scale())[0]) == [76, 152, 228, 304]


async def test_no_other_run_is_said(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=40) as (app, pilot):
        await paused_at(app, pilot)
        await pilot.press("o")
        await until(pilot, lambda: bool(app._notifications))
        assert "no other run" in next(iter(app._notifications)).message


# machine, panels, layout


async def test_the_machine_panel_measures(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=40) as (app, pilot):
        await paused_at(app, pilot)
        await until(pilot, lambda: app.live.sampler.newest is not None)
        await settled(app, pilot)
        text = app.live.query_one(MachinePanel).plain_text()
        may_take = f"of a core  may take {100 * default_share():.1f}%"
        for words in ("cpu", "ram", "data 10.0ms", "compute", may_take, "waits for data"):
            assert words in text, text


async def test_any_panel_can_be_chosen_from_a_list(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=40) as (app, pilot):
        await paused_at(app, pilot)
        assert not app.live.chart("lr").display
        await pilot.press("p", *"8 lr")
        await pilot.press("enter")
        await settled(app, pilot)
        assert app.live.chart("lr").display


@pytest.mark.slow
async def test_the_view_is_remembered(tmp_path: Path) -> None:
    layout = tmp_path / "config" / "live.json"
    (tmp_path / "a").mkdir()
    async with running(tmp_path / "a", layout=layout, pause_at=40) as (app, pilot):
        await paused_at(app, pilot)
        await pilot.press("1", "9", "l", "s", "t", "m")
        app.live.chart("lobj").focus()
        await pilot.press("enter")
        await settled(app, pilot)
    assert json.loads(layout.read_text())["panels"] == {"lcls": False, "img/s": True}
    (tmp_path / "b").mkdir()
    async with running(tmp_path / "b", layout=layout, pause_at=40) as (app, pilot):
        await until(pilot, lambda: bool(app.live.order) and app.live.chart("lobj").display)
        await settled(app, pilot)
        assert [p.panel_name for p in app.live.panels() if p.display] == ["lobj"]
        assert app.focused is app.live.chart("lobj")
        assert app.theme == "yolotui-light"
        assert app.live.options.log
        assert not app.live.options.smooth
        await pilot.press("enter")
        await settled(app, pilot)
        assert not app.live.chart("lcls").display
        assert app.live.chart("img/s").display


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 9}', '{"version": 1, "theme": 3}', "\x00"])
async def test_a_broken_layout_is_said_and_not_used(tmp_path: Path, text: str) -> None:
    layout = tmp_path / "live.json"
    layout.write_text(text)
    async with running(tmp_path, layout=layout, pause_at=40) as (app, pilot):
        await paused_at(app, pilot)
        assert any("remembered layout" in line.text for line in app.live.state.lines)
        assert app.theme == "yolotui-dark"


async def test_the_footer_and_the_palette_know_the_charts_keys(tmp_path: Path) -> None:
    async with running(tmp_path, pause_at=40) as (app, pilot):
        await paused_at(app, pilot)
        app.live.chart("total").focus()
        await pilot.pause()
        labels = {row.label for _, row in available(app.screen)}
        assert {"cursor", "zoom in", "filter", "overlay", "findings", "machine", "panels"} <= labels
        assert "zoom out" not in labels  # all is shown already
