"""Boxes that mean the same object, and what they say together."""

from __future__ import annotations

import torch
from torch import Tensor

from ..boxes import pairwise_iou


def agreement(boxes: Tensor, scores: Tensor, labels: Tensor, kept: Tensor, overlap: float) -> Tensor:
    """How much each box counts for those that NMS kept: its score where it is of the same class and overlaps
    by ``overlap`` or more, 0 elsewhere.

    ``boxes``: ``[N, 4]`` corners, ``scores`` and ``labels`` ``[N]``, ``kept`` ``[K]`` of their indices ->
    ``[K, N]``.
    """
    agrees = (labels[kept, None] == labels) & (pairwise_iou(boxes[kept], boxes) >= overlap)
    # a box of no area overlaps nothing, itself included
    agrees[torch.arange(len(kept), device=kept.device), kept] = True
    return torch.where(agrees, scores, scores.new_zeros(()))


def mean_boxes(boxes: Tensor, weights: Tensor) -> Tensor:
    """The ``[K, 4]`` means of ``[N, 4]`` boxes under weights ``[K, N]``: weighted boxes fusion (Solovyev et
    al. 2019, https://arxiv.org/abs/1910.13302, section 3)."""
    return weights @ boxes / weights.sum(1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
