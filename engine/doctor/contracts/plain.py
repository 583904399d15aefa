"""SGD and AdamW in plain tensor arithmetic, for the doctor's own few steps.

The first optimizer of ``torch.optim`` that a process makes imports ``torch._dynamo``: nearly two seconds on
one core, several times what the steps themselves take. This one answers to the same hooks and groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ...config import TrainConfig
from ...learning.optimizer import groups_of


class PlainOptimizer(torch.optim.Optimizer):
    """``kind``: ``sgd`` (``momentum`` as in torch: the buffer is the decayed sum of the gradients) or
    ``adamw`` (Loshchilov and Hutter 2019, decay beside the gradient, with bias correction)."""

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        kind: str = "adamw",
        lr: float = 1e-3,
        momentum: float = 0.9,
        beta2: float = 0.999,
    ) -> None:
        self._kind = kind
        super().__init__(groups, {"lr": lr, "momentum": momentum, "beta2": beta2, "weight_decay": 0.0})

    @classmethod
    def of(cls, model: nn.Module, config: TrainConfig) -> PlainOptimizer:
        """What ``learning.build_optimizer`` makes of the same settings."""
        return cls(groups_of(model, config), config.optimizer, config.lr, config.momentum, config.beta2)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self.param_groups.append({**self.defaults, **param_group})

    def zero_grad(self, set_to_none: bool = True) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    (self._sgd if self._kind == "sgd" else self._adamw)(p, p.grad, group)

    def _sgd(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        gradient = gradient.add(p, alpha=group["weight_decay"])
        state = self.state[p]
        if "buffer" not in state:
            state["buffer"] = gradient.clone()
        else:
            state["buffer"].mul_(group["momentum"]).add_(gradient)
        p.sub_(state["buffer"], alpha=group["lr"])

    def _adamw(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, first, second = self.state[p], group["momentum"], group["beta2"]
        if not state:
            state |= {"step": 0, "mean": torch.zeros_like(p), "square": torch.zeros_like(p)}
        state["step"] += 1
        p.mul_(1 - group["lr"] * group["weight_decay"])
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        size = (state["square"] / (1 - second ** state["step"])).sqrt_().add_(1e-8)
        p.addcdiv_(state["mean"], size, value=-group["lr"] / (1 - first ** state["step"]))
