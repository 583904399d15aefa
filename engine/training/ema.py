"""Averaged weights: what is validated, kept and used."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

MOST_STEPS_A_PASS, FEWEST_PASSES = 8, 100
"""How many steps one pass stands for at most, and how many passes make up an average at least."""


class Ema:
    """An exponential average of a model's weights and running statistics.

    The decay ramps up, ``decay * (1 - exp(-updates / ramp))``: early random weights are soon forgotten.

    A long average takes in one step in several, each for all of them: on a CPU the pass over all weights is
    some 3 % of a step, and an average over a thousand steps is the same of every eighth.
    """

    @staticmethod
    def decay_over(steps: float) -> float:
        """That of an average which reaches back over so many steps: the mean age of what is in it."""
        return 1 - 1 / max(steps, 1.0)

    def __init__(self, model: nn.Module, decay: float, ramp: float = 200.0) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.ramp = ramp
        self.updates = 0
        self._average = _State(self.model)
        self._live = _State(model)

    @torch.no_grad()
    def update(self) -> None:
        self.updates += 1
        steps = self._steps_a_pass()
        if self.updates % steps:
            return
        decay = (self.decay * (1 - math.exp(-self.updates / self.ramp))) ** steps
        (average, counters), (live, theirs) = self._average.now(), self._live.now()
        torch._foreach_lerp_(average, live, 1 - decay)
        if counters:
            torch._foreach_copy_(counters, theirs)

    def _steps_a_pass(self) -> int:
        reach = 1 / max(1 - self.decay, 1e-9)
        return max(1, min(MOST_STEPS_A_PASS, int(reach / FEWEST_PASSES)))


class _State:
    """What ``state_dict`` would hold, without making one: that takes a millisecond of a network's step."""

    def __init__(self, model: nn.Module) -> None:
        self._parameters: list[Tensor] = list(model.parameters())
        self._owners = [
            (module, name)
            for module in model.modules()
            for name, _ in module.named_buffers(recurse=False)
            if name not in module._non_persistent_buffers_set
        ]

    def now(self) -> tuple[list[Tensor], list[Tensor]]:
        """What is averaged (floats) and what is copied (counters), always in the same order. A network may
        put another tensor in a buffer's place; parameters stay the same objects."""
        state = [*self._parameters]
        state += [each for module, name in self._owners if (each := module._buffers[name]) is not None]
        return [t for t in state if t.is_floating_point()], [t for t in state if not t.is_floating_point()]
