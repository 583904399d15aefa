"""Averaged weights: what is validated, kept and used."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn


class Ema:
    """An exponential average of a model's weights and running statistics.

    The decay ramps up, ``decay * (1 - exp(-updates / ramp))``: early random weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float, ramp: float = 200.0) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.ramp = ramp
        self.updates = 0
        self._average, self._counters = _split(self.model)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.updates += 1
        decay = self.decay * (1 - math.exp(-self.updates / self.ramp))
        live, counters = _split(model)
        torch._foreach_lerp_(self._average, live, 1 - decay)
        for mine, theirs in zip(self._counters, counters, strict=True):
            mine.copy_(theirs)


def _split(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """What is averaged (floats) and what is copied (counters), always in the same order."""
    state = list(model.state_dict(keep_vars=False).values())
    return [t for t in state if t.is_floating_point()], [t for t in state if not t.is_floating_point()]
