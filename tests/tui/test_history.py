from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.runs.codec import MISSING
from tui.history import History


def fill(history: History, values: list[float], batch: int = 100, first: int = 1) -> None:
    for start in range(0, len(values), batch):
        part = values[start : start + batch]
        history.append(range(first + start, first + start + len(part)), [[value] for value in part])


def test_a_column_a_step_gives_the_values_back() -> None:
    history = History(["a"])
    fill(history, [3.0, 1.0, 2.0])
    columns = history.columns("a", 1, 3, 3)
    assert columns.low.tolist() == columns.high.tolist() == columns.mean.tolist() == [3.0, 1.0, 2.0]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=600),
    st.integers(1, 90),
    st.sampled_from([16, 64]),
    st.integers(1, 50),
)
def test_the_pyramid_forgets_neither_extremes_nor_means(
    values: list[float], batch: int, capacity: int, n: int
) -> None:
    history = History(["a"], capacity=capacity)
    fill(history, values, batch=min(batch, capacity))
    columns = history.columns("a", 1, len(values), n)
    assert np.nanmin(columns.low) == min(values)
    assert np.nanmax(columns.high) == max(values)
    assert (columns.low[np.isfinite(columns.low)] <= columns.high[np.isfinite(columns.high)]).all()


def test_non_finite_values_leave_a_gap_and_no_trace_in_the_bounds() -> None:
    history = History(["a"])
    fill(history, [1.0, math.nan, math.inf, 2.0])
    columns = history.columns("a", 1, 4, 4)
    assert columns.gap.tolist() == [False, True, True, False]
    assert np.isnan(columns.low[1:3]).all()
    assert np.nanmax(columns.high) == 2.0
    assert history.bad("a") == 2


@pytest.mark.slow
def test_memory_does_not_grow_with_the_steps() -> None:
    history = History(["a"], capacity=256)
    rng = np.random.default_rng(0)
    for start in range(0, 1_000_000, 50_000):
        steps = range(start + 1, start + 50_001)
        history.append(steps, rng.random((50_000, 1)).tolist())
    size = sum(level.low.size for level in history._levels)
    assert size <= 256 * 8
    columns = history.columns("a", 1, 1_000_000, 200)
    assert np.isfinite(columns.mean).sum() > 100
    assert abs(np.nanmean(columns.mean) - 0.5) < 0.01
    recent = history.columns("a", 999_900, 1_000_000, 101)
    assert np.isfinite(recent.mean).all()


def test_a_resumed_run_starts_late() -> None:
    history = History(["a"], capacity=64)
    fill(history, [5.0] * 300, first=41_290, batch=40)
    assert history.first == 41_290
    assert np.nanmin(history.columns("a", 41_290, 41_589, 30).low) == 5.0


def test_mean_and_its_error() -> None:
    history = History(["a"])
    fill(history, [1.0, 2.0, 3.0, 4.0])
    mean, error = history.mean("a", 1, 4)
    assert mean == 2.5
    assert math.isclose(error, math.sqrt(1.25) / 2)
    assert history.mean("a", 3, 4)[0] == 3.5
    assert math.isnan(history.mean("a", 100, 200)[0])


def test_a_value_that_was_not_measured_is_no_bad_one() -> None:
    history = History(["norm"])
    history.append([1, 2, 3], [[1.0], [float(MISSING)], [math.nan]])
    reading = history.reading("norm", 1, 3)
    assert (reading.finite, reading.bad) == (1, 1)
