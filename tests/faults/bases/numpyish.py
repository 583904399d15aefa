# ruff: noqa: B905, C408  (a stranger's file, in its own style)
"""Anchor axis in front, targets in cells, numpy wherever no gradient is needed, a decode for drawing only."""

from types import SimpleNamespace

import numpy as np
import torch
from torch.nn import functional

PRED = SimpleNamespace(x=0, y=1, w=2, h=3, conf=4, classes=5)
GT = SimpleNamespace(cls=0, mask=1, x=2, y=3, w=4, h=5, scale=6, iou=7)


class Config:
    conf_threshold = 0.4
    nms_threshold = 0.5
    coord = 5.0


def _best_anchor(w, h, anchors):
    inter = np.minimum(w, anchors[:, 0]) * np.minimum(h, anchors[:, 1])
    return (inter / (w * h + anchors.prod(axis=1) - inter)).argmax()


def assign(boxes, labels, head, verbose: bool = False):
    anchors = head.anchors.detach().cpu().numpy().astype(np.float64)
    shape = (len(boxes), len(anchors), head.grid_h, head.grid_w, 8)
    truth = np.zeros(shape, np.float32)
    for n, (image_boxes, image_labels) in enumerate(zip(boxes, labels)):
        scaled = image_boxes.cpu().numpy() * np.array([head.grid_w, head.grid_h] * 2, np.float32)
        for (x, y, w, h), cls in zip(scaled, image_labels.cpu().numpy()):
            col = min(int(np.floor(x)), head.grid_w - 1)
            row = min(int(np.floor(y)), head.grid_h - 1)
            slot = truth[n, _best_anchor(w, h, anchors), row, col]
            if slot[GT.mask]:
                if verbose:
                    print("slot taken")
                continue
            slot[GT.mask] = 1.0
            slot[GT.cls] = cls
            slot[GT.x : GT.h + 1] = x, y, w, h
            slot[GT.scale] = 2.0 - w * h / (head.grid_w * head.grid_h)
    return torch.as_tensor(truth, device=head.anchors.device)


def _cells(head, device):
    col = torch.arange(head.grid_w, device=device, dtype=torch.float32)[None, :]
    row = torch.arange(head.grid_h, device=device, dtype=torch.float32)[:, None]
    return col, row


def _in_cells(pred, head):
    """Predicted x, y, w, h in cells, each [B, A, H, W]"""
    col, row = _cells(head, pred.device)
    pw, ph = (head.anchors[:, k].to(pred)[:, None, None] for k in (0, 1))
    x = torch.sigmoid(pred[..., PRED.x]) + col
    y = torch.sigmoid(pred[..., PRED.y]) + row
    w = pw * torch.exp(pred[..., PRED.w])
    h = ph * torch.exp(pred[..., PRED.h])
    return x, y, w, h


def decode(pred, head):
    with torch.no_grad():
        x, y, w, h = _in_cells(pred, head)
        out = torch.stack((x, y, w, h), dim=-1).cpu().numpy()
    out[..., 0::2] /= head.grid_w
    out[..., 1::2] /= head.grid_h
    return torch.from_numpy(out).to(pred.device)


def iou(a, b, eps=1e-10):
    half_a, half_b = a[..., 2:] * 0.5, b[..., 2:] * 0.5
    right = torch.minimum(a[..., :2] + half_a, b[..., :2] + half_b)
    left = torch.maximum(a[..., :2] - half_a, b[..., :2] - half_b)
    side = torch.relu(right - left)
    inter = side[..., 0] * side[..., 1]
    return inter / (a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - inter + eps)


def loss(pred, targets, head):
    batch_size = pred.size(0)
    n, a, row, col = torch.nonzero(targets[..., GT.mask], as_tuple=True)
    mine, truth = pred[n, a, row, col], targets[n, a, row, col]

    offset = torch.stack((truth[:, GT.x] - col, truth[:, GT.y] - row), dim=1)
    prior = head.anchors.to(pred)[a]
    log_size = torch.log(truth[:, GT.w : GT.h + 1] / prior)
    wanted = torch.cat((offset, log_size), dim=1)
    got = torch.cat((torch.sigmoid(mine[:, :2]), mine[:, 2:4]), dim=1)
    scale = truth[:, GT.scale].unsqueeze(1)
    lbox = (
        Config.coord * (scale * functional.smooth_l1_loss(got, wanted, reduction="none")).sum() / batch_size
    )

    grid_box = torch.stack(_in_cells(pred, head), dim=-1)[n, a, row, col]
    overlap = iou(grid_box, truth[:, GT.x : GT.h + 1])
    objectness = pred.new_zeros(pred.shape[:-1])
    objectness[n, a, row, col] = overlap.detach()
    scores = pred[..., PRED.conf]
    lobj = functional.binary_cross_entropy_with_logits(scores, objectness, reduction="sum") / batch_size

    labels = truth[:, GT.cls].long()
    lcls = functional.cross_entropy(mine[:, PRED.classes :], labels, reduction="sum") / batch_size
    liou = (1 - overlap).sum() / batch_size
    return dict(lcls=lcls, lbox=lbox, lobj=lobj, liou=liou, total=lcls + lbox + lobj)


def _nms(boxes, scores, limit):
    left, top, right, bottom = boxes.T
    areas = (right - left) * (bottom - top)
    queue, kept = scores.argsort()[::-1], []
    while len(queue):
        first, queue = queue[0], queue[1:]
        kept.append(first)
        w = np.minimum(right[first], right[queue]) - np.maximum(left[first], left[queue])
        h = np.minimum(bottom[first], bottom[queue]) - np.maximum(top[first], top[queue])
        inter = w.clip(0) * h.clip(0)
        queue = queue[inter <= limit * (areas[first] + areas[queue] - inter)]
    return kept


def detect(pred, head, sizes):
    boxes = decode(pred, head).cpu().numpy()
    pred = pred.detach()
    conf = torch.sigmoid(pred[..., PRED.conf : PRED.conf + 1])
    scores = (conf * torch.softmax(pred[..., PRED.classes :], dim=-1)).cpu().numpy()
    everything = []
    for box, score, (height, width) in zip(boxes, scores, sizes):
        box, score = box.reshape(-1, 4), score.reshape(-1, head.classes)
        ratio = min(head.input_w / width, head.input_h / height)
        border = np.array([head.input_w - ratio * width, head.input_h - ratio * height]) / 2
        centre = (box[:, :2] * (head.input_w, head.input_h) - border) / ratio
        size = box[:, 2:] * (head.input_w, head.input_h) / ratio
        frame = np.concatenate((centre - size / 2, centre + size / 2), axis=1)
        frame = frame.clip(0, [width, height, width, height])
        found = []
        for cls in range(head.classes):
            strong = score[:, cls] > Config.conf_threshold
            for k in _nms(frame[strong], score[strong, cls], Config.nms_threshold):
                found.append([*frame[strong][k], score[strong, cls][k], cls])
        everything.append(torch.tensor(found, dtype=torch.float32).view(-1, 6).to(pred.device))
    return everything


def transform(image, boxes):
    return image, boxes


def build_model(head, classes):
    steps = int(np.round(np.log2(head.stride)))
    net = torch.nn.Sequential()
    for k in range(steps):
        net.append(torch.nn.Conv2d(3 if k == 0 else 12, 12, 4, stride=2, padding=1))
        net.append(torch.nn.ELU())
    outputs = 5 + len(classes)
    net.append(torch.nn.Conv2d(12, len(head.anchors) * outputs, 3, padding=1))
    net.append(torch.nn.Unflatten(1, (len(head.anchors), outputs)))
    net.append(Move())
    return net


class Move(torch.nn.Module):
    def forward(self, x):
        return x.movedim(2, -1)
