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
    stretch: bool = False,
    one_class: bool = False,
) -> list[Tensor]:
    """Canonical predictions and their decoded boxes -> one ``[M, 6]`` an image.

    Rows are x1, y1, x2, y2 in pixels of the original image (clipped to it), score, class, strongest first.
    ``sizes``: (height, width) of the originals, which were letterboxed (``stretch``: stretched) into the
    heads' input. A score is confidence x class probability; every class above ``conf`` gives a candidate, so
    that one slot may hold two classes; ``one_class``: its strongest alone.

    ``fused``: for a network that learnt each truth at several slots. What NMS keeps becomes the mean of the
    boxes that agree with it, weighted by score; scores stay as they are.
    """
    slots = torch.cat([pred.flatten(1, 3) for pred in preds], dim=1).float()
    corners = to_xyxy(torch.cat([each.flatten(1, 3) for each in boxes], dim=1).float())
    classes = slots[..., 5:].softmax(-1) if softmax else slots[..., 5:].sigmoid()
    scores = slots[..., :1].sigmoid() * classes
    if one_class:
        strongest = scores.argmax(-1, keepdim=True)
        scores = torch.zeros_like(scores).scatter(-1, strongest, scores.gather(-1, strongest))
    found = []
    for k, size in enumerate(sizes):
        candidates, score, label = _candidates(corners[k], scores[k])
        pixels = undo_letterbox(candidates, heads[0], size, stretch)
        kept = _kept(pixels, score, label, conf, iou)
        places = _fused(pixels, score, label, kept, iou) if fused else pixels[kept]
        rows = torch.cat((places, score[kept, None], label[kept, None].to(pixels)), dim=1)
        # clipped last: two boxes that reach out of the picture are not more alike for it
        found.append(clipped(rows, size))
    return found


def _candidates(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes ``[N, 4]``, scores and classes ``[N]`` of an image's strongest pairs, strongest first."""
    score, pair = scores.flatten().topk(min(CANDIDATES, scores.numel()))
    slot, label = pair // scores.shape[1], pair % scores.shape[1]
    return boxes[slot], score, label


def _kept(boxes: Tensor, scores: Tensor, labels: Tensor, conf: float, iou: float) -> Tensor:
    """Indices of those that leave NMS, strongest first."""
    above = (scores > conf).nonzero().squeeze(1)
    return above[nms_per_class(boxes[above], scores[above], labels[above], iou)][:MOST]


def _fused(boxes: Tensor, scores: Tensor, labels: Tensor, kept: Tensor, iou: float) -> Tensor:
    """The places of those kept. Candidates of any score count, or a place would depend on the threshold."""
    finite = boxes.isfinite().all(1)  # one NaN would spread into every mean
    weights = agreement(boxes, torch.where(finite, scores, 0.0), labels, kept, max(AGREES, iou))
    means = mean_boxes(boxes.nan_to_num(0.0, 0.0, 0.0), weights)
    return torch.where(weights.sum(1, keepdim=True) > 0, means, boxes[kept])


def undo_letterbox(boxes: Tensor, head: Head, size: tuple[int, int], stretch: bool = False) -> Tensor:
    """Corner boxes ``[N, 4]`` in 0..1 of the input -> pixels of an original of ``size`` (height, width), not
    clipped to it. ``stretch``: it had been stretched into the input."""
    height, width = size
    place = Letterbox.fit((width, height), (head.input_w, head.input_h), stretch)
    x = (boxes[:, 0::2] * head.input_w - place.left) / place.scale_x
    y = (boxes[:, 1::2] * head.input_h - place.top) / place.scale_y
    return torch.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), dim=1)


def clipped(rows: Tensor, size: tuple[int, int]) -> Tensor:
    """Rows x1, y1, x2, y2, ... within a picture of ``size`` (height, width)."""
    height, width = size
    return torch.cat((rows[:, :4].clamp(min=0).minimum(rows.new_tensor([width, height] * 2)), rows[:, 4:]), 1)
