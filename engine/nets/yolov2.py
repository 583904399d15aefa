"""YOLOv2: Darknet-19 without its classifier, a passthrough, one head at stride 32.

Redmon & Farhadi 2017; layer by layer as in Darknet's ``yolov2-voc.cfg``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..layout import Head
from .blocks import ConvBlock, HeadConv

STRIDES = (32,)
LEAK = 0.1


class YOLOv2(nn.Module):
    """Images ``[B, 3, H, W]`` in 0..1 -> a list of one canonical prediction."""

    def __init__(self, heads: Sequence[Head]) -> None:
        super().__init__()
        self.early = nn.Sequential(
            *_stage(3, (32,)),
            nn.MaxPool2d(2),
            *_stage(32, (64,)),
            nn.MaxPool2d(2),
            *_stage(64, (128, 64, 128)),
            nn.MaxPool2d(2),
            *_stage(128, (256, 128, 256)),
            nn.MaxPool2d(2),
            *_stage(256, (512, 256, 512, 256, 512)),
        )
        self.late = nn.Sequential(
            nn.MaxPool2d(2),
            *_stage(512, (1024, 512, 1024, 512, 1024)),
            ConvBlock(1024, 1024, 3, leak=LEAK),
            ConvBlock(1024, 1024, 3, leak=LEAK),
        )
        self.passthrough = ConvBlock(512, 64, 1, leak=LEAK)
        self.fuse = ConvBlock(4 * 64 + 1024, 1024, 3, leak=LEAK)
        self.head = HeadConv(1024, heads[0])

    def forward(self, images: Tensor) -> list[Tensor]:
        fine = self.early(images)
        coarse = self.late(fine)
        fine = reorg(self.passthrough(fine))
        return [self.head(self.fuse(torch.cat((fine, coarse), dim=1)))]


def reorg(features: Tensor) -> Tensor:
    """``[B, C, 2H, 2W] -> [B, 4C, H, W]``: each 2 x 2 block becomes four channels."""
    return nn.functional.pixel_unshuffle(features, 2)


def _stage(inside: int, widths: Sequence[int]) -> list[nn.Module]:
    """3x3 and 1x1 convolutions in turn: wide ones look, narrow ones squeeze."""
    layers: list[nn.Module] = []
    for k, width in enumerate(widths):
        layers.append(ConvBlock(inside, width, 3 if k % 2 == 0 else 1, leak=LEAK))
        inside = width
    return layers
