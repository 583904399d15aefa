from __future__ import annotations

from itertools import pairwise

import pytest

from engine.config import TrainConfig
from engine.learning.schedule import learning_rate


def test_darknets_burn_in_prints_what_the_seeds_log_prints() -> None:
    """lr 0.000994 at iteration 722 of 722 in the first epoch, 0.001000 from then on."""
    config = TrainConfig(lr=1e-3, warmup="power4", warmup_epochs=1)
    rates = [learning_rate(step, 102 * 722, 722, config) for step in (0, 721, 722, 73_000)]
    assert rates[0] == 0
    assert f"{rates[1]:.6f}" == "0.000994"
    assert f"{rates[2]:.6f}" == f"{rates[3]:.6f}" == "0.001000"


def test_linear_warm_up_then_cosine_to_its_end() -> None:
    config = TrainConfig(lr=0.1, warmup_epochs=1, schedule="cosine", lr_end=0.02)
    rates = [learning_rate(step, 110, 10, config) for step in range(110)]
    assert rates[:10] == pytest.approx([0.01 * (k + 1) for k in range(10)])
    assert max(rates) == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.002)


def test_steps_drop_at_their_shares() -> None:
    config = TrainConfig(lr=1.0, warmup_epochs=0, schedule="step", milestones=[0.5, 0.75], gamma=0.1)
    rates = [learning_rate(step, 100, 10, config) for step in (0, 49, 50, 74, 75, 99)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_warm_up_longer_than_the_run_is_cut() -> None:
    config = TrainConfig(lr=1.0, warmup_epochs=100)
    assert learning_rate(4, 5, 10, config) == pytest.approx(1.0)
