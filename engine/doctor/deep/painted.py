"""Pictures for a scene: rectangles of the classes' colours where its truths are."""

from __future__ import annotations

import torch
from torch import Tensor

from ...boxes import to_xyxy
from ..inputs import Scene
from ..stage import Stage


def painted(stage: Stage, made: Scene) -> Tensor:
    """``[B, 3, H, W]`` in 0..1, on noise."""
    width, height = stage.input_wh
    g = torch.Generator().manual_seed(72)
    images = 0.35 + 0.1 * torch.rand(made.batch, 3, height, width, generator=g)
    for image, boxes, labels in zip(images, made.boxes, made.labels, strict=True):
        for box, label in zip(to_xyxy(boxes), labels.tolist(), strict=True):
            x1, y1, x2, y2 = (box * torch.tensor([width, height] * 2)).round().long().clamp(min=0).tolist()
            colour = torch.rand(3, generator=torch.Generator().manual_seed(label)).view(3, 1, 1)
            image[:, y1:y2, x1:x2] = colour
    return images
