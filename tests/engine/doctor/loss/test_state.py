"""A factor that counts calls is told from a divisor averaged over the batches, which is legitimate."""

from __future__ import annotations

import pytest

from engine.doctor.loss.probe import CALLS, _even_steps


@pytest.mark.parametrize("length", [10, 50, 1000, 100_000])
@pytest.mark.parametrize("before", [0, 3, 17])
def test_a_ramp_is_even(length: int, before: int) -> None:
    assert _even_steps([38.0 * (before + k + 1) / length for k in range(CALLS)])


@pytest.mark.parametrize("momentum", [0.5, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999])
@pytest.mark.parametrize("start", [1.0, 10.0, 100.0])
def test_an_averaged_divisor_is_not(momentum: float, start: float) -> None:
    for positives in range(1, 121):
        for calls_before in (0, 5, 40):
            share = [momentum ** (calls_before + k) for k in range(CALLS)]
            divisors = [start * s + positives * (1 - s) for s in share]
            assert not _even_steps([50.0 / d for d in divisors]), positives


def test_what_stands_still_is_not() -> None:
    assert not _even_steps([3.0] * CALLS)
    assert not _even_steps([float("nan")] * CALLS)
    assert not _even_steps([0.0] * CALLS)
