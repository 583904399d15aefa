"""A small residual network that trains from random weights on two CPU cores in minutes.

Plain 3x3 convolutions, batch norm and ReLU, because those are what a CPU does fastest: a stem that drops to
a quarter of the resolution at once, three residual stages at strides 8, 16 and 32, a neck that adds the
coarse features back into the finer ones. 1.46 M parameters at the default width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from ..layout import Head
from .blocks import ConvBlock, HeadConv

CHOICES = (8, 16, 32)
CONF_BIAS, CLASS_BIAS = -4.0, -1.0
"""So that a fresh network says "nothing here": positives are a thousandth of all slots."""


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = ConvBlock(width, width, 3)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features + self.second(self.first(features)))


class Compact(nn.Module):
    """Images ``[B, 3, H, W]`` in 0..1 -> a canonical prediction a head, finest grid first."""

    def __init__(self, heads: Sequence[Head], width: int = 24) -> None:
        super().__init__()
        widths = [2 * width, 4 * width, 8 * width]
        blocks = (2, 2, 1)
        self.strides = tuple(head.stride for head in heads)
        self.stem = ConvBlock(3, width, 6, 4)
        self.stages = nn.ModuleList(
            nn.Sequential(ConvBlock(inside, outside, 3, 2), *(Residual(outside) for _ in range(count)))
            for inside, outside, count in zip([width, *widths], widths, blocks, strict=False)
        )
        self.laterals = nn.ModuleList(ConvBlock(coarse, fine, 1) for fine, coarse in pairwise(widths))
        self.mixes = nn.ModuleDict(
            {str(s): ConvBlock(widths[CHOICES.index(s)], widths[CHOICES.index(s)], 3) for s in self.strides}
        )
        self.heads = nn.ModuleDict(
            {
                str(head.stride): HeadConv(widths[CHOICES.index(head.stride)], head, CONF_BIAS, CLASS_BIAS)
                for head in heads
            }
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        current = self.stem(images)
        for stage in self.stages:
            current = stage(current)
            features.append(current)
        for k in (1, 0):
            coarse = self.laterals[k](features[k + 1])
            features[k] = features[k] + F.interpolate(coarse, size=features[k].shape[-2:], mode="nearest")
        return [self.heads[str(s)](self.mixes[str(s)](features[CHOICES.index(s)])) for s in self.strides]
