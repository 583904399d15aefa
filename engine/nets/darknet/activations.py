"""Darknet's activations by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

LEAK = 0.1


class HardMish(nn.Module):
    """x above 0, x^2 / 2 + x down to -2, 0 below."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x + 2).clamp(0, 2) / 2


_MADE: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "leaky": lambda: nn.LeakyReLU(LEAK, inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "logistic": nn.Sigmoid,
    "mish": lambda: nn.Mish(inplace=True),
    "swish": lambda: nn.SiLU(inplace=True),
    "hard_mish": HardMish,
    "tanh": nn.Tanh,
    "elu": lambda: nn.ELU(inplace=True),
    "selu": lambda: nn.SELU(inplace=True),
}


def activation(name: str) -> nn.Module:
    """``name``: one of ``spec.ACTIVATIONS``."""
    return _MADE[name]()
