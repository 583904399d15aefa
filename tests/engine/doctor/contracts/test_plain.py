"""The doctor's own optimizer takes the steps that the trainer's takes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from engine.config import TrainConfig
from engine.doctor.contracts.plain import PlainOptimizer
from engine.learning.optimizer import build_optimizer, set_rate


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_the_steps_are_those_of_torch(kind: str) -> None:
    torch.manual_seed(0)
    config = TrainConfig(optimizer=kind, lr=0.02, momentum=0.8, beta2=0.9, weight_decay=0.1)
    mine = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    theirs = copy.deepcopy(mine)
    optimizers = [PlainOptimizer.of(mine, config), build_optimizer(theirs, config, torch.device("cpu"))]
    images = torch.rand(2, 3, 8, 8)
    for k in range(5):
        for model, optimizer in zip((mine, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            model(images).square().sum().backward()
            set_rate(optimizer, 0.02 / (k + 1))
            optimizer.step()
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_hooks_around_its_step_are_called() -> None:
    layer = nn.Linear(2, 2)
    optimizer = PlainOptimizer([{"params": list(layer.parameters())}])
    seen: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert seen == ["before", "after"]
