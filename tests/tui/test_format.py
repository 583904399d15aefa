from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.format import digits3, duration, gigabytes, rate, shorten, signed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (4.24, "4.24"),
        (148, "148"),
        (1.0, "1.00"),
        (0.000994, "0.000994"),
        (1.234e-5, "1.23e-5"),
        (9.999, "10.0"),
        (999.9, "1000"),
        (41290.4, "41290"),
        (123456, "1.23e5"),
        (-0.5, "-0.500"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
    ],
)
def test_three_digits(value: float, text: str) -> None:
    assert digits3(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300))
def test_three_digits_are_close_and_short(value: float) -> None:
    text = digits3(value)
    assert len(text.lstrip("-")) <= 9
    assert math.isclose(float(text), value, rel_tol=5.1e-3, abs_tol=1e-320)


def test_signs() -> None:
    assert (signed(1.5), signed(-1.5), signed(0)) == ("+1.50", "-1.50", "0")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00"),
        (480, "08:00"),
        (3723, "1:02:03"),
        (273600, "3d 04:00:00"),
        (math.nan, "--:--"),
        (-1, "--:--"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_seeds_units() -> None:
    assert gigabytes(10_700_000_000) == "10.7G"
    assert gigabytes(85_000_000) == "85M"
    assert rate(1.5) == "1.50it/s"
    assert rate(0.5) == "2.00s/it"


def test_a_cut_is_marked() -> None:
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcd", 4) == "abcd"
