from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.braille import Axis, blank, draw_spans, fit_axis, nice_step, to_text, x_ticks, y_labels
from tui.widgets.chart import smoothed

NO_GAP = np.zeros(2, dtype=bool)


def text_of(dots: np.ndarray) -> list[str]:
    return ["".join(chr(code) for code in row) for row in to_text(dots)]


def draw(
    values: list[float], rows: int = 1, gap: list[bool] | None = None, low: float = 0, high: float = 3
) -> list[str]:
    dots = blank(len(values) // 2, rows)
    series = np.array(values, dtype=float)
    draw_spans(dots, Axis(low, high), series, series, np.array(gap or [False] * len(values)))
    return text_of(dots)


def test_single_dots_are_those_of_unicode() -> None:
    dots = blank(1, 1)
    for (row, column), code in {(0, 0): 0x2801, (3, 0): 0x2840, (0, 1): 0x2808, (3, 1): 0x2880}.items():
        dots[:] = False
        dots[row, column] = True
        assert to_text(dots)[0, 0] == code
    dots[:] = True
    assert to_text(dots)[0, 0] == 0x28FF
    dots[:] = False
    assert to_text(dots)[0, 0] == ord(" ")


def test_a_flat_line_at_the_bottom_and_at_the_top() -> None:
    assert draw([0, 0, 0, 0]) == ["⣀⣀"]
    assert draw([3, 3, 3, 3]) == ["⠉⠉"]


def test_a_rising_line() -> None:
    assert draw([0, 1, 2, 3]) == ["⡠⠊"]


def test_a_jump_is_joined() -> None:
    dots = blank(1, 1)
    series = np.array([0.0, 3.0])
    draw_spans(dots, Axis(0, 3), series, series, NO_GAP)
    assert dots.any(axis=1).all(), "no row is left out between the two"


def test_missing_columns_are_bridged_and_gaps_are_not() -> None:
    nan = math.nan
    assert draw([0, nan, nan, 3, 3, 3]) == ["⡠⠊⠉"]
    assert draw([0, nan, nan, 3, 3, 3], gap=[False, True, False, False, False, False]) == ["⡀⠈⠉"]


def test_spans_fill_their_column() -> None:
    dots = blank(1, 1)
    draw_spans(dots, Axis(0, 3), np.array([0.0, 1.0]), np.array([3.0, 2.0]), NO_GAP)
    assert dots[:, 0].all()
    assert dots[:, 1].tolist() == [False, True, True, False]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60))
def test_every_known_column_has_a_dot(values: list[float]) -> None:
    series = np.array(values[: len(values) // 2 * 2])
    dots = blank(len(series) // 2, 5)
    axis = fit_axis(float(series.min()), float(series.max()))
    draw_spans(dots, axis, series, series, np.zeros(len(series), dtype=bool))
    assert dots.any(axis=0).all()


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9))
def test_an_axis_holds_its_bounds(low: float, span: float) -> None:
    axis = fit_axis(low, low + span)
    slack = 1e-6 * max(abs(low), span)
    assert axis.low <= low + slack
    assert axis.high >= low + span - slack
    assert axis.low < axis.high


@given(st.floats(1e-9, 1e9), st.floats(1, 1e6))
def test_a_log_axis_holds_its_bounds_and_inverts(low: float, factor: float) -> None:
    axis = fit_axis(low, low * factor, log=True)
    assert 0 < axis.low <= low * (1 + 1e-6)
    assert axis.high >= low * factor * (1 - 1e-6)
    for share in (0.0, 0.3, 1.0):
        assert math.isclose(float(axis.share(np.array([axis.value(share)]))[0]), share, abs_tol=1e-6)


def test_log_axes_have_no_place_for_zero() -> None:
    assert np.isnan(Axis(1, 10, log=True).share(np.array([0.0, -1.0]))).all()


@pytest.mark.parametrize(("rough", "step"), [(0.3, 0.5), (1, 1), (1.1, 2), (30, 50), (0, 1), (math.nan, 1)])
def test_nice_steps(rough: float, step: float) -> None:
    assert math.isclose(nice_step(rough), step)


def test_labels_stand_within_half_a_row_of_their_value() -> None:
    axis = fit_axis(0.03, 9.2)
    for row, value in y_labels(axis, 9).items():
        at = (1 - float(axis.share(np.array([value]))[0])) * 8
        assert abs(at - row) <= 0.5


def test_x_ticks_are_round_and_inside() -> None:
    ticks = x_ticks(0.02, 6.6, 40)
    assert ticks == [2, 4, 6]


def test_smoothing_does_not_lag_behind_a_trend() -> None:
    ramp = np.arange(200, dtype=float)
    assert np.abs(smoothed(ramp, 5)[60:140] - ramp[60:140]).max() < 1e-3


def test_smoothing_keeps_a_constant_and_leaves_nan_out() -> None:
    values = np.array([2.0, math.nan, 2.0, 2.0])
    assert np.array_equal(smoothed(values, 3), values, equal_nan=True)
