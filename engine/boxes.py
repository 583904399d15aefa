"""Boxes: formats, the IoU family, non-maximum suppression.

Two formats, named in every function: ``cxcywh`` (centre and size) and ``xyxy`` (corners). Any unit
will do as long as both arguments share it. Areas are continuous: no pixel is added to a width.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

IouKind = Literal["iou", "giou", "diou", "ciou"]


def to_xyxy(boxes: Tensor) -> Tensor:
    """``[..., 4]`` cx, cy, w, h -> x1, y1, x2, y2."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def to_cxcywh(boxes: Tensor) -> Tensor:
    """``[..., 4]`` x1, y1, x2, y2 -> cx, cy, w, h."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((low + high) / 2, high - low), dim=-1)


def iou(a: Tensor, b: Tensor, kind: IouKind = "iou", eps: float = 1e-9) -> Tensor:
    """Overlap of corner boxes, elementwise with broadcasting: ``[..., 4], [..., 4] -> [...]``.

    ``iou`` is in 0..1, ``giou`` (Rezatofighi 2019) and ``diou`` (Zheng 2020) in -1..1,
    ``ciou`` (the same) in -1.5..1: its aspect term takes up to half of one more.
    A box without area overlaps nothing: 0, never NaN. As in the CIoU paper's own code, the
    weight of the aspect term carries no gradient. Half-precision boxes are computed in float32:
    in float16 a pixel box's area overflows and ``eps`` is 0.
    """
    if a.dtype in (torch.float16, torch.bfloat16) or b.dtype in (torch.float16, torch.bfloat16):
        a, b = a.float(), b.float()
    ax1, ay1, ax2, ay2 = a.unbind(-1)
    bx1, by1, bx2, by2 = b.unbind(-1)
    aw, ah, bw, bh = ax2 - ax1, ay2 - ay1, bx2 - bx1, by2 - by1
    overlap_w = (torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)).clamp(min=0)
    overlap_h = (torch.minimum(ay2, by2) - torch.maximum(ay1, by1)).clamp(min=0)
    intersection = overlap_w * overlap_h
    union = aw * ah + bw * bh - intersection
    overlap = _share(intersection, union, eps)
    if kind == "iou":
        return overlap
    hull_w = torch.maximum(ax2, bx2) - torch.minimum(ax1, bx1)
    hull_h = torch.maximum(ay2, by2) - torch.minimum(ay1, by1)
    if kind == "giou":
        hull = hull_w * hull_h
        return overlap - _share(hull - union, hull, eps)
    centres = ((bx1 + bx2 - ax1 - ax2) ** 2 + (by1 + by2 - ay1 - ay2) ** 2) / 4
    distance = _share(centres, hull_w**2 + hull_h**2, eps)
    if kind == "diou":
        return overlap - distance
    angle = torch.atan(bw / bh.clamp(min=eps)) - torch.atan(aw / ah.clamp(min=eps))
    aspect = (4 / math.pi**2) * angle**2
    with torch.no_grad():
        weight = aspect / (1 - overlap + aspect).clamp(min=eps)
    return overlap - distance - weight * aspect


def _share(part: Tensor, whole: Tensor, eps: float) -> Tensor:
    """``part / whole``; of nothing 0, without a gradient, where a clamp alone would give one of 1 / eps."""
    return (part / whole.clamp(min=eps)).where(whole > eps, 0)


def pairwise_iou(a: Tensor, b: Tensor, kind: IouKind = "iou") -> Tensor:
    """Every corner box of ``a`` with every one of ``b``: ``[..., N, 4], [..., M, 4] -> [..., N, M]``."""
    return iou(a.unsqueeze(-2), b.unsqueeze(-3), kind)


def shape_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of sizes laid on one centre: ``[..., N, 2], [..., M, 2]`` (w, h) ``-> [..., N, M]``.

    YOLOv2's measure for choosing an anchor (Redmon & Farhadi 2017, section 2).
    """
    a, b = a.unsqueeze(-2), b.unsqueeze(-3)
    intersection = torch.minimum(a, b).prod(-1)
    return intersection / (a.prod(-1) + b.prod(-1) - intersection).clamp(min=1e-12)


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of the corner boxes ``[N, 4]`` that survive greedy suppression, strongest first.

    A box is dropped where its IoU with a stronger survivor is above ``threshold``; equal scores
    keep their order, so the outcome is the same on every machine.
    """
    order = scores.argsort(descending=True, stable=True)
    if order.numel() == 0:
        return order
    overlaps = (pairwise_iou(boxes[order], boxes[order]) > threshold).cpu().numpy()
    alive = [True] * len(order)
    kept: list[int] = []
    for row in range(len(order)):
        if not alive[row]:
            continue
        kept.append(row)
        for loser in overlaps[row, row + 1 :].nonzero()[0]:
            alive[row + 1 + int(loser)] = False
    return order[torch.tensor(kept, device=order.device)]


def nms_per_class(boxes: Tensor, scores: Tensor, classes: Tensor, threshold: float) -> Tensor:
    """``nms`` within each class: two classes may share one box. ``classes``: ``[N]`` integers."""
    if boxes.numel() == 0:
        return boxes.new_zeros(0, dtype=torch.long)
    kept = [
        members[nms(boxes[members], scores[members], threshold)]
        for members in ((classes == label).nonzero().squeeze(1) for label in classes.unique())  # type: ignore[no-untyped-call]
    ]
    indices = torch.cat(kept)
    return indices[scores[indices].argsort(descending=True, stable=True)]
