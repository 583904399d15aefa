"""Simulated runs: identical noise hardly ever parts, and what is planted is found where it was planted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.runs.parting import PERSISTENCE, EpochMean, first_parting


def simulated(
    random: np.random.Generator, epochs: int, steps: int, wander: float = 0.0, at: int = 0, by: float = 0.0
) -> dict[int, EpochMean]:
    """A falling loss, unit noise a step; every epoch shifted by ``wander``, from epoch ``at`` by ``by``."""
    found = {}
    for epoch in range(1, epochs + 1):
        level = 2 + 5 * math.exp(-epoch / 15) + random.normal(0, wander) + (by if at and epoch >= at else 0)
        values = random.normal(level, 1, steps)
        found[epoch] = EpochMean(float(values.mean()), float(values.std()), steps)
    return found


@pytest.mark.parametrize(
    ("epochs", "steps", "wander"), [(40, 50, 0.0), (12, 4, 0.0), (40, 50, 0.5), (5, 3, 0.0)]
)
def test_identical_noise_does_not_part(epochs: int, steps: int, wander: float) -> None:
    random = np.random.default_rng(0)
    pairs = (
        first_parting(simulated(random, epochs, steps, wander), simulated(random, epochs, steps, wander))
        for _ in range(1000)
    )
    assert sum(pair.first is not None for pair in pairs) <= 10


@pytest.mark.parametrize("by", [2.0, -2.0])
def test_a_real_parting_is_found_at_its_epoch(by: float) -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        found = first_parting(simulated(random, 40, 50), simulated(random, 40, 50, at=20, by=by))
        assert found.first in (20, 21)
        assert math.copysign(1, found.difference) == -math.copysign(1, by)
        assert found.apart >= 20


def test_a_small_parting_is_found_late_or_not_but_hardly_early() -> None:
    random = np.random.default_rng(2)
    found = [
        first_parting(simulated(random, 40, 50), simulated(random, 40, 50, at=20, by=0.9)).first
        for _ in range(200)
    ]
    assert sum(epoch is not None for epoch in found) > 100
    assert sum(epoch is not None and epoch < 20 for epoch in found) <= 2


def test_what_does_not_last_is_no_parting() -> None:
    random = np.random.default_rng(3)
    first, second = simulated(random, 30, 50), simulated(random, 30, 50)
    for epoch in (10, 11, 29, 30):
        second[epoch] = EpochMean(second[epoch].mean + 10, second[epoch].spread, 50)
    found = first_parting(first, second)
    assert (found.first, found.apart) == (None, 4)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_units_and_order_do_not_matter(seed: int, scale: float, shift: float) -> None:
    random = np.random.default_rng(seed)
    first, second = simulated(random, 20, 10), simulated(random, 20, 10, at=8, by=1.5)

    def changed(run: dict[int, EpochMean]) -> dict[int, EpochMean]:
        return {e: EpochMean(m.mean * scale + shift, m.spread * scale, m.steps) for e, m in run.items()}

    found = first_parting(first, second)
    assert first_parting(changed(first), changed(second)).first == found.first
    assert first_parting(second, first).first == found.first


def test_the_same_bits_do_not_part_and_constants_do() -> None:
    same = {epoch: EpochMean(1.0, 0.0, 10) for epoch in range(1, 6)}
    other = {epoch: EpochMean(1.5, 0.0, 10) for epoch in range(1, 6)}
    assert first_parting(same, dict(same)).first is None
    assert first_parting(same, other).first == 1


def test_too_few_epochs_or_values_are_not_compared() -> None:
    run = {
        1: EpochMean(1, 0.1, 10),
        2: EpochMean(math.nan, 0.1, 10),
        3: EpochMean(1, 0.1, 1),
        4: EpochMean(9, 0.1, 9),
    }
    found = first_parting(run, {epoch: EpochMean(5, 0.1, 10) for epoch in range(1, 10)})
    assert (found.epochs, found.first) == (2, None)
    assert found.epochs < PERSISTENCE
