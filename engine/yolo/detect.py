"""Prediction to detections: scores, NMS per class, pixels of the original images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..boxes import nms_per_class, to_xyxy
from ..layout import Head
from ..letterbox import Letterbox

CANDIDATES = 1000
"""Strongest (slot, class) pairs an image that enter NMS."""
MOST = 300
"""Detections an image that leave it."""


def detect(
    preds: Sequence[Tensor],
    boxes: Sequence[Tensor],
    heads: Sequence[Head],
    sizes: Sequence[tuple[int, int]],
    *,
    softmax: bool = True,
    conf: float = 0.25,
    iou: float = 0.45,
) -> list[Tensor]:
    """Canonical predictions and their decoded boxes -> one ``[M, 6]`` an image.

    Rows are x1, y1, x2, y2 in pixels of the original image (clipped to it), score, class, strongest first.
    ``sizes``: (height, width) of the originals, which were letterboxed into the heads' input. A score is
    confidence x class probability; every class above ``conf`` gives a candidate, so that one slot may
    hold two classes.
    """
    slots = torch.cat([pred.flatten(1, 3) for pred in preds], dim=1).float()
    corners = to_xyxy(torch.cat([each.flatten(1, 3) for each in boxes], dim=1).float())
    classes = slots[..., 5:].softmax(-1) if softmax else slots[..., 5:].sigmoid()
    scores = slots[..., :1].sigmoid() * classes
    return [_detect_image(corners[k], scores[k], heads[0], size, conf, iou) for k, size in enumerate(sizes)]


def _detect_image(
    boxes: Tensor, scores: Tensor, head: Head, size: tuple[int, int], conf: float, threshold: float
) -> Tensor:
    strongest = scores.flatten().topk(min(CANDIDATES, scores.numel()))
    kept = strongest.indices[strongest.values > conf]
    slot, label = kept // scores.shape[1], kept % scores.shape[1]
    score = scores.flatten()[kept]
    pixels = undo_letterbox(boxes[slot], head, size)
    survivors = nms_per_class(pixels, score, label, threshold)[:MOST]
    return torch.cat((pixels[survivors], score[survivors, None], label[survivors, None].to(pixels)), dim=1)


def undo_letterbox(boxes: Tensor, head: Head, size: tuple[int, int]) -> Tensor:
    """Corner boxes ``[N, 4]`` in 0..1 of the input -> pixels of an original of ``size`` (height, width)."""
    height, width = size
    place = Letterbox.fit((width, height), (head.input_w, head.input_h))
    x = ((boxes[:, 0::2] * head.input_w - place.left) / place.scale_x).clamp(0, width)
    y = ((boxes[:, 1::2] * head.input_h - place.top) / place.scale_y).clamp(0, height)
    return torch.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), dim=1)
