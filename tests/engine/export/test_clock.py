from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.export.clock import StepClock


def test_a_pause_lies_between_the_steps_around_it() -> None:
    # Started at 100, three steps of 2 s, an event after the third at 106; resumed at 1000, two more steps.
    clock = StepClock([(0, 100.0), (3, 106.0), (3, 1000.0), (5, 1004.5)])
    times = clock.times(np.arange(1, 6), np.array([2.0, 4.0, 6.0, 8.0, 10.0]))
    assert times.tolist() == [102.0, 104.0, 106.0, 1002.0, 1004.0]


def test_no_step_is_later_than_the_event_after_it() -> None:
    clock = StepClock([(0, 100.0), (2, 103.0)])
    assert clock.times(np.arange(1, 4), np.array([2.0, 4.0, 6.0])).tolist() == [102.0, 103.0, 105.0]


@given(
    st.lists(st.floats(0.01, 5), min_size=1, max_size=40),
    st.lists(st.integers(0, 40), max_size=6),
    st.integers(1, 7),
)
def test_chunks_change_nothing_and_time_never_goes_back(
    seconds: list[float], after: list[int], size: int
) -> None:
    steps, elapsed = np.arange(1, len(seconds) + 1), np.cumsum(seconds)
    moments = [(0, 50.0)] + [(step, 60.0 + 30 * k) for k, step in enumerate(sorted(after))]
    whole = StepClock(moments).times(steps, elapsed)
    clock = StepClock(moments)
    parts = [clock.times(steps[k : k + size], elapsed[k : k + size]) for k in range(0, len(steps), size)]
    assert np.allclose(np.concatenate(parts), whole)
    assert (np.diff(whole) >= 0).all()
