from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui.screens.arrange import MIN_CHART_HEIGHT, MIN_CHART_WIDTH, arrange

NAMES = ["lcls", "lbox", "lobj", "liou", "total", "mAP50", "grad norm", "lr", "img/s"]


@given(st.integers(10, 300), st.integers(1, 100), st.integers(0, 9), st.booleans(), st.booleans())
def test_nothing_overlaps_leaves_the_area_or_vanishes(
    width: int, height: int, count: int, table: bool, log: bool
) -> None:
    wanted = NAMES[:count] + ["epochs"] * table + ["log"] * log
    plan = arrange(width, height, NAMES[:count], table, log, top=3)
    assert sorted([*plan.places, *plan.no_room]) == sorted(wanted)
    covered: set[tuple[int, int]] = set()
    for name, place in plan.places.items():
        cells = {
            (x, y)
            for x in range(place.x, place.x + place.width)
            for y in range(place.y, place.y + place.height)
        }
        assert cells
        assert not covered & cells, name
        covered |= cells
        assert place.x >= 0
        assert place.x + place.width <= width
        assert place.y >= 3
        assert place.y + place.height <= 3 + height
        if name in NAMES:
            assert place.height >= MIN_CHART_HEIGHT
            assert place.width >= min(width, MIN_CHART_WIDTH) - 1


def test_a_common_terminal_shows_all_six_charts_the_table_and_the_log() -> None:
    for width, height in ((80, 19), (120, 31), (200, 55)):
        plan = arrange(width, height, NAMES[:6], True, True)
        assert not plan.no_room
        assert plan.places["epochs"].height >= 4


def test_a_wide_terminal_puts_the_log_beside_the_table() -> None:
    places = arrange(200, 55, NAMES[:6], True, True).places
    assert places["log"].y == places["epochs"].y
