"""Test-time augmentation: one picture looked at mirrored and turned, and what all the looks say together.

A network sees each look a little differently; the mean of where they put a box lies nearer to the object than
any one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from ..boxes import nms_per_class
from .fusion import agreement, mean_boxes

Symmetry = Literal["flip_x", "flip_y", "transpose"]
"""What leaves an object what it is: the names of the augmentations that a training draws."""
SYMMETRIES: tuple[Symmetry, ...] = ("flip_x", "flip_y", "transpose")

AGREES = 0.7
"""Overlap from which two looks mean one box; never less than what NMS drops, or neighbours would melt."""


@dataclass(frozen=True)
class View:
    """One way to lay a picture: mirrored first, then rows made columns."""

    flip_x: bool = False
    flip_y: bool = False
    transpose: bool = False

    def of(self, images: Tensor) -> Tensor:
        """``[..., H, W]`` -> the same, laid so: ``[..., W, H]`` where it is transposed."""
        mirrored = [axis for axis, wanted in ((-1, self.flip_x), (-2, self.flip_y)) if wanted]
        images = images.flip(mirrored) if mirrored else images
        return images.transpose(-1, -2) if self.transpose else images

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Of a picture so laid; width and height, or height and width, alike."""
        return (size[1], size[0]) if self.transpose else size

    def back(self, boxes: Tensor, width: int, height: int) -> Tensor:
        """Corner boxes ``[N, 4]`` on the picture so laid -> on the picture of ``width`` x ``height``."""
        x1, y1, x2, y2 = (boxes[:, (1, 0, 3, 2)] if self.transpose else boxes).unbind(1)
        if self.flip_x:
            x1, x2 = width - x2, width - x1
        if self.flip_y:
            y1, y2 = height - y2, height - y1
        return torch.stack((x1, y1, x2, y2), dim=1)


PLAIN = (View(),)


def views_of(symmetries: Sequence[Symmetry]) -> tuple[View, ...]:
    """Every way to lay a picture that these leave open, the plain one first: 1, 2, 4 or 8."""
    choices = [(False, True) if name in symmetries else (False,) for name in SYMMETRIES]
    return tuple(View(*choice) for choice in product(*choices))


def merged(found: Sequence[Tensor], iou: float, conf: float, most: int) -> Tensor:
    """One picture's detections from several views, each ``[M, 6]`` x1, y1, x2, y2, score, class on the same
    axes -> those of all together, strongest first, at most ``most``, none below ``conf``.

    NMS over all of them at ``iou``. What is kept becomes the mean of the boxes that agree with it, weighted
    by score, and its score the mean over the views, a view without such a box counting as 0.
    """
    rows = torch.cat([*found])
    views = torch.arange(len(found), device=rows.device).repeat_interleave(
        torch.tensor([len(each) for each in found], device=rows.device)
    )
    boxes, scores, labels = rows[:, :4], rows[:, 4], rows[:, 5]
    kept = nms_per_class(boxes, scores, labels.long(), iou)
    weights = agreement(boxes, scores, labels, kept, max(AGREES, iou))
    strongest = weights.new_zeros(len(kept), len(found)).scatter_reduce(
        1, views.expand_as(weights), weights, "amax"
    )
    score = strongest.mean(1)
    together = torch.cat((mean_boxes(boxes, weights), score[:, None], labels[kept, None]), dim=1)
    order = score.argsort(descending=True, stable=True)
    return together[order][:most][score[order][:most] >= conf]
