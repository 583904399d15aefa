"""Parts that the networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..layout import Head


class ConvBlock(nn.Sequential):
    """Convolution, batch norm, activation; same padding."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1, leak: float = 0.0) -> None:
        activation = nn.LeakyReLU(leak, inplace=True) if leak else nn.ReLU(inplace=True)
        super().__init__(
            nn.Conv2d(inside, outside, kernel, stride, (kernel - 1) // 2, bias=False),
            nn.BatchNorm2d(outside),
            activation,
        )


class HeadConv(nn.Module):
    """The last convolution of one head: features -> canonical ``[B, H, W, A, 5 + C]``."""

    def __init__(self, inside: int, head: Head, conf_bias: float = 0.0, class_bias: float = 0.0) -> None:
        super().__init__()
        self.shape = (head.anchor_count, 5 + head.classes)
        self.conv = nn.Conv2d(inside, head.anchor_count * (5 + head.classes), 1)
        with torch.no_grad():
            bias = self.conv.bias.view(self.shape)  # type: ignore[union-attr]
            bias.zero_()
            bias[:, 0] = conf_bias
            bias[:, 5:] = class_bias

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.conv(features).permute(0, 2, 3, 1)
        # always contiguous: the caller slices channels, and a strided one costs more than this copy
        return out.reshape(*out.shape[:3], *self.shape).contiguous()
