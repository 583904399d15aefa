# ruff: noqa: B905  (a stranger's file, in its own style)
"""A one-head detector in modern style: everything vectorised, losses of torch.nn.functional, a box class."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Boxes:
    """Centre and size of any number of boxes."""

    cx: Tensor
    cy: Tensor
    w: Tensor
    h: Tensor

    @classmethod
    def from_tensor(cls, t: Tensor) -> Boxes:
        return cls(*t.unbind(-1))

    @property
    def x1(self) -> Tensor:
        return self.cx - 0.5 * self.w

    @property
    def y1(self) -> Tensor:
        return self.cy - 0.5 * self.h

    @property
    def x2(self) -> Tensor:
        return self.cx + 0.5 * self.w

    @property
    def y2(self) -> Tensor:
        return self.cy + 0.5 * self.h

    @property
    def area(self) -> Tensor:
        return self.w * self.h


@functools.cache
def cell_index(height: int, width: int) -> Tensor:
    """[H, W, 1, 2], column then row."""
    index = torch.arange(height * width)
    col = index % width
    row = torch.div(index, width, rounding_mode="floor")
    return torch.stack((col, row), -1).reshape(height, width, 1, 2).float()


def grid_wh(head, like: Tensor) -> Tensor:
    return like.new_tensor([head.grid_w, head.grid_h])


def intersection(p: Boxes, q: Boxes) -> Tensor:
    w = torch.minimum(p.x2, q.x2) - torch.maximum(p.x1, q.x1)
    h = torch.minimum(p.y2, q.y2) - torch.maximum(p.y1, q.y1)
    return w.clamp_min(0) * h.clamp_min(0)


def iou(a: Tensor, b: Tensor) -> Tensor:
    p, q = Boxes.from_tensor(a), Boxes.from_tensor(b)
    both = intersection(p, q)
    return both / (p.area + q.area - both).clamp_min(1e-9)


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    p, q = Boxes.from_tensor(a), Boxes.from_tensor(b)
    both = intersection(p, q)
    union = p.area + q.area - both
    hull_w = torch.maximum(p.x2, q.x2) - torch.minimum(p.x1, q.x1)
    hull_h = torch.maximum(p.y2, q.y2) - torch.minimum(p.y1, q.y1)
    hull = hull_w * hull_h
    return both / (union + 1e-9) - (hull - union) / (hull + 1e-9)


def assign(boxes: list[Tensor], labels: list[Tensor], head) -> Tensor:
    anchors = head.anchors
    out = anchors.new_zeros(len(boxes), head.grid_h, head.grid_w, len(anchors), 8)
    size = grid_wh(head, anchors)
    for image, (xywh, cls) in enumerate(zip(boxes, labels)):
        if xywh.numel() == 0:
            continue
        wh = xywh[:, 2:] * size
        inter = torch.minimum(wh[:, None], anchors[None]).prod(-1)
        ratio = inter / (wh.prod(-1)[:, None] + anchors.prod(-1)[None] - inter)
        best = ratio.argmax(dim=1)
        col, row = (xywh[:, :2] * size).floor().long().unbind(1)
        col, row = col.clamp(0, head.grid_w - 1), row.clamp(0, head.grid_h - 1)
        weight = 2.0 - xywh[:, 2] * xywh[:, 3]
        ones = torch.ones_like(weight)
        rows = torch.stack((ones, cls.to(weight), *xywh.unbind(1), weight, torch.zeros_like(ones)), dim=1)
        out[image, row, col, best] = rows
    return out


def decode(pred: Tensor, head) -> Tensor:
    """linear: cell + 0.5 + t, anchor * exp(t)"""
    cells = cell_index(head.grid_h, head.grid_w).to(pred)
    size = grid_wh(head, pred)
    _, t_xy, t_wh, _ = pred.split((1, 2, 2, pred.shape[-1] - 5), dim=-1)
    centre = cells + 0.5 + t_xy
    extent = head.anchors.to(pred) * t_wh.exp()
    return torch.cat((centre / size, extent / size), dim=-1)


def loss(pred: Tensor, targets: Tensor, head) -> dict[str, Tensor]:
    positive = targets[..., 0] > 0.5
    n = max(int(positive.sum()), 1)
    matched, truth = pred[positive], targets[positive]
    boxes = decode(pred, head)[positive]

    lbox = 5.0 * (1 - generalised_iou(boxes, truth[:, 2:6])).sum() / n
    overlap = iou(boxes, truth[:, 2:6])
    wanted = torch.zeros_like(pred[..., 0])
    wanted[positive] = overlap.detach()
    lobj = F.binary_cross_entropy_with_logits(pred[..., 0], wanted, reduction="sum") / n

    one_hot = F.one_hot(truth[:, 1].long(), head.classes).to(pred)
    lcls = F.binary_cross_entropy_with_logits(matched[:, 5:], one_hot, reduction="sum") / n
    liou = (1 - overlap).sum() / n
    return {"lcls": lcls, "lbox": lbox, "lobj": lobj, "liou": liou, "total": lbox + lobj + lcls}


def suppress(corners: Tensor, scores: Tensor, threshold: float) -> Tensor:
    order = scores.argsort(descending=True)
    keep = []
    while order.numel():
        top, rest = order[0], order[1:]
        keep.append(top)
        lt = torch.maximum(corners[top, :2], corners[rest, :2])
        rb = torch.minimum(corners[top, 2:], corners[rest, 2:])
        inter = (rb - lt).clamp(min=0).prod(-1)
        area = (corners[:, 2:] - corners[:, :2]).prod(-1)
        order = rest[inter / (area[top] + area[rest] - inter) <= threshold]
    return torch.stack(keep)


@torch.no_grad()
def detect(pred: Tensor, head, sizes, conf: float = 0.3, iou: float = 0.5) -> list[Tensor]:
    batch = pred.shape[0]
    boxes = decode(pred, head).reshape(batch, -1, 4)
    flat = pred.reshape(batch, -1, pred.shape[-1])
    scores = flat[..., 0].sigmoid().unsqueeze(-1) * flat[..., 5:].sigmoid()
    found = []
    for k, (height, width) in enumerate(sizes):
        slot, cls = (scores[k] > conf).nonzero(as_tuple=True)
        if slot.numel() == 0:
            found.append(pred.new_zeros(0, 6))
            continue
        score = scores[k][slot, cls]
        b = Boxes.from_tensor(boxes[k][slot])
        corners = torch.stack((b.x1, b.y1, b.x2, b.y2), -1)
        corners = corners * corners.new_tensor([head.input_w, head.input_h] * 2)
        gain = min(head.input_h / height, head.input_w / width)
        shift_x, shift_y = (head.input_w - gain * width) / 2, (head.input_h - gain * height) / 2
        corners[:, 0::2] = ((corners[:, 0::2] - shift_x) / gain).clamp(0, width)
        corners[:, 1::2] = ((corners[:, 1::2] - shift_y) / gain).clamp(0, height)
        # one NMS for all classes: boxes of different classes are moved apart first
        away = cls.to(corners)[:, None] * (2.0 * max(height, width))
        keep = suppress(corners + away, score, iou)
        found.append(torch.cat((corners[keep], score[keep, None], cls[keep, None].to(corners)), dim=1))
    return found


def transform(image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Zoom into the picture's middle or out of it, then change brightness."""
    height, width = image.shape[:2]
    zoom = float(np.random.uniform(0.8, 1.25))
    left, top = (1 - zoom) * width / 2, (1 - zoom) * height / 2
    matrix = np.array([[zoom, 0, left + (zoom - 1) / 2], [0, zoom, top + (zoom - 1) / 2]])
    zoomed = cv2.warpAffine(image, matrix, (width, height), borderValue=(114, 114, 114))
    bright = np.clip(zoomed.astype(np.float32) * np.random.uniform(0.85, 1.15), 0, 255).astype(np.uint8)
    moved = boxes * zoom + np.array([left, top, left, top], boxes.dtype)
    moved[:, 0::2] = moved[:, 0::2].clip(0, width)
    moved[:, 1::2] = moved[:, 1::2].clip(0, height)
    return bright, moved.astype(boxes.dtype)


class Block(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False)
        self.norm = nn.GroupNorm(4, outside)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(self.conv(x)))


class Detector(nn.Module):
    def __init__(self, head, classes: int) -> None:
        super().__init__()
        depth = int(np.log2(head.stride))
        self.blocks = nn.Sequential(*(Block(3 if k == 0 else 16, 16) for k in range(depth)))
        self.anchors = len(head.anchors)
        self.channels = 5 + classes
        self.head = nn.Conv2d(16, self.anchors * self.channels, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        raw = self.head(self.blocks(images * 2 - 1))
        raw = raw.permute(0, 2, 3, 1).contiguous()
        return raw.unflatten(-1, (self.anchors, self.channels))


def build_model(head, classes: list[str]) -> nn.Module:
    return Detector(head, classes=len(classes))
