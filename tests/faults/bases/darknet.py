# ruff: noqa: RUF059  (a stranger's file, in its own style)
# YOLOv3-like, in Darknet's own axes: [B, A * (5 + C), H, W] with x y w h conf classes; targets hold
# what the network should say: the offset inside the cell and log(size / anchor).
import math

import cv2
import numpy as np
import torch
from torch import nn

bce = nn.BCEWithLogitsLoss(reduction="none")
TX, TY, TW, TH, TMASK, TCLS = range(6)


def split_pred(pred, head):
    """-> [B, A, H, W, 5 + C]"""
    nA, nC = head.anchors.shape[0], head.classes
    return pred.view(pred.size(0), nA, 5 + nC, head.grid_h, head.grid_w).permute(0, 1, 3, 4, 2)


def split_target(targets, head):
    nA = head.anchors.shape[0]
    return targets.view(targets.size(0), nA, 6, head.grid_h, head.grid_w).permute(0, 1, 3, 4, 2)


def wh_iou(wh, anchors):
    """wh: (2,), anchors: (A, 2)"""
    inter = np.minimum(wh[0], anchors[:, 0]) * np.minimum(wh[1], anchors[:, 1])
    return inter / (wh[0] * wh[1] + anchors[:, 0] * anchors[:, 1] - inter)


def assign(boxes, labels, head):
    nB, nA, nG_h, nG_w = len(boxes), head.anchors.shape[0], head.grid_h, head.grid_w
    anchors = head.anchors.cpu().numpy()
    target = np.zeros((nB, nA, 6, nG_h, nG_w), dtype=np.float32)
    for b in range(nB):
        for t in range(boxes[b].shape[0]):
            x, y, w, h = boxes[b][t].cpu().numpy()
            if w == 0 or h == 0:
                continue
            gx, gy, gw, gh = x * nG_w, y * nG_h, w * nG_w, h * nG_h
            gi, gj = min(int(gx), nG_w - 1), min(int(gy), nG_h - 1)
            a = int(np.argmax(wh_iou((gw, gh), anchors)))
            target[b, a, TX, gj, gi] = gx - gi
            target[b, a, TY, gj, gi] = gy - gj
            target[b, a, TW, gj, gi] = math.log(gw / anchors[a][0])
            target[b, a, TH, gj, gi] = math.log(gh / anchors[a][1])
            target[b, a, TMASK, gj, gi] = 1
            target[b, a, TCLS, gj, gi] = int(labels[b][t])
    target = torch.from_numpy(target).to(head.anchors.device)
    return target.view(nB, nA * 6, nG_h, nG_w)


def boxes_of(x, y, w, h, head):
    """Offsets in the cell and log sizes, each [B, A, H, W] -> [B, A, H, W, 4] in 0..1"""
    nG_h, nG_w = head.grid_h, head.grid_w
    grid_x = torch.arange(nG_w, device=x.device).repeat(nG_h, 1).view(1, 1, nG_h, nG_w).float()
    grid_y = torch.arange(nG_h, device=x.device).repeat(nG_w, 1).t().view(1, 1, nG_h, nG_w).float()
    anchor_w = head.anchors[:, 0].view(1, -1, 1, 1).to(x)
    anchor_h = head.anchors[:, 1].view(1, -1, 1, 1).to(x)
    out = torch.zeros(*x.shape, 4, device=x.device)
    out[..., 0] = (x + grid_x) / nG_w
    out[..., 1] = (y + grid_y) / nG_h
    out[..., 2] = torch.exp(w) * anchor_w / nG_w
    out[..., 3] = torch.exp(h) * anchor_h / nG_h
    return out


def decode(pred, head):
    p = split_pred(pred, head)
    boxes = boxes_of(torch.sigmoid(p[..., 0]), torch.sigmoid(p[..., 1]), p[..., 2], p[..., 3], head)
    nB, nA, nG_h, nG_w, _ = boxes.shape
    return boxes.permute(0, 1, 4, 2, 3).reshape(nB, nA * 4, nG_h, nG_w)


def iou(a, b):
    x1 = torch.max(a[..., 0] - a[..., 2] / 2, b[..., 0] - b[..., 2] / 2)
    y1 = torch.max(a[..., 1] - a[..., 3] / 2, b[..., 1] - b[..., 3] / 2)
    x2 = torch.min(a[..., 0] + a[..., 2] / 2, b[..., 0] + b[..., 2] / 2)
    y2 = torch.min(a[..., 1] + a[..., 3] / 2, b[..., 1] + b[..., 3] / 2)
    inter = (x2 - x1).clamp(0) * (y2 - y1).clamp(0)
    return inter / (a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - inter + 1e-12)


def loss(pred, targets, head):
    p = split_pred(pred, head)
    t = split_target(targets, head)
    nB, nA, nG_h, nG_w, _ = p.shape
    obj = t[..., TMASK] == 1

    x, y = torch.sigmoid(p[..., 0]), torch.sigmoid(p[..., 1])
    w, h = p[..., 2], p[..., 3]
    conf = p[..., 4]
    cls = p[..., 5:]

    pbox = boxes_of(x, y, w, h, head)
    tbox = boxes_of(t[..., TX], t[..., TY], t[..., TW], t[..., TH], head)

    # confidence: every slot but those that lie well over some truth without answering for it
    noobj = ~obj
    with torch.no_grad():
        for b in range(nB):
            for truth in tbox[b][obj[b]]:
                noobj[b] &= iou(pbox[b], truth.expand_as(pbox[b])) <= 0.5
    conf_loss = bce(conf, obj.float())
    lobj = (conf_loss[obj].sum() + 0.5 * conf_loss[noobj].sum()) / conf.numel()

    n = max(int(obj.sum()), 1)
    size = 2.0 - tbox[obj][:, 2] * tbox[obj][:, 3]
    loss_x = (size * (x[obj] - t[..., TX][obj]) ** 2).sum() / n
    loss_y = (size * (y[obj] - t[..., TY][obj]) ** 2).sum() / n
    loss_w = (size * (w[obj] - t[..., TW][obj]) ** 2).sum() / n
    loss_h = (size * (h[obj] - t[..., TH][obj]) ** 2).sum() / n
    lbox = loss_x + loss_y + loss_w + loss_h

    tcls = torch.zeros_like(cls[obj])
    tcls[range(len(tcls)), t[..., TCLS][obj].long()] = 1
    lcls = bce(cls[obj], tcls).sum() / n

    liou = (1 - iou(pbox[obj], tbox[obj])).sum() / n
    return {"lbox": lbox, "lobj": lobj, "lcls": lcls, "liou": liou}


def bbox_iou_np(box, others):
    x1, y1 = np.maximum(box[0], others[:, 0]), np.maximum(box[1], others[:, 1])
    x2, y2 = np.minimum(box[2], others[:, 2]), np.minimum(box[3], others[:, 3])
    inter = np.clip(x2 - x1, 0, None) * np.clip(y2 - y1, 0, None)
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    return inter / (area + areas - inter + 1e-16)


def detect(pred, head, sizes, conf=0.25, iou=0.45):
    p = split_pred(pred, head)
    nB, nA, nG_h, nG_w, _ = p.shape
    boxes = decode(pred, head).view(nB, nA, 4, nG_h, nG_w).permute(0, 1, 3, 4, 2).reshape(nB, -1, 4)
    boxes = boxes.detach().cpu().numpy()
    obj = torch.sigmoid(p[..., 4]).reshape(nB, -1).detach().cpu().numpy()
    prob = torch.sigmoid(p[..., 5:]).reshape(nB, -1, head.classes).detach().cpu().numpy()
    output = []
    for b in range(nB):
        orig_h, orig_w = sizes[b]
        ratio = min(head.input_w / orig_w, head.input_h / orig_h)
        pad_w = (head.input_w - orig_w * ratio) / 2
        pad_h = (head.input_h - orig_h * ratio) / 2
        cx, cy = boxes[b][:, 0] * head.input_w, boxes[b][:, 1] * head.input_h
        bw, bh = boxes[b][:, 2] * head.input_w, boxes[b][:, 3] * head.input_h
        corners = np.stack([cx - bw / 2, cy - bh / 2, cx + bw / 2, cy + bh / 2], 1)
        corners[:, [0, 2]] = (corners[:, [0, 2]] - pad_w) / ratio
        corners[:, [1, 3]] = (corners[:, [1, 3]] - pad_h) / ratio
        rows = []
        for c in range(head.classes):
            score = obj[b] * prob[b][:, c]
            idx = np.where(score > conf)[0]
            idx = idx[np.argsort(-score[idx])]
            while len(idx) > 0:
                i = idx[0]
                rows.append([*corners[i], score[i], c])
                overlaps = bbox_iou_np(corners[i], corners[idx[1:]])
                idx = idx[1:][overlaps <= iou]
        output.append(torch.tensor(np.array(rows), dtype=torch.float32).reshape(-1, 6).to(pred.device))
    return output


def transform(image, boxes):
    """HSV jitter and a flip left to right or upside down."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.float32)
    gain = np.random.uniform(0.9, 1.1, 2)
    hsv[..., 1] = np.clip(hsv[..., 1] * gain[0], 0, 255)
    hsv[..., 2] = np.clip(hsv[..., 2] * gain[1], 0, 255)
    image = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)
    h, w = image.shape[:2]
    boxes = boxes.copy()
    if np.random.rand() < 0.5:
        image = np.fliplr(image)
        boxes[:, [0, 2]] = w - boxes[:, [2, 0]]
    if np.random.rand() < 0.5:
        image = np.flipud(image)
        boxes[:, [1, 3]] = h - boxes[:, [3, 1]]
    return np.ascontiguousarray(image), boxes


def conv_bn(inp, out, stride):
    return nn.Sequential(
        nn.Conv2d(inp, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.LeakyReLU(0.1, inplace=True)
    )


def build_model(head, classes):
    n_down = int(math.log2(head.stride))
    widths = [8 * 2 ** min(k, 2) for k in range(n_down)]
    layers, inp = [], 3
    for width in widths:
        layers.append(conv_bn(inp, width, 2))
        inp = width
    layers.append(conv_bn(inp, inp, 1))
    layers.append(nn.Conv2d(inp, head.anchors.shape[0] * (5 + len(classes)), 1))
    return nn.Sequential(*layers)
