"""A detector written by hand against the contract, as a user would: the ground into which faults are put."""

from __future__ import annotations

PLAIN = """
import torch
import torch.nn.functional as F


def decode(pred, head):
    gy, gx = torch.meshgrid(torch.arange(head.grid_h), torch.arange(head.grid_w), indexing="ij")
    grid = torch.stack((gx, gy), -1).float().unsqueeze(2)
    size = torch.tensor([head.grid_w, head.grid_h]).float()
    xy = (pred[..., 1:3].sigmoid() + grid) / size
    wh = pred[..., 3:5].exp() * head.anchors / size
    return torch.cat((xy, wh), -1)


def iou(a, b):
    ax1, ax2 = a[..., 0] - a[..., 2] / 2, a[..., 0] + a[..., 2] / 2
    ay1, ay2 = a[..., 1] - a[..., 3] / 2, a[..., 1] + a[..., 3] / 2
    bx1, bx2 = b[..., 0] - b[..., 2] / 2, b[..., 0] + b[..., 2] / 2
    by1, by2 = b[..., 1] - b[..., 3] / 2, b[..., 1] + b[..., 3] / 2
    iw = (torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)).clamp(min=0)
    ih = (torch.minimum(ay2, by2) - torch.maximum(ay1, by1)).clamp(min=0)
    inter = iw * ih
    return inter / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - inter + 1e-9)


def assign(boxes, labels, head):
    out = torch.zeros(len(boxes), head.grid_h, head.grid_w, len(head.anchors), 8)
    for b, (image_boxes, image_labels) in enumerate(zip(boxes, labels)):
        for box, k in zip(image_boxes, image_labels):
            cx, cy, w, h = box.tolist()
            gx = min(int(cx * head.grid_w), head.grid_w - 1)
            gy = min(int(cy * head.grid_h), head.grid_h - 1)
            size = torch.tensor([w * head.grid_w, h * head.grid_h])
            inter = torch.minimum(head.anchors, size).prod(1)
            a = int((inter / (head.anchors.prod(1) + size.prod() - inter)).argmax())
            out[b, gy, gx, a] = torch.tensor([1, float(k), cx, cy, w, h, 2 - w * h, 0])
    return out


def loss(pred, targets, head):
    B = pred.shape[0]
    mask = targets[..., 0] > 0
    size = torch.tensor([head.grid_w, head.grid_h]).float()
    boxes = decode(pred, head)
    ov = iou(boxes, targets[..., 2:6])
    targets[..., 7] = (ov * mask).detach()
    gy, gx = torch.meshgrid(torch.arange(head.grid_h), torch.arange(head.grid_w), indexing="ij")
    cells = torch.stack((gx, gy), -1).float().unsqueeze(2)
    txy = targets[..., 2:4] * size - cells
    twh = (targets[..., 4:6] * size / head.anchors).clamp(min=1e-9).log()
    weight = targets[..., 6]
    off_xy, off_wh = pred[..., 1:3].sigmoid() - txy, pred[..., 3:5] - twh
    lbox = (weight * (off_xy**2 + off_wh**2).sum(-1))[mask].sum() / B
    conf = pred[..., 0].sigmoid()
    best = torch.zeros_like(conf)
    for b in range(B):
        for truth in targets[b][mask[b]]:
            best[b] = torch.maximum(best[b], iou(boxes[b].detach(), truth[2:6].expand_as(boxes[b])))
    noobj = ~mask & (best < 0.6)
    lobj = (5 * ((conf - ov.detach())**2)[mask].sum() + (conf**2)[noobj].sum()) / B
    logits, classes = pred[..., 5:][mask], targets[..., 1][mask].long()
    lcls = F.cross_entropy(logits, classes, reduction="sum") / B
    liou = (1 - ov)[mask].sum() / B
    return {"lcls": lcls, "lbox": lbox, "lobj": lobj, "liou": liou, "total": lcls + lbox + lobj}


def detect(pred, head, sizes, conf=0.25):
    boxes = decode(pred, head)
    out = []
    for b, (H, W) in enumerate(sizes):
        p, bx = pred[b].reshape(-1, pred.shape[-1]), boxes[b].reshape(-1, 4)
        prob, cls = p[:, 5:].softmax(-1).max(-1)
        score = p[:, 0].sigmoid() * prob
        keep = score > conf
        bx, score, cls = bx[keep], score[keep], cls[keep]
        s = min(head.input_w / W, head.input_h / H)
        left, top = (head.input_w - W * s) / 2, (head.input_h - H * s) / 2
        x1, x2 = bx[:, 0] - bx[:, 2] / 2, bx[:, 0] + bx[:, 2] / 2
        y1, y2 = bx[:, 1] - bx[:, 3] / 2, bx[:, 1] + bx[:, 3] / 2
        x1, x2 = (x1 * head.input_w - left) / s, (x2 * head.input_w - left) / s
        y1, y2 = (y1 * head.input_h - top) / s, (y2 * head.input_h - top) / s
        kept = []
        for i in score.argsort(descending=True).tolist():
            if all(cls[i] != cls[j] or iou(bx[i], bx[j]) < 0.45 for j in kept):
                kept.append(i)
        rows = torch.stack([x1, y1, x2, y2, score, cls.float()], 1)
        out.append(rows[kept].reshape(-1, 6))
    return out
"""

NETWORK = """
from torch import nn


class Net(nn.Module):
    def __init__(self, head, classes):
        super().__init__()
        layers, width = [], 3
        for out in (16, 32, 64, 64, 64):
            layers += [nn.Conv2d(width, out, 3, 2, 1, bias=False), nn.BatchNorm2d(out), nn.LeakyReLU(0.1)]
            width = out
        self.body = nn.Sequential(*layers)
        self.anchors, self.channels = len(head.anchors), 5 + len(classes)
        self.head = nn.Conv2d(width, self.anchors * self.channels, 1)

    def forward(self, images):
        out = self.head(self.body(images))
        B, _, H, W = out.shape
        return out.view(B, self.anchors, self.channels, H, W).permute(0, 3, 4, 1, 2)


def build_model(head, classes):
    return Net(head, classes)
"""

TRANSFORM = """
import random

import cv2
import numpy as np


def transform(image, boxes):
    image, boxes = image.copy(), boxes.copy()
    height, width = image.shape[:2]
    if random.random() < 0.5:
        image = image[:, ::-1].copy()
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(float)
    hsv[..., 0] = (hsv[..., 0] + random.uniform(-15, 15)) % 180
    hsv[..., 1:] = np.clip(hsv[..., 1:] * random.uniform(0.6, 1.5), 0, 255)
    image = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)
    left, top = random.randint(0, width // 5), random.randint(0, height // 5)
    image = image[top:, left:]
    boxes = np.clip(boxes - [left, top, left, top], 0, [width - left, height - top] * 2)
    return image, boxes
"""


def changed(text: str, *pairs: tuple[str, str]) -> str:
    """The text with each first part replaced by its second; every part must be there."""
    for old, new in pairs:
        assert old in text, f"not in the text: {old}"
        text = text.replace(old, new)
    return text
