"""The window and the cursor of the charts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui.viewport import FEWEST, Viewport

FIRST, LAST = 1, 1000
MOVES = st.one_of(
    st.tuples(st.just("zoom"), st.sampled_from([0.5, 2.0])),
    st.tuples(st.just("pan"), st.sampled_from([-0.5, 0.5])),
    st.tuples(st.just("move"), st.integers(-50, 50)),
    st.tuples(st.just("put"), st.integers(-10, 2000)),
)


def test_at_first_all_steps_are_shown_and_followed() -> None:
    view = Viewport()
    assert view.window(1, 100) == (1, 100)
    assert view.window(1, 101) == (1, 101)


def test_zoom_without_a_cursor_keeps_to_the_newest() -> None:
    view = Viewport()
    view.zoom(0.5, FIRST, LAST)
    assert view.window(FIRST, LAST) == (501, 1000)
    assert view.window(FIRST, LAST + 7) == (508, 1007)
    view.zoom(2, FIRST, LAST)
    assert view.size is None


def test_zoom_keeps_the_cursor_where_it_is_on_screen() -> None:
    view = Viewport()
    view.put(251, FIRST, LAST)
    view.zoom(0.5, FIRST, LAST)
    start, end = view.window(FIRST, LAST)
    assert end - start + 1 == 500
    assert abs((251 - start) / (end - start) - 0.25) < 0.01
    assert view.window(FIRST, LAST + 50) == (start, end)


def test_pan_stops_at_the_first_step_and_follows_at_the_last() -> None:
    view = Viewport()
    view.zoom(0.1, FIRST, LAST)
    for _ in range(40):
        view.pan(-0.5, FIRST, LAST)
    assert view.window(FIRST, LAST) == (1, 100)
    for _ in range(40):
        view.pan(0.5, FIRST, LAST)
    assert view.window(FIRST, LAST) == (901, 1000)
    assert view.window(FIRST, LAST + 1) == (902, 1001)


def test_a_moving_cursor_takes_the_window_along() -> None:
    view = Viewport(size=100)
    view.put(LAST, FIRST, LAST)
    for _ in range(150):
        view.move(-1, 60, FIRST, LAST)
    assert view.cursor == LAST - 300  # two steps a column
    start, end = view.window(FIRST, LAST)
    assert start <= view.cursor <= end


def test_a_column_reads_every_step_once() -> None:
    view = Viewport()
    view.put(500, FIRST, LAST)
    steps = view.column_steps(101, FIRST, LAST)
    before = view.reading(101, FIRST, LAST)
    view.move(1, 101, FIRST, LAST)
    assert view.reading(101, FIRST, LAST) == (before[1] + 1, before[1] + steps)


def test_where_there_is_room_a_column_is_one_step() -> None:
    view = Viewport()
    view.put(20, 1, 40)
    assert view.reading(60, 1, 40) == (20, 20)
    view.move(1, 60, 1, 40)
    assert view.reading(60, 1, 40) == (21, 21)


@given(st.lists(MOVES, max_size=30), st.integers(1, 3000), st.integers(10, 300))
def test_the_window_stays_inside_and_the_cursor_on_a_step(
    moves: list[tuple[str, float]], last: int, width: int
) -> None:
    view = Viewport()
    last = max(last, FEWEST)
    for name, amount in moves:
        if name == "move":
            view.move(int(amount), width, FIRST, last)
        elif name == "put":
            view.put(int(amount), FIRST, last)
        else:
            getattr(view, name)(amount, FIRST, last)
        start, end = view.window(FIRST, last)
        assert FIRST <= start < end <= last
        if view.cursor is not None:
            assert FIRST <= view.cursor <= last
            low, high = view.reading(width, FIRST, last)
            assert low <= view.cursor <= high
        if name in ("move", "put"):
            assert start <= view.cursor <= end  # type: ignore[operator]
