from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from engine.config import TrainConfig
from engine.learning.optimizer import build_optimizer
from engine.training.nonfinite import FiniteFlag, RunningStatistics


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))


def test_the_statistics_of_a_bad_pass_are_put_back() -> None:
    model = network().train()
    statistics = RunningStatistics(model)
    model(torch.randn(2, 3, 8, 8))
    before = {name: value.clone() for name, value in model.named_buffers()}
    statistics.keep()
    model(torch.full((2, 3, 8, 8), float("nan")))
    assert torch.isnan(statistics.flat).any()
    statistics.restore_unless(torch.tensor(False))
    for name, value in model.named_buffers():
        if value.is_floating_point():
            assert torch.equal(value, before[name]), name


def test_the_statistics_of_a_good_pass_stay() -> None:
    model = network().train()
    statistics = RunningStatistics(model)
    statistics.keep()
    model(torch.randn(2, 3, 8, 8) + 3)
    after = statistics.flat.clone()
    statistics.restore_unless(torch.tensor(True))
    assert torch.equal(statistics.flat, after)
    assert not torch.equal(statistics.flat, statistics._kept)


def test_buffers_stay_part_of_the_state() -> None:
    model = network()
    RunningStatistics(model)
    other = network()
    model.load_state_dict(other.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), other.buffers(), strict=True))


def test_the_flag_sticks() -> None:
    flag = FiniteFlag(torch.device("cpu"))
    flag.observe(torch.tensor(1.0))
    assert bool(flag.value)
    flag.observe(torch.tensor([1.0, float("inf")]))
    flag.observe(torch.tensor(1.0))
    assert not bool(flag.value)
    flag.reset()
    assert bool(flag.value)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_fused_optimizer_withholds_the_step_on_the_devices_own_word(name: Literal["sgd", "adamw"]) -> None:
    """What a GPU is given instead of a question to the host."""
    model = nn.Linear(2, 2)
    optimizer = build_optimizer(model, TrainConfig(optimizer=name, lr=0.1), torch.device("cpu"))
    before = [p.detach().clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, float("nan"))
    optimizer.grad_scale = None  # type: ignore[attr-defined]
    optimizer.found_inf = torch.ones(())  # type: ignore[attr-defined]
    optimizer.step()
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.found_inf = torch.zeros(())  # type: ignore[attr-defined]
    optimizer.step()
    assert all(
        (p != b).all() and torch.isfinite(p).all() for p, b in zip(model.parameters(), before, strict=True)
    )
    if name == "sgd":  # the momentum begins with the first step that counts
        for parameter, start in zip(model.parameters(), before, strict=True):
            torch.testing.assert_close(parameter.detach(), start - 0.1, atol=1e-3, rtol=0)
