# ruff: noqa: B905  (a stranger's file, in its own style)
"""Two heads, YOLOv5's ideas: several slots a truth, bounded decode, CIoU, objectness towards the live IoU."""

import math

import numpy as np
import torch
import torch.nn.functional as F

RATIO = 3.0


class Grid:
    """What one head needs again and again."""

    def __init__(self, head, device=None):
        self.w, self.h, self.stride = head.grid_w, head.grid_h, head.stride
        self.anchors = head.anchors.float().to(device) if device is not None else head.anchors.float()
        xs = torch.arange(self.w, device=device, dtype=torch.float32)
        ys = torch.arange(self.h, device=device, dtype=torch.float32)
        self.x = xs[None, None, :, None]
        self.y = ys[None, :, None, None]


def best_of_all(w_px, h_px, heads):
    """(head, anchor) of the best w/h IoU"""
    best = (-1.0, 0, 0)
    for i, head in enumerate(heads):
        for a, (aw, ah) in enumerate((head.anchors * head.stride).tolist()):
            inter = min(w_px, aw) * min(h_px, ah)
            overlap = inter / (w_px * h_px + aw * ah - inter)
            if overlap > best[0]:
                best = (overlap, i, a)
    return best[1:]


def cells_near(cx, cy, grid):
    """The centre's own cell and the nearest neighbour along each axis"""
    gx, gy = cx * grid.w, cy * grid.h
    i, j = min(int(gx), grid.w - 1), min(int(gy), grid.h - 1)
    near = [(j, i)]
    side = i - 1 if gx - i < 0.5 else i + 1
    if 0 <= side < grid.w:
        near.append((j, side))
    side = j - 1 if gy - j < 0.5 else j + 1
    if 0 <= side < grid.h:
        near.append((side, i))
    return near


def assign(boxes, labels, head):
    grids = [Grid(h) for h in head]
    targets = [torch.zeros(len(boxes), g.h, g.w, len(g.anchors), 8) for g in grids]
    for b, (truths, classes) in enumerate(zip(boxes, labels)):
        for truth, cls in zip(truths, classes):
            cx, cy, w, h = truth.tolist()
            w_px, h_px = w * head[0].input_w, h * head[0].input_h
            winner = best_of_all(w_px, h_px, head)
            row = torch.tensor([1.0, float(cls), cx, cy, w, h, 2 - w * h, 0.0])
            for i, grid in enumerate(grids):
                for a, (aw, ah) in enumerate(grid.anchors.tolist()):
                    rw, rh = w_px / (aw * grid.stride), h_px / (ah * grid.stride)
                    if max(rw, 1 / rw, rh, 1 / rh) < RATIO or winner == (i, a):
                        for j, k in cells_near(cx, cy, grid):
                            targets[i][b, j, k, a] = row
    return [t.to(head[0].anchors.device) for t in targets]


def decode(pred, head):
    g = Grid(head, pred.device)
    tx, ty, tw, th = pred[..., 1], pred[..., 2], pred[..., 3], pred[..., 4]
    x = (g.x + 2 * tx.sigmoid() - 0.5) / g.w
    y = (g.y + 2 * ty.sigmoid() - 0.5) / g.h
    w = g.anchors[:, 0] * (2 * tw.sigmoid()) ** 2 / g.w
    h = g.anchors[:, 1] * (2 * th.sigmoid()) ** 2 / g.h
    return torch.stack((x, y, w, h), dim=-1)


def corners(t):
    return torch.cat((t[..., :2] - t[..., 2:] / 2, t[..., :2] + t[..., 2:] / 2), dim=-1)


def iou(a, b, complete=False, eps=1e-7):
    p, q = corners(a), corners(b)
    low, high = torch.maximum(p[..., :2], q[..., :2]), torch.minimum(p[..., 2:], q[..., 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - inter
    overlap = inter / (union + eps * eps)
    if not complete:
        return overlap
    hull = torch.maximum(p[..., 2:], q[..., 2:]) - torch.minimum(p[..., :2], q[..., :2])
    rho = ((a[..., :2] - b[..., :2]) ** 2).sum(-1)
    v = (4 / math.pi**2) * (torch.atan(b[..., 2] / b[..., 3]) - torch.atan(a[..., 2] / a[..., 3])) ** 2
    with torch.no_grad():
        alpha = v / (1 - overlap + v + eps)
    return overlap - rho / ((hull**2).sum(-1) + eps * eps) - alpha * v


def loss(pred, targets, head):
    device = pred[0].device
    lcls, lbox, lobj, liou = (torch.zeros((), device=device) for _ in range(4))
    count = 0
    for p, t, h in zip(pred, targets, head):
        b, j, i, a = torch.where(t[..., 0] > 0)
        count += len(b)
        wanted = torch.zeros_like(p[..., 0])
        if len(b):
            boxes = decode(p, h)[b, j, i, a]
            truth = t[b, j, i, a]
            overlap = iou(boxes, truth[:, 2:6])
            lbox = lbox + (1 - iou(boxes, truth[:, 2:6], complete=True)).sum()
            liou = liou + (1 - overlap).sum()
            wanted[b, j, i, a] = overlap.detach()
            lcls = lcls + F.cross_entropy(p[b, j, i, a, 5:], truth[:, 1].long(), reduction="sum")
        lobj = lobj + F.binary_cross_entropy_with_logits(p[..., 0], wanted, reduction="sum")
    count = max(count, 1)
    terms = {
        "lcls": 0.5 * lcls / count,
        "lbox": 4.0 * lbox / count,
        "lobj": lobj / count,
        "liou": liou / count,
    }
    terms["total"] = terms["lcls"] + terms["lbox"] + terms["lobj"] + terms["liou"]
    return terms


def nms(boxes, scores, threshold):
    boxes = boxes.numpy()
    x1, y1, x2, y2 = boxes.T
    area = (x2 - x1) * (y2 - y1)
    order = np.argsort(-scores.numpy(), kind="stable")
    keep = []
    while order.size:
        i, rest = order[0], order[1:]
        keep.append(int(i))
        w = np.minimum(x2[i], x2[rest]) - np.maximum(x1[i], x1[rest])
        h = np.minimum(y2[i], y2[rest]) - np.maximum(y1[i], y1[rest])
        inter = np.maximum(w, 0) * np.maximum(h, 0)
        order = rest[inter / (area[i] + area[rest] - inter + 1e-9) <= threshold]
    return keep


def detect(pred, head, sizes, conf=0.25, iou=0.45):
    net_w, net_h = head[0].input_w, head[0].input_h
    answers = []
    for b, (height, width) in enumerate(sizes):
        boxes = torch.cat([decode(p[b : b + 1], h).reshape(-1, 4) for p, h in zip(pred, head)]).detach().cpu()
        raw = torch.cat([p[b].reshape(-1, p.shape[-1]) for p in pred]).detach().cpu()
        prob, cls = raw[:, 5:].softmax(-1).max(-1)
        score = raw[:, 0].sigmoid() * prob
        strong = score > conf
        boxes, score, cls = corners(boxes[strong]), score[strong], cls[strong]
        boxes = boxes * torch.tensor([net_w, net_h, net_w, net_h])
        zoom = min(net_w / width, net_h / height)
        dx, dy = (net_w - round(width * zoom)) // 2, (net_h - round(height * zoom)) // 2
        boxes = (boxes - torch.tensor([dx, dy, dx, dy])) / zoom
        limit = torch.tensor([width, height, width, height])
        boxes = torch.minimum(boxes.clamp(min=0), limit)
        rows = []
        for c in cls.unique():
            of_class = cls == c
            members = torch.cat(
                (boxes[of_class], score[of_class, None], torch.full((int(of_class.sum()), 1), float(c))),
                dim=1,
            )
            rows.append(members[nms(boxes[of_class], score[of_class], iou)])
        answers.append((torch.cat(rows) if rows else torch.zeros(0, 6)).to(pred[0].device))
    return answers


def transform(image, boxes):
    """Random gain of each colour channel; where the boxes are does not change."""
    gain = np.random.uniform(0.9, 1.1, size=(1, 1, 3))
    return np.clip(image * gain, 0, 255).astype(np.uint8), boxes


class Pyramid(torch.nn.Module):
    def __init__(self, heads, classes):
        super().__init__()
        self.stem = torch.nn.ModuleList()
        self.outs = torch.nn.ModuleDict()
        self.shapes = {}
        stride, channels = 1, 3
        while stride < max(h.stride for h in heads):
            self.stem.append(
                torch.nn.Sequential(
                    torch.nn.Conv2d(channels, 12, 3, 2, 1), torch.nn.BatchNorm2d(12), torch.nn.SiLU()
                )
            )
            channels, stride = 12, stride * 2
        for h in heads:
            self.outs[str(h.stride)] = torch.nn.Conv2d(12, len(h.anchors) * (5 + classes), 1)
            self.shapes[h.stride] = (len(h.anchors), 5 + classes)

    def forward(self, x):
        found, stride = {}, 1
        for layer in self.stem:
            x, stride = layer(x), stride * 2
            if stride in self.shapes:
                y = self.outs[str(stride)](x)
                n, _, rows, cols = y.shape
                found[stride] = (
                    y.view(n, *self.shapes[stride], rows, cols).permute(0, 3, 4, 1, 2).contiguous()
                )
        return [found[s] for s in self.shapes]


def build_model(head, classes):
    return Pyramid(head, len(classes))
