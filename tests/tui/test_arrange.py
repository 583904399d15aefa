from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui.screens.arrange import MIN_CHART_HEIGHT, MIN_CHART_WIDTH, arrange

NAMES = ["lcls", "lbox", "lobj", "liou", "total", "mAP50", "grad norm", "lr", "img/s"]


LOWER = ["epochs", "findings", "log", "machine"]


@given(st.integers(10, 300), st.integers(1, 100), st.integers(0, 9), st.sets(st.sampled_from(LOWER)))
def test_nothing_overlaps_leaves_the_area_or_vanishes(
    width: int, height: int, count: int, lower: set[str]
) -> None:
    plan = arrange(width, height, NAMES[:count], sorted(lower), top=3)
    assert sorted([*plan.places, *plan.no_room]) == sorted([*NAMES[:count], *lower])
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


@given(st.integers(10, 300), st.integers(12, 100), st.sets(st.sampled_from(LOWER), min_size=1))
def test_without_charts_the_panels_fill_the_area(width: int, height: int, lower: set[str]) -> None:
    plan = arrange(width, height, [], sorted(lower))
    rows = {y for place in plan.places.values() for y in range(place.y, place.y + place.height)}
    assert rows == set(range(height))


def test_a_common_terminal_shows_all_six_charts_the_table_and_the_log() -> None:
    for width, height in ((80, 19), (120, 31), (200, 55)):
        plan = arrange(width, height, NAMES[:6], ["epochs", "log"])
        assert not plan.no_room
        assert plan.places["epochs"].height >= 4


def test_a_comfortable_terminal_shows_everything() -> None:
    for width, height in ((120, 31), (200, 55)):
        plan = arrange(width, height, NAMES[:6], LOWER)
        assert not plan.no_room
        assert plan.places["machine"].height >= 6


def test_the_first_findings_take_the_logs_room_in_a_small_terminal() -> None:
    plan = arrange(80, 18, NAMES[:6], ["epochs", "findings", "log"])
    assert plan.no_room == ("log",)
    assert plan.places["findings"].height >= 3


def test_a_wide_terminal_puts_the_log_beside_the_table() -> None:
    places = arrange(200, 55, NAMES[:6], LOWER).places
    assert places["log"].y == places["epochs"].y
    assert places["machine"].x == places["log"].x
    assert places["findings"].x == places["epochs"].x
