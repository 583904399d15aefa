"""Where the panels go, at any size; what a cell looks like, at any value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.format import digits3, signed
from tui.inspect.arrange import PANELS, Wishes, arrange
from tui.inspect.cell_panel import squeezed
from tui.inspect.colours import LEVELS, SHADE_LIMITS, SHADES
from tui.inspect.glyphs import NUMBER_WIDTH, cell_text, levels_of, nonfinite_text
from tui.inspect.heatmap import best_cell_width

sizes = st.integers(1, 90)


@given(
    width=st.integers(70, 260),
    height=st.integers(10, 90),
    wanted=st.sets(st.sampled_from(PANELS), min_size=1),
    grid=st.tuples(sizes, sizes),
    classes=st.integers(1, 90),
    rows=st.integers(1, 100),
)
def test_panels_do_not_overlap_leave_the_area_or_vanish(
    width: int, height: int, wanted: set[str], grid: tuple[int, int], classes: int, rows: int
) -> None:
    plan = arrange(width, height, wanted, Wishes(*grid, 5 + classes, rows), top=3)
    assert {*plan.places, *plan.no_room} == wanted
    assert not {*plan.places} & {*plan.no_room}
    taken: set[tuple[int, int]] = set()
    for place in plan.places.values():
        assert place.x >= 0
        assert place.y >= 3
        assert place.x + place.width <= width
        assert place.y + place.height <= 3 + height
        assert place.width > 0
        assert place.height > 0
        cells = {
            (x, y)
            for x in range(place.x, place.x + place.width)
            for y in range(place.y, place.y + place.height)
        }
        assert not cells & taken
        taken |= cells
    assert ("grid" in wanted) <= ("grid" in plan.places)  # the grid and the cell always have room
    assert ("cell" in wanted) <= ("cell" in plan.places)


@given(width=st.integers(20, 200), grid=st.tuples(sizes, sizes))
def test_the_widest_cells_that_show_the_whole_grid(width: int, grid: tuple[int, int]) -> None:
    cell = best_cell_width(width, *grid)
    label = len(str(grid[1] - 1)) + 1
    if label + grid[0] <= width:
        assert label + cell * grid[0] <= width
        assert cell == 3 or label + (cell + 1) * grid[0] > width


@given(value=st.floats(-10, 10, width=32), truth=st.booleans(), cell=st.sampled_from([1, 2, 3, NUMBER_WIDTH]))
def test_a_cells_text_tells_size_sign_and_truth(value: float, truth: bool, cell: int) -> None:
    level = int(levels_of(np.array([value], dtype=np.float32), (-4.0, 4.0), True)[0])
    share = min(abs(value) / 4, 1)
    assert abs(abs(level) / LEVELS - share) <= 1 / LEVELS
    mark, body = cell_text(value, level, truth, True, cell)
    assert len(mark) == 1
    if cell > 1:
        assert len(mark + body) == cell
    if not truth and cell in (2, 3):
        assert mark == (" " if share < 0.0499 else "-" if value < 0 else "+") or math.isclose(
            share, 0.05, rel_tol=1e-3
        )
        if all(abs(share - limit) > 1e-3 for limit in SHADE_LIMITS):
            assert body[0] == SHADES[sum(share >= limit for limit in SHADE_LIMITS)]
    if truth:
        assert mark in "●⊕⊖"


@given(value=st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_numbers_of_the_table_keep_their_columns(value: float) -> None:
    for text in (digits3(value), f"{signed(value)} <"):
        short = squeezed(text, 10)
        assert len(short) <= max(10, len(text) - 2)
        if short != text:
            assert float(short.split()[0]) == pytest.approx(value, rel=0.06)
    assert len(squeezed("-8.16e-13", 8)) == 8
    assert squeezed("+0.000500 <", 10) == "+5.0e-4 <"


def test_what_is_not_finite_is_told_apart_at_every_width() -> None:
    for cell in (2, 3, NUMBER_WIDTH):
        texts = ["".join(nonfinite_text(value, cell)) for value in (math.nan, math.inf)]
        assert all(len(text) == cell for text in texts)
        assert texts[0] != texts[1]
    assert "".join(nonfinite_text(-math.inf, 3)) != "".join(nonfinite_text(math.inf, 3))
