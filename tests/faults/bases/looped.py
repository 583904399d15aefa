# ruff: noqa: B905, RUF059  (a stranger's file, in its own style)
"""YOLOv2 in the way one writes it from the paper: loops over the truths, dense masks in the loss."""

import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

OBJ_SCALE = 5.0
NOOBJ_SCALE = 1.0
COORD_SCALE = 1.0
IGNORE = 0.6


def anchor_overlap(w, h, aw, ah):
    inter = min(w, aw) * min(h, ah)
    return inter / (w * h + aw * ah - inter)


def make_grid(head, like):
    ys = torch.arange(head.grid_h, device=like.device)
    xs = torch.arange(head.grid_w, device=like.device)
    gy, gx = torch.meshgrid(ys, xs, indexing="ij")
    return torch.stack([gx, gy], dim=-1).float().view(1, head.grid_h, head.grid_w, 1, 2)


def assign(boxes, labels, head):
    anchors = head.anchors.tolist()
    targets = torch.zeros(len(boxes), head.grid_h, head.grid_w, len(anchors), 8, device=head.anchors.device)
    for b in range(len(boxes)):
        for box, label in zip(boxes[b].tolist(), labels[b].tolist()):
            cx, cy, w, h = box
            if w <= 0 or h <= 0:
                continue
            gx = min(int(cx * head.grid_w), head.grid_w - 1)
            gy = min(int(cy * head.grid_h), head.grid_h - 1)
            best, best_overlap = 0, -1.0
            for k, (aw, ah) in enumerate(anchors):
                overlap = anchor_overlap(w * head.grid_w, h * head.grid_h, aw, ah)
                if overlap > best_overlap:
                    best, best_overlap = k, overlap
            slot = targets[b, gy, gx, best]
            slot[0] = 1
            slot[1] = label
            slot[2:6] = torch.tensor([cx, cy, w, h])
            slot[6] = 2 - w * h
    return targets


def decode(pred, head):
    grid = make_grid(head, pred)
    anchors = head.anchors.to(pred).view(1, 1, 1, -1, 2)
    scale = torch.tensor([head.grid_w, head.grid_h], device=pred.device).float()
    pbox = pred[..., 1:5]
    xy = (torch.sigmoid(pbox[..., :2]) + grid) / scale
    wh = anchors * torch.exp(pbox[..., 2:4]) / scale
    return torch.cat([xy, wh], dim=-1)


def iou(a, b):
    a_min, a_max = a[..., :2] - a[..., 2:] / 2, a[..., :2] + a[..., 2:] / 2
    b_min, b_max = b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2
    inter_wh = torch.clamp(torch.min(a_max, b_max) - torch.max(a_min, b_min), min=0)
    inter = inter_wh[..., 0] * inter_wh[..., 1]
    area_a = a[..., 2] * a[..., 3]
    area_b = b[..., 2] * b[..., 3]
    return inter / (area_a + area_b - inter + 1e-9)


def best_overlap_with_truths(boxes, targets):
    best = torch.zeros(boxes.shape[:-1], device=boxes.device)
    for b in range(boxes.shape[0]):
        truths = targets[b][targets[b][..., 0] > 0][:, 2:6]
        for truth in truths:
            best[b] = torch.max(best[b], iou(boxes[b], truth.expand_as(boxes[b])))
    return best


def loss(pred, targets, head):
    batch = pred.shape[0]
    mask = targets[..., 0]
    tbox = targets[..., 2:6]
    pbox = decode(pred, head)

    overlap = iou(pbox, tbox)
    iou_truth = (overlap * mask).detach()
    targets[..., 7] = iou_truth

    best = best_overlap_with_truths(pbox.detach(), targets)
    negative = (1 - mask) * (best <= IGNORE).float()
    conf = torch.sigmoid(pred[..., 0])
    obj_map = OBJ_SCALE * mask * (conf - iou_truth) ** 2
    noobj_map = NOOBJ_SCALE * negative * conf**2
    lobj_map = obj_map + noobj_map

    scale = torch.tensor([head.grid_w, head.grid_h], device=pred.device).float()
    anchors = head.anchors.to(pred)
    txy = tbox[..., :2] * scale - make_grid(head, pred)
    twh = torch.log(tbox[..., 2:4] * scale / anchors + 1e-9)
    pxy = torch.sigmoid(pred[..., 1:3])
    pwh = pred[..., 3:5]
    weight = COORD_SCALE * mask * targets[..., 6]
    lbox_map = weight * (((pxy - txy) ** 2).sum(-1) + ((pwh - twh) ** 2).sum(-1))

    log_prob = F.log_softmax(pred[..., 5:], dim=-1)
    lcls_map = -mask * torch.gather(log_prob, -1, targets[..., 1:2].long()).squeeze(-1)
    liou_map = mask * (1 - overlap)

    lcls = lcls_map.sum() / batch
    lbox = lbox_map.sum() / batch
    lobj = lobj_map.sum() / batch
    liou = liou_map.sum() / batch
    return {
        "lcls": lcls,
        "lbox": lbox,
        "lobj": lobj,
        "liou": liou,
        "total": lcls + lbox + lobj,
        "maps": {"lcls": lcls_map, "lbox": lbox_map, "lobj": lobj_map, "liou": liou_map},
    }


def keep_strongest(boxes, scores, threshold):
    """boxes: [N, 4] corners; gives the list of indices that stay"""
    order = scores.argsort(descending=True).tolist()
    keep = []
    while order:
        first = order.pop(0)
        keep.append(first)
        order = [k for k in order if corner_overlap(boxes[first], boxes[k]) <= threshold]
    return keep


def corner_overlap(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    inter = float(w * h)
    return inter / (float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])) - inter)


def detect(pred, head, sizes, conf=0.25, iou=0.45):
    boxes = decode(pred, head)
    prob = torch.softmax(pred[..., 5:], dim=-1)
    score = torch.sigmoid(pred[..., 0:1]) * prob
    input_h, input_w = head.input_h, head.input_w
    results = []
    for b, (height, width) in enumerate(sizes):
        scale = min(input_w / width, input_h / height)
        pad_x = (input_w - width * scale) / 2
        pad_y = (input_h - height * scale) / 2
        b_boxes = boxes[b].reshape(-1, 4)
        cx, cy = b_boxes[:, 0] * input_w, b_boxes[:, 1] * input_h
        w, h = b_boxes[:, 2] * input_w, b_boxes[:, 3] * input_h
        x1 = ((cx - w / 2 - pad_x) / scale).clamp(0, width)
        y1 = ((cy - h / 2 - pad_y) / scale).clamp(0, height)
        x2 = ((cx + w / 2 - pad_x) / scale).clamp(0, width)
        y2 = ((cy + h / 2 - pad_y) / scale).clamp(0, height)
        corners = torch.stack([x1, y1, x2, y2], dim=1)
        b_score = score[b].reshape(-1, head.classes)
        rows = []
        for c in range(head.classes):
            strong = (b_score[:, c] > conf).nonzero().flatten()
            if len(strong) == 0:
                continue
            kept = strong[keep_strongest(corners[strong], b_score[strong, c], iou)]
            label = torch.full((len(kept), 1), float(c), device=pred.device)
            rows.append(torch.cat([corners[kept], b_score[kept, c].unsqueeze(1), label], dim=1))
        found = torch.cat(rows) if rows else torch.zeros(0, 6, device=pred.device)
        results.append(found[found[:, 4].argsort(descending=True)])
    return results


def transform(image, boxes):
    height, width = image.shape[:2]
    if random.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
        flipped = boxes.copy()
        flipped[:, 0] = width - boxes[:, 2]
        flipped[:, 2] = width - boxes[:, 0]
        boxes = flipped
    return image, boxes


class Net(nn.Module):
    def __init__(self, head, num_classes):
        super().__init__()
        layers, channels, stride = [], 3, 1
        width = 8
        while stride < head.stride:
            layers += [nn.Conv2d(channels, width, 3, 2, 1), nn.BatchNorm2d(width), nn.LeakyReLU(0.1)]
            channels, width, stride = width, min(2 * width, 32), stride * 2
        self.body = nn.Sequential(*layers)
        self.num_anchors = len(head.anchors)
        self.out = nn.Conv2d(channels, self.num_anchors * (5 + num_classes), 1)

    def forward(self, x):
        out = self.out(self.body(x))
        n, _, h, w = out.shape
        return out.view(n, self.num_anchors, -1, h, w).permute(0, 3, 4, 1, 2)


def build_model(head, classes):
    return Net(head, len(classes))
