"""Prediction to detections: scores, NMS per class, pixels of the original images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..boxes import nms_per_class, to_xyxy
from ..layout import Head
from ..letterbox import Letterbox
from .fusion import agreement, mean_boxes

CANDIDATES = 1000
"""Strongest (slot, class) pairs an image that enter NMS."""
MOST = 300
"""Detections an image that leave it."""
AGREES = 0.8
"""Overlap from which two slots mean one box; never less than what NMS drops, or neighbours would melt."""


def detect(
    preds: Sequence[Tensor],
    boxes: Sequence[Tensor],
    heads: Sequence[Head],
    sizes: Sequence[tuple[int, int]],
    *,
    softmax: bool = True,
    conf: float = 0.25,
    iou: float = 0.45,
    fused: bool = False,
) -> list[Tensor]:
    """Canonical predictions and their decoded boxes -> one ``[M, 6]`` an image.

    Rows are x1, y1, x2, y2 in pixels of the original image (clipped to it), score, class, strongest first.
    ``sizes``: (height, width) of the originals, which were letterboxed into the heads' input. A score is
    confidence x class probability; every class above ``conf`` gives a candidate, so that one slot may
    hold two classes.

    ``fused``: for a network that learnt each truth at several slots. What NMS keeps becomes the mean of the
    boxes that agree with it, weighted by score, and its score the mean of the two strongest of them: an
    object is told by several slots, what only one slot sees is seldom one.
    """
    slots = torch.cat([pred.flatten(1, 3) for pred in preds], dim=1).float()
    corners = to_xyxy(torch.cat([each.flatten(1, 3) for each in boxes], dim=1).float())
    classes = slots[..., 5:].softmax(-1) if softmax else slots[..., 5:].sigmoid()
    scores = slots[..., :1].sigmoid() * classes
    choose = _fused if fused else _kept
    return [
        choose(*_candidates(corners[k], scores[k], heads[0], size), conf, iou) for k, size in enumerate(sizes)
    ]


def _candidates(
    boxes: Tensor, scores: Tensor, head: Head, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixel boxes ``[N, 4]``, scores and classes ``[N]`` of an image's strongest pairs, strongest first."""
    score, pair = scores.flatten().topk(min(CANDIDATES, scores.numel()))
    slot, label = pair // scores.shape[1], pair % scores.shape[1]
    return undo_letterbox(boxes[slot], head, size), score, label


def _kept(boxes: Tensor, scores: Tensor, labels: Tensor, conf: float, iou: float) -> Tensor:
    above = scores > conf
    boxes, scores, labels = boxes[above], scores[above], labels[above]
    kept = nms_per_class(boxes, scores, labels, iou)[:MOST]
    return _rows(boxes[kept], scores[kept], labels[kept])


def _fused(boxes: Tensor, scores: Tensor, labels: Tensor, conf: float, iou: float) -> Tensor:
    """As ``_kept``; candidates below ``conf`` count too, or scores would depend on it."""
    told = (scores > 0) & boxes.isfinite().all(1)  # one NaN would spread into every mean
    boxes, scores, labels = boxes[told], scores[told], labels[told]
    above = int((scores > conf).sum())  # the first ones: no score rises by what others say
    kept = nms_per_class(boxes[:above], scores[:above], labels[:above], iou)[:MOST]
    weights = agreement(boxes, scores, labels, kept, max(AGREES, iou))
    score = weights.topk(min(2, len(scores)), dim=1).values.sum(1) / 2
    order = score.argsort(descending=True, stable=True)
    rows = _rows(mean_boxes(boxes, weights), score, labels[kept])[order]
    return rows[rows[:, 4] > conf]


def _rows(boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    return torch.cat((boxes, scores[:, None], labels[:, None].to(boxes)), dim=1)


def undo_letterbox(boxes: Tensor, head: Head, size: tuple[int, int]) -> Tensor:
    """Corner boxes ``[N, 4]`` in 0..1 of the input -> pixels of an original of ``size`` (height, width)."""
    height, width = size
    place = Letterbox.fit((width, height), (head.input_w, head.input_h))
    x = ((boxes[:, 0::2] * head.input_w - place.left) / place.scale_x).clamp(0, width)
    y = ((boxes[:, 1::2] * head.input_h - place.top) / place.scale_y).clamp(0, height)
    return torch.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), dim=1)
