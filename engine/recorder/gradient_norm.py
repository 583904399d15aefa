"""The norm of the gradients that a loop leaves in its parameters, as often as it costs next to nothing."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

SHARE = 0.002
"""Of a step's time on the loop's thread."""
LOOK = 20
"""Steps between two looks where there was no gradient: it is zeroed before the recorder is called."""


class GradientNorm:
    """Looked for every few steps: every step where the network is small beside its step."""

    def __init__(self, model: nn.Module) -> None:
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._next = 0

    @torch.no_grad()
    def measure(self, step: int, step_seconds: float) -> Tensor | None:
        """A scalar on the parameters' device; None where it is not measured at this step."""
        if step < self._next:
            return None
        started = time.perf_counter()
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True) if gradients else None
        spent = time.perf_counter() - started
        self._next = step + max(1 if gradients else LOOK, int(spent / (SHARE * max(step_seconds, 1e-6))))
        return norm
