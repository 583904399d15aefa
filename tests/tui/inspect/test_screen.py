"""The inspector under keys, on small steps with known numbers."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from inspecting import inspector, press, screen_text, steps_of, type_slice
from scenes import COARSE, HEAD, POSITIVES, canonical_pred, sliced_decode, snapshot

from engine.inspection.slots import Slot
from engine.layout import Layout
from engine.runs.snapshots import Snapshot
from tui.format import digits3
from tui.inspect.cell_panel import CellPanel
from tui.inspect.heatmap import HeatMap
from tui.inspect.picker import Picker
from tui.inspect.result_panel import ResultPanel
from tui.screens.help import HelpScreen

SIZES = ((80, 24), (120, 36), (200, 60))


def wrong() -> Snapshot:
    """A decode of the wrong slice, and nothing that says what ``assign`` should have made."""
    made = sliced_decode(Layout())[0]
    kept = {name: t for name, t in made.tensors.items() if not name.startswith(("boxes", "labels"))}
    return replace(made, tensors=kept)


@pytest.mark.parametrize("size", SIZES)
async def test_it_opens_on_the_first_positive(tmp_path: Path, size: tuple[int, int]) -> None:
    async with inspector(steps_of(snapshot()), tmp_path, size) as (app, _):
        assert app.inspector.inspection is not None
        assert app.inspector.inspection.slot == Slot(0, *POSITIVES[0])
        text = screen_text(app)
        assert "pred[0, 1, 2, 1, :]" in text
        assert "image 1/2" in text
        for panel in app.inspector.panels():
            shown = f"{panel.number} {panel.panel_name}"
            if panel.panel_name in ("picture",) and not panel.display:
                assert shown in text  # what has no room is named


@pytest.mark.parametrize("size", SIZES)
async def test_it_opens_on_a_mismatch_and_names_function_line_and_channels(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with inspector(steps_of(wrong()), tmp_path, size) as (app, _):
        text = " ".join(screen_text(app).split())
        assert "`decode` (my.py:41) reads conf x y w where x y w h are declared" in text
        assert "here: x y w h" in text
        rows = [line for line in screen_text(app).splitlines() if "<" in line]
        assert len(rows) >= 4


async def test_two_claims_are_both_named_where_there_is_little_room(tmp_path: Path) -> None:
    async with inspector(steps_of(sliced_decode(Layout())[0]), tmp_path, (80, 24)) as (app, _):
        text = screen_text(app)
        assert "`assign`: 4 of 96 slots" in text
        assert "`decode` (my.py:41)" in text


async def test_the_numbers_are_those_of_the_tensors(tmp_path: Path) -> None:
    async with inspector(steps_of(snapshot()), tmp_path, (200, 60)) as (app, _):
        raw = canonical_pred()[POSITIVES[0]]
        table = screen_text(app)
        for k, name in enumerate(("conf", "x", "y", "w", "h")):
            line = next(line for line in table.splitlines() if f"pred[0, 1, 2, 1, {k}]" in line)
            assert f"{name} " in line
            assert f"{raw[k]:.3g}"[:5] in line


async def test_the_raw_index_follows_the_declared_order(tmp_path: Path) -> None:
    layout = Layout("b (a c) y x")
    async with inspector(steps_of(snapshot(layout)), tmp_path, (200, 60)) as (app, _):
        # anchor 1 of 2, channel 3 of 8: merged they are 1 * 8 + 3
        assert "pred[0, 11, 1, 2]" in screen_text(app)


@pytest.mark.slow
async def test_moves_stay_inside_and_every_turn_comes_round(tmp_path: Path) -> None:
    async with inspector(steps_of(snapshot()), tmp_path) as (app, pilot):
        at = app.inspector.inspection
        assert at is not None
        await press(pilot, *"hhhhhhhh", *"kkkkkk")
        assert (at.slot.y, at.slot.x) == (0, 0)
        await press(pilot, "L", "J", "right", "down")
        assert (at.slot.y, at.slot.x) == (HEAD.grid_h - 1, HEAD.grid_w - 1)
        await press(pilot, "a", "a", "b", "b")
        assert (at.slot.image, at.slot.anchor) == (0, 1)
        assert f"{at.value():.3g}"[:4] in screen_text(app)


async def test_heads_keep_the_place(tmp_path: Path) -> None:
    async with inspector(steps_of(snapshot(heads=(HEAD, COARSE))), tmp_path) as (app, pilot):
        at = app.inspector.inspection
        assert at is not None
        at.stand(Slot(0, 0, 3, 5, 1))
        await press(pilot, "at")
        assert at.slot == Slot(1, 0, 1, 2, 1)
        assert "pred@1[0, 1, 2, 1, :]" in screen_text(app)


async def test_the_place_is_kept_where_a_batch_has_another_size(tmp_path: Path) -> None:
    """Steps of 4 x 6, 8 x 12 and 4 x 6 cells: the same part of the picture, and what is read is there."""
    large = replace(HEAD, grid_h=8, grid_w=12)
    shots = (snapshot(step=10), snapshot(step=20, heads=(large,)), snapshot(step=30))
    async with inspector(steps_of(*shots), tmp_path) as (app, pilot):
        at = app.inspector.inspection
        assert at is not None
        at.show("pred.conf")
        at.stand(Slot(0, 1, 3, 5, 1))
        await press(pilot, "left_square_bracket")
        assert (at.step, at.slot) == (20, Slot(0, 1, 7, 11, 1))
        assert at.grid().shape == (8, 12)
        assert "8x12" in screen_text(app)
        assert at.value() == float(shots[1].tensor("pred", 0)[1, 7, 11, 1, 0])
        await press(pilot, "left_square_bracket")
        assert (at.step, at.slot) == (10, Slot(0, 1, 3, 5, 1))


async def test_positives_can_be_told_without_colour(tmp_path: Path) -> None:
    async with inspector(steps_of(snapshot()), tmp_path) as (app, pilot):
        at = app.inspector.inspection
        assert at is not None
        await press(pilot, "l", "l", "l", "J")
        grid = app.inspector.query_one(HeatMap)
        rows = [grid.render_line(2 + y).text for y in range(HEAD.grid_h)]
        marked = {(y, x) for y, row in enumerate(rows) for x in range(HEAD.grid_w) if row[2 + 3 * x] in "●⊕⊖"}
        expected = {(y, x) for b, y, x, a in POSITIVES if (b, a) == (at.slot.image, at.slot.anchor)}
        assert marked == expected - {(at.slot.y, at.slot.x)}


async def test_signs_can_be_told_without_colour(tmp_path: Path) -> None:
    async with inspector(steps_of(snapshot()), tmp_path) as (app, pilot):
        at = app.inspector.inspection
        assert at is not None
        at.show("pred.w")
        at.stand(Slot(0, 1, 3, 0, 1))
        app.inspector.sync()
        await pilot.pause(0.05)
        grid = app.inspector.query_one(HeatMap)
        high = at.scale()[1]
        for y in range(HEAD.grid_h):
            line = grid.render_line(2 + y).text
            for x in range(HEAD.grid_w):
                value = float(at.grid()[y, x])
                if (y, x) == (at.slot.y, at.slot.x) or at.truths()[y, x]:
                    continue
                sign = "-" if value < 0 else "+"
                assert line[2 + 3 * x] == (sign if abs(value) / high >= 0.05 else " ")


async def test_nan_and_infinity_are_spelled_out_and_found(tmp_path: Path) -> None:
    pred = canonical_pred()
    pred[1, 2, 4, 0, 0] = math.nan
    pred[1, 3, 1, 0, 0] = math.inf
    async with inspector(steps_of(snapshot(pred=pred)), tmp_path) as (app, pilot):
        at = app.inspector.inspection
        assert at is not None
        at.show("pred.conf")
        await press(pilot, "x")
        assert at.slot == Slot(0, 1, 2, 4, 0)
        await press(pilot, "x")
        assert at.slot == Slot(0, 1, 3, 1, 0)
        text = screen_text(app)
        assert "NaN" in text
        assert "inf" in text
        await press(pilot, "x")
        assert "from the other end" in screen_text(app)


async def test_jumps_and_the_way_back(tmp_path: Path) -> None:
    async with inspector(steps_of(snapshot()), tmp_path) as (app, pilot):
        at = app.inspector.inspection
        assert at is not None
        await press(pilot, "p")
        assert at.slot == Slot(0, *POSITIVES[1])
        await press(pilot, "P")
        assert at.slot == Slot(0, *POSITIVES[0])
        await press(pilot, "greater_than_sign")
        flat = canonical_pred()[..., 0]
        assert float(flat[at.slot[1:]]) == float(flat.max())
        await press(pilot, "less_than_sign")
        assert float(flat[at.slot[1:]]) == float(flat.min())
        await press(pilot, "backspace", "backspace", "backspace")
        assert at.slot == Slot(0, *POSITIVES[1])
        await press(pilot, "w")
        total = sum(snapshot().tensors[f"loss.{term}.0"] for term in ("lcls", "lbox", "lobj"))
        assert float(total[at.slot[1:]]) == float(total.max())  # type: ignore[index]
        await press(pilot, "g")
        size = (canonical_pred() * 0.5 - 0.1).norm(dim=-1)
        assert float(size[at.slot[1:]]) == pytest.approx(float(size.max()))


async def test_a_mismatch_is_not_offered_without_a_reference(tmp_path: Path) -> None:
    async with inspector(steps_of(snapshot()), tmp_path) as (app, _):
        assert app.inspector.check_action("find", ("mismatch", False)) is False
        assert "n mismatch" not in screen_text(app)


async def test_a_place_is_typed_and_an_error_points_at_its_column(tmp_path: Path) -> None:
    async with inspector(steps_of(snapshot()), tmp_path) as (app, pilot):
        at = app.inspector.inspection
        assert at is not None
        await type_slice(pilot, "[1, -1, 2, 0]")
        assert at.slot == Slot(0, 1, 3, 2, 0)
        await type_slice(pilot, "[1, 9, 2, 0]")
        assert at.slot == Slot(0, 1, 3, 2, 0)
        lines = screen_text(app).splitlines()
        typed = next(k for k, line in enumerate(lines) if line.startswith(" :[1, 9"))
        assert lines[typed + 1].index("^") == lines[typed].index("9")
        assert "outside" in lines[typed + 1]


async def test_a_slice_shows_shape_channels_statistics_and_values(tmp_path: Path) -> None:
    async with inspector(steps_of(snapshot()), tmp_path, (200, 60)) as (app, pilot):
        await type_slice(pilot, "pred[0, :, :, 1, 1:5]")
        text = screen_text(app)
        assert "= x y w h" in text
        assert "[y 4, x 6, c 4]" in text
        values = canonical_pred()[0, :, :, 1, 1:5]
        assert f"max {digits3(float(values.max()))}" in text
        assert f"{float(values[0, 0, 0]):.3g}"[:5] in text
        await press(pilot, "5", "5")
        panel = app.inspector.query_one(ResultPanel)
        app.inspector.set_focus(panel)
        await press(pilot, "full_stop")
        assert panel.leading == (1,)
        await type_slice(pilot, "pred[0, 0, 0, 0, 1] +")
        assert "^" in screen_text(app)
        await press(pilot, "escape")
        assert "= x y w h" in screen_text(app)


@pytest.mark.parametrize("size", [(80, 24), pytest.param((120, 36), marks=pytest.mark.slow)])
async def test_a_row_wider_than_its_panel_shows_its_values(tmp_path: Path, size: tuple[int, int]) -> None:
    values = canonical_pred()[0].flatten(0, 2)[:, 1]
    async with inspector(steps_of(snapshot()), tmp_path, size) as (app, pilot):
        await type_slice(pilot, "pred.x[0] where pred.conf[0] > -1e9")
        await press(pilot, "5", "5")
        app.inspector.set_focus(app.inspector.query_one(ResultPanel))
        await press(pilot, "z")
        text = screen_text(app)
        assert "the arrows scroll" in text
        assert f"{float(values[0]):.3g}"[:5] in text


@pytest.mark.slow
async def test_the_command_line_remembers_and_completes(tmp_path: Path) -> None:
    async with inspector(steps_of(snapshot()), tmp_path) as (app, pilot):
        await type_slice(pilot, "mean(pred.w)")
        await press(pilot, "colon", "up")
        command = app.inspector.query_one("#command")
        assert command.value == "mean(pred.w)"  # type: ignore[attr-defined]
        await press(pilot, "down")
        assert command.value == ""  # type: ignore[attr-defined]
        await press(pilot, *"targ", "tab")
        assert command.value == "targets"  # type: ignore[attr-defined]
        await press(pilot, *"zzz", "q")
        assert app.is_running
        await press(pilot, "escape", "q")


@pytest.mark.slow
async def test_find_takes_the_quantity_that_is_typed(tmp_path: Path) -> None:
    async with inspector(steps_of(snapshot()), tmp_path) as (app, pilot):
        await press(pilot, "slash", *"loss", "space", *"obj")
        assert isinstance(app.screen, Picker)
        assert [choice.name for choice in app.screen.fitting()] == ["loss.lobj"]
        await press(pilot, "enter")
        assert app.inspector.inspection is not None
        assert app.inspector.inspection.quantity == "loss.lobj"
        await press(pilot, "slash", *"nothing like it", "enter")
        assert isinstance(app.screen, Picker)
        await press(pilot, "escape")
        assert app.screen is app.inspector


async def test_the_difference_to_the_reference_and_back(tmp_path: Path) -> None:
    async with inspector(steps_of(wrong()), tmp_path) as (app, pilot):
        at = app.inspector.inspection
        assert at is not None
        await press(pilot, "equals_sign")
        assert at.quantity.startswith("differ.")
        await press(pilot, "equals_sign")
        assert at.quantity == "conf"


@pytest.mark.slow
async def test_time_goes_back_and_forth_and_answers_when(tmp_path: Path) -> None:
    shots = []
    for step in (10, 20, 30):
        pred = canonical_pred()
        pred[POSITIVES[0]][0] = 1.0 if step < 30 else -2.0
        if step > 10:
            pred[POSITIVES[0]][1] = math.nan
        shots.append(snapshot(pred=pred, step=step))
    async with inspector(steps_of(*shots), tmp_path, (200, 60)) as (app, pilot):
        at = app.inspector.inspection
        assert at is not None
        at.show("pred.conf")
        assert at.step == 30
        await press(pilot, "left_square_bracket")
        assert at.step == 20
        await press(pilot, "left_curly_bracket")
        assert at.step == 10
        assert "1 of 3 captured" in screen_text(app)
        await press(pilot, "right_curly_bracket", "right_square_bracket")
        assert "last captured step" in screen_text(app)
        await press(pilot, "f", *"nonfinite", "enter")
        assert at.step == 20
        assert "first holds a NaN or infinity at step 20, after step 10" in screen_text(app)
        await press(pilot, "f", *"sign", "enter")
        assert at.step == 30
        await pilot.pause(0.4)
        assert "▲30" in screen_text(app)


async def test_colours_stay_through_time_unless_asked(tmp_path: Path) -> None:
    shots = [snapshot(pred=canonical_pred() * factor, step=factor) for factor in (1, 10)]
    async with inspector(steps_of(*shots), tmp_path) as (app, pilot):
        at = app.inspector.inspection
        assert at is not None
        at.show("pred.w")
        fixed = at.scale()
        await press(pilot, "left_square_bracket")
        assert at.scale() == fixed
        await press(pilot, "u")
        assert at.scale()[1] < fixed[1] / 5


async def test_bookmarks(tmp_path: Path) -> None:
    async with inspector(steps_of(snapshot()), tmp_path) as (app, pilot):
        at = app.inspector.inspection
        assert at is not None
        here = at.slot
        await press(pilot, "m", "p", "j", "apostrophe", "enter")
        assert at.slot == here
        await press(pilot, "m")
        assert not at.bookmarks


@pytest.mark.slow
async def test_copies_and_files_are_confirmed(here: Path) -> None:
    async with inspector(steps_of(snapshot()), here) as (app, pilot):
        at = app.inspector.inspection
        assert at is not None
        await press(pilot, "y")
        assert app.clipboard == str(at.value())
        assert f"copied conf at {at.slot}" in screen_text(app)
        app.inspector.set_focus(app.inspector.query_one(CellPanel))
        await press(pilot, "j", "y")
        assert app.clipboard.split("\t")[1] == "x"
        await press(pilot, "Y")
        assert len(app.clipboard.splitlines()) == 1 + 5 + HEAD.classes
        await press(pilot, "S", *"cell", "enter")
        file = here / "step10-cell-0-1-2-1.csv"
        assert f"saved {file}" in " ".join(screen_text(app).split())[-400:] or file.name in screen_text(app)
        rows = list(csv.DictReader(file.read_text().splitlines()))
        assert float(rows[1]["pred"]) == pytest.approx(float(canonical_pred()[POSITIVES[0]][1]))
        await press(pilot, "S", *"quantity", "space", *".npy", "enter")
        saved = np.load(here / "step10-conf.npy")
        assert np.allclose(saved, torch.sigmoid(canonical_pred()[..., 0]).numpy())
        await press(pilot, "S", *"svg", "enter")
        assert (here / "step10-screen.svg").read_text().startswith("<svg")
        await press(pilot, "S", *"svg", "enter")
        assert (here / "step10-screen-2.svg").exists()


async def test_panels_are_hidden_named_enlarged_and_come_back(tmp_path: Path) -> None:
    async with inspector(steps_of(snapshot()), tmp_path) as (app, pilot):
        await press(pilot, "3")
        assert "hidden: 3 picture" in screen_text(app)
        await press(pilot, "3", "tab", "z")
        assert app.inspector.enlarged == "cell"
        assert app.inspector.query_one(CellPanel).size.width == 120
        await press(pilot, "escape")
        assert app.inspector.enlarged is None
        await press(pilot, "q")
    assert app.return_value == 0


async def test_help_is_about_what_is_focused(tmp_path: Path) -> None:
    async with inspector(steps_of(snapshot()), tmp_path) as (app, pilot):
        await press(pilot, "question_mark")
        assert isinstance(app.screen, HelpScreen)
        assert app.screen.help_title == "Grid"
        await press(pilot, "escape", "tab", "question_mark")
        assert isinstance(app.screen, HelpScreen)
        assert app.screen.help_title == "Cell"


async def test_no_tensor_but_the_prediction(tmp_path: Path) -> None:
    """A snapshot from somebody's recorder: no images, targets, gradient or maps."""
    whole = snapshot()
    bare = replace(
        whole, tensors={name: t for name, t in whole.tensors.items() if name == "pred.0"}, paths=()
    )
    async with inspector(steps_of(bare), tmp_path) as (app, pilot):
        await press(pilot, "p", "w", "g", "x", "b", "c", "asterisk", "l", "plus", "plus", "minus")
        text = screen_text(app)
        assert "no image was captured" in text
        assert "pred[" in text


@pytest.mark.slow
async def test_a_grid_larger_than_its_panel_scrolls_with_the_cursor(tmp_path: Path) -> None:
    from engine.layout import Head

    head = Head(76, 60, 8, torch.tensor([[1.0, 1.0], [2.0, 3.0]]), 3)
    pred = canonical_pred(head)
    large = snapshot(heads=(head,), pred=pred)
    async with inspector(steps_of(large), tmp_path, (80, 24)) as (app, pilot):
        at = app.inspector.inspection
        assert at is not None
        grid = app.inspector.query_one(HeatMap)
        for keys in ("JJJJJJJJJJJJJJJJ", "LLLLLLLLLLLLLLL", "kk", "KKKK", "HHHH"):
            await press(pilot, *keys)
            rows, columns = grid.window()
            assert grid.top <= at.slot.y < grid.top + rows
            assert grid.left <= at.slot.x < grid.left + columns
            shown = grid.render_line(2 + at.slot.y - grid.top).text
            assert shown.startswith(f"{at.slot.y:>2} ")
        assert f"of {head.grid_h}" in grid.render_line(0).text
