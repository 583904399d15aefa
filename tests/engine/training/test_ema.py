"""Averaged weights: what the average is of."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.config import load_config
from engine.errors import UserError
from engine.training.ema import Ema
from engine.training.setup import put_together
from engine.training.step import Stepper


def test_it_is_the_exponential_average_once_the_ramp_is_over() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = Ema(model, 0.9, ramp=1e-9)
    nn.init.constant_(average.model.weight, 0.0)
    for step in range(1, 11):
        nn.init.constant_(model.weight, float(step))
        average.update()
    wanted = sum(0.1 * 0.9 ** (10 - step) * step for step in range(1, 11))
    assert float(average.model.weight) == pytest.approx(wanted, rel=1e-5)


def test_a_long_average_of_every_eighth_step_is_that_of_all() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = Ema(model, 0.999, ramp=1e-9)
    nn.init.constant_(average.model.weight, 0.0)
    wanted, changes = 0.0, 0
    for step in range(1, 4001):
        value = math.sin(step / 500)
        nn.init.constant_(model.weight, value)
        before = float(average.model.weight)
        average.update()
        changes += float(average.model.weight) != before
        wanted = 0.999 * wanted + 0.001 * value
    assert changes <= 4000 / 8
    assert float(average.model.weight) == pytest.approx(wanted, abs=0.01)


def test_counters_are_copied_and_statistics_averaged() -> None:
    model = nn.BatchNorm1d(2)
    average = Ema(model, 0.5, ramp=1e-9)
    model.running_mean += 4
    model.num_batches_tracked += 7
    average.update()
    assert average.model.running_mean.tolist() == [2, 2]
    assert int(average.model.num_batches_tracked) == 7


def test_a_decay_reaches_back_over_its_steps() -> None:
    decay = Ema.decay_over(200)
    ages = torch.arange(20_000, dtype=torch.float64)
    weights = (1 - decay) * decay**ages
    assert float((weights * (ages + 1)).sum()) == pytest.approx(200, rel=1e-3)
    assert Ema.decay_over(0.3) == 0, "less than a step: the weights as they are"


def test_a_share_of_the_run_is_turned_into_a_decay_when_its_length_is_known(tiny_config: Path) -> None:
    config = load_config(tiny_config, ["train.ema=0", "train.ema_share=0.25"])
    parts = put_together(config)
    parts.close()
    stepper = Stepper(parts.model, parts.blueprint.detector(), config.train, parts.compute)
    stepper.expect(4000)
    assert stepper.ema is not None
    assert stepper.ema.decay == pytest.approx(0.999)


def test_two_ways_at_once_are_refused(tiny_config: Path) -> None:
    with pytest.raises(UserError, match="ema and ema_share"):
        load_config(tiny_config, ["train.ema=0.9", "train.ema_share=0.25"])
