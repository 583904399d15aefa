"""A detector written out for any declared design, with torch alone: the healthy user of `healthy.py`.

What the design says stands as constants at the top of the written file; none of the engine is used, so that
a probe and this file cannot share a mistake.
"""

from __future__ import annotations

from typing import Any

from tests.faults.case import without

FUNCTIONS = ("assign", "decode", "iou", "loss", "detect")

TEXT = '''
import math

import torch
import torch.nn.functional as F

ORDER = {order!r}
PRED, TARGET = {pred!r}, {target!r}
XY, WH, DECODE = {target_xy!r}, {target_wh!r}, {decode!r}
OBJECTNESS, CONFIDENCE, BOX, CLASSES = {objectness!r}, {confidence!r}, {box!r}, {classes!r}
REDUCTION, IGNORE, TOTAL = {reduction!r}, {ignore_iou!r}, {total!r}
RULE, RATIO = {rule!r}, {ratio!r}
WH_FORM, MAPS, SOURCE, CALLS = {wh_form!r}, {maps!r}, {weight!r}, {calls!r}
OBJ, NOOBJ, COORD, CLS = {scales!r}


def aslist(x):
    return list(x) if isinstance(x, (list, tuple)) else [x]


def axes():
    groups, inside = [], None
    for part in ORDER.replace("(", " ( ").replace(")", " ) ").split():
        if part == "(":
            inside = []
        elif part == ")":
            groups.append(inside)
            inside = None
        elif inside is not None:
            inside.append(part)
        else:
            groups.append([part])
    return groups


def to_rows(t, h, channels):
    """declared axes -> [B, H, W, A, channels]"""
    groups = axes()
    flat = [a for g in groups for a in g]
    known = dict(y=h.grid_h, x=h.grid_w, a=len(h.anchors), c=channels)
    known["b"] = t.numel() // (h.grid_h * h.grid_w * len(h.anchors) * channels)
    return t.reshape([known[a] for a in flat]).permute([flat.index(a) for a in "byxac"])


def from_rows(t):
    groups = axes()
    flat = [a for g in groups for a in g]
    sizes = dict(zip("byxac", t.shape))
    moved = t.permute(["byxac".index(a) for a in flat])
    return moved.reshape([math.prod(sizes[a] for a in g) for g in groups])


def slots(t):
    """[B, H, W, A] -> the declared axes without the channel"""
    out = from_rows(t[..., None])
    return out.squeeze(axes().index(["c"])) if ["c"] in axes() else out


def parts(pred, h):
    """conf, raw box, class logits, each on [B, H, W, A, ...]"""
    rows, place, found = to_rows(pred, h, 5 + h.classes), 0, dict()
    for name in PRED:
        width = h.classes if name == "class*" else 1
        found[name] = rows[..., place : place + width]
        place += width
    box = torch.cat([found[n] for n in "xywh"], -1)
    return found["conf"][..., 0], box, found["class*"]


def grid(h):
    gy, gx = torch.meshgrid(torch.arange(h.grid_h).float(), torch.arange(h.grid_w).float(), indexing="ij")
    return torch.stack((gx, gy), -1)[None, :, :, None, :]


def boxes_of(raw, h):
    size = torch.tensor([h.grid_w, h.grid_h]).float()
    if DECODE == "yolov5":
        xy = grid(h) + 2 * raw[..., :2].sigmoid() - 0.5
        wh = h.anchors * (2 * raw[..., 2:].sigmoid()) ** 2
    elif DECODE == "linear":
        xy, wh = grid(h) + 0.5 + raw[..., :2], h.anchors * raw[..., 2:].exp()
    else:
        xy, wh = grid(h) + raw[..., :2].sigmoid(), h.anchors * raw[..., 2:].exp()
    return torch.cat((xy / size, wh / size), -1)


def decode(pred, head):
    return from_rows(boxes_of(parts(pred, head)[1], head))


def corners(b):
    return torch.cat((b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2), -1)


def iou(a, b):
    return overlap(a, b, "iou")


def overlap(a, b, kind):
    p, q = corners(a), corners(b)
    wh = (torch.minimum(p[..., 2:], q[..., 2:]) - torch.maximum(p[..., :2], q[..., :2])).clamp(min=0)
    inter = wh[..., 0] * wh[..., 1]
    union = a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - inter
    value = inter / (union + 1e-12)
    if kind == "iou":
        return value
    hull = torch.maximum(p[..., 2:], q[..., 2:]) - torch.minimum(p[..., :2], q[..., :2])
    if kind == "giou":
        area = hull[..., 0] * hull[..., 1]
        return value - (area - union) / (area + 1e-12)
    value2 = value - ((a[..., :2] - b[..., :2]) ** 2).sum(-1) / ((hull**2).sum(-1) + 1e-12)
    if kind == "diou":
        return value2
    v = 4 / math.pi**2 * (torch.atan(b[..., 2] / b[..., 3]) - torch.atan(a[..., 2] / a[..., 3])) ** 2
    with torch.no_grad():
        alpha = v / (1 - value + v + 1e-9)
    return value2 - alpha * v


def best_anchor(w, h, heads):
    """(head, anchor); w, h in 0..1"""
    best = (-1.0, 0, 0)
    for i, head in enumerate(heads):
        for a, (aw, ah) in enumerate(head.anchors.tolist()):
            bw, bh = w * head.grid_w, h * head.grid_h
            inter = min(bw, aw) * min(bh, ah)
            best = max(best, (inter / (bw * bh + aw * ah - inter), i, a), key=lambda t: t[0])
    return best[1], best[2]


def assign(boxes, labels, head):
    heads, out = aslist(head), []
    for h in heads:
        out.append(torch.zeros(len(boxes), h.grid_h, h.grid_w, len(h.anchors), len(TARGET)))
    for b, (truths, ids) in enumerate(zip(boxes, labels)):
        for (cx, cy, w, hh), k in zip(truths.tolist(), ids.tolist()):
            first = best_anchor(w, hh, heads)
            for i, h in enumerate(heads):
                fx, fy = cx * h.grid_w, cy * h.grid_h
                x, y = min(int(fx), h.grid_w - 1), min(int(fy), h.grid_h - 1)
                near = [(y, x)]
                if RULE == "multi":
                    near += [(y, x - 1 if fx - x < 0.5 else x + 1), (y - 1 if fy - y < 0.5 else y + 1, x)]
                for a, (aw, ah) in enumerate(h.anchors.tolist()):
                    rw, rh = w * h.grid_w / aw, hh * h.grid_h / ah
                    if RULE == "multi":
                        if max(rw, 1 / rw, rh, 1 / rh) >= RATIO and (i, a) != first:
                            continue
                    elif (i, a) != first:
                        continue
                    for v, u in near:
                        if not (0 <= v < h.grid_h and 0 <= u < h.grid_w):
                            continue
                        row = dict(mask=1.0, weight=2 - w * hh, iou=0.0)
                        row["class"] = float(k)
                        row["x"], row["y"], row["w"], row["h"] = cx, cy, w, hh
                        if XY != "image":
                            row["x"], row["y"] = fx, fy
                        if XY == "cell":
                            row["x"], row["y"] = fx - u, fy - v
                        if WH == "grid":
                            row["w"], row["h"] = w * h.grid_w, hh * h.grid_h
                        elif WH == "log-anchor":
                            row["w"], row["h"] = math.log(rw), math.log(rh)
                        out[i][b, v, u, a] = torch.tensor([row[n] for n in TARGET])
    out = [from_rows(t) for t in out]
    return out if len(out) > 1 else out[0]


def truth(t, h):
    """mask, class, boxes in 0..1, weight, all on [B, H, W, A, ...]"""
    c = dict((n, to_rows(t, h, len(TARGET))[..., k]) for k, n in enumerate(TARGET))
    size, cell = torch.tensor([h.grid_w, h.grid_h]).float(), grid(h)
    xy, wh = torch.stack((c["x"], c["y"]), -1), torch.stack((c["w"], c["h"]), -1)
    if XY == "cell":
        xy = xy + cell
    if XY != "image":
        xy = xy / size
    if WH == "log-anchor":
        wh = wh.exp() * h.anchors
    if WH != "image":
        wh = wh / size
    weight = c["weight"] if SOURCE == "read" and "weight" in c else 2 - wh[..., 0] * wh[..., 1]
    return c["mask"] > 0, c["class"], torch.cat((xy, wh), -1), weight


def loss(pred, targets, head):
    lcls = lbox = lobj = liou = 0.0
    count = slots_all = 0
    maps = dict(lcls=[], lbox=[], lobj=[], liou=[])
    preds, wanted, heads = aslist(pred), aslist(targets), aslist(head)
    batch = to_rows(preds[0], heads[0], 5 + heads[0].classes).shape[0]
    truths = [[] for _ in range(batch)]
    for t, h in zip(wanted, heads):
        mask, _, box, _ = truth(t, h)
        for b in range(batch):
            truths[b] += list(box[b][mask[b]])
    for p, t, h in zip(preds, wanted, heads):
        conf, raw, logits = parts(p, h)
        mask, cls, box, weight = truth(t, h)
        got = to_rows(decode(p, h), h, 4) if CALLS else boxes_of(raw, h)
        live = iou(got[mask], box[mask]) if CALLS else overlap(got[mask], box[mask], "iou")
        if BOX in ("mse", "smooth-l1"):
            size = torch.tensor([h.grid_w, h.grid_h]).float()
            cell, anchors = grid(h).expand_as(got[..., :2])[mask], h.anchors.expand_as(got[..., 2:])[mask]
            dxy = (got[mask][:, :2] - box[mask][:, :2]) * size
            a, b = got[mask][:, 2:] * size, box[mask][:, 2:] * size
            if WH_FORM == "log":
                dwh = (a / anchors).log() - (b / anchors).log()
            elif WH_FORM == "root":
                dwh = a.sqrt() - b.sqrt()
            else:
                dwh = a - b
            d = torch.cat((dxy, dwh), -1)
            each = F.smooth_l1_loss(d, torch.zeros_like(d), reduction="none") if BOX == "smooth-l1" else d**2
            each = weight[mask] * each.sum(-1)
        else:
            each = 1 - overlap(got[mask], box[mask], BOX)
        goal = live.detach() if OBJECTNESS == "iou" else torch.ones_like(live)
        free = ~mask
        if IGNORE > 0:
            for b in range(batch):
                for one in truths[b]:
                    free[b] &= overlap(got[b].detach(), one.expand_as(got[b]), "iou") <= IGNORE
        if CONFIDENCE == "bce":
            pos = F.binary_cross_entropy_with_logits(conf[mask], goal, reduction="none")
            neg = F.softplus(conf[free])
        else:
            pos, neg = (conf[mask].sigmoid() - goal) ** 2, conf[free].sigmoid() ** 2
        if CLASSES == "bce":
            hot = F.one_hot(cls[mask].long(), h.classes).float()
            c = F.binary_cross_entropy_with_logits(logits[mask], hot, reduction="none").sum(-1)
        else:
            c = F.cross_entropy(logits[mask], cls[mask].long(), reduction="none")
        for name, where, value in (
            ("lcls", [mask], [CLS * c]),
            ("lbox", [mask], [COORD * each]),
            ("lobj", [mask, free], [OBJ * pos, NOOBJ * neg]),
            ("liou", [mask], [1 - live]),
        ):
            dense = torch.zeros_like(conf)
            for place, v in zip(where, value):
                dense[place] = v.detach()
            maps[name].append(slots(dense))
        lcls, lbox, liou = lcls + CLS * c.sum(), lbox + COORD * each.sum(), liou + (1 - live).sum()
        lobj = lobj + OBJ * pos.sum() + NOOBJ * neg.sum()
        count += int(mask.sum())
        slots_all += conf.numel()
    matched = dense = batch
    if REDUCTION != "batch":
        matched = max(1, count)
        dense = slots_all if REDUCTION == "mean" else matched
    out = dict(lcls=lcls / matched, lbox=lbox / matched, lobj=lobj / dense, liou=liou / matched)
    out["total"] = sum(out[n] for n in TOTAL)
    if MAPS:
        out["maps"] = maps if len(heads) > 1 else dict((n, m[0]) for n, m in maps.items())
    return out


def detect(pred, head, sizes, conf=0.25, iou=0.45):
    heads, out = aslist(head), []
    rows = [(boxes_of(parts(p, h)[1], h), parts(p, h)) for p, h in zip(aslist(pred), heads)]
    width, height = heads[0].input_w, heads[0].input_h
    for b, (h0, w0) in enumerate(sizes):
        box = torch.cat([r[0][b].reshape(-1, 4) for r in rows])
        sure = torch.cat([r[1][0][b].reshape(-1) for r in rows]).sigmoid()
        logits = torch.cat([r[1][2][b].reshape(-1, heads[0].classes) for r in rows])
        prob = logits.softmax(-1) if CLASSES == "softmax" else logits.sigmoid()
        score, cls = (sure[:, None] * prob).max(-1)
        keep = score > conf
        box, score, cls = corners(box[keep]), score[keep], cls[keep]
        k = min(width / w0, height / h0)
        left, top = (width - w0 * k) / 2, (height - h0 * k) / 2
        box = (box * torch.tensor([width, height, width, height]) - torch.tensor([left, top, left, top])) / k
        kept = []
        for i in score.argsort(descending=True).tolist():
            x1, y1, x2, y2 = box[i].tolist()
            good = True
            for j in kept:
                u1, v1, u2, v2 = box[j].tolist()
                inter = max(0.0, min(x2, u2) - max(x1, u1)) * max(0.0, min(y2, v2) - max(y1, v1))
                union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - inter
                if cls[i] == cls[j] and inter > iou * union:
                    good = False
            if good:
                kept.append(i)
        out.append(torch.cat((box, score[:, None], cls[:, None].float()), 1)[kept].reshape(-1, 6))
    return out
'''


def handwritten(model: dict[str, Any], layout: dict[str, Any], loss: dict[str, Any], style: Any) -> str:
    """The file for a design's ``[model]``, ``[layout]`` and ``[loss]``. ``style`` draws what the contract
    leaves free (a ``random.Random``): the form of w and h, scales, maps, whether the weight is read, which of
    the functions the file holds."""
    held = style.choice([FUNCTIONS, FUNCTIONS, ("loss",), ("loss", "detect"), ("assign", "decode", "detect")])
    values: dict[str, Any] = {
        "order": "b y x a c",
        "pred": ["conf", "x", "y", "w", "h", "class*"],
        "target": ["mask", "class", "x", "y", "w", "h", "weight", "iou"],
        "target_xy": "image",
        "target_wh": "image",
        "decode": "yolov2",
        "objectness": "iou",
        "confidence": "mse",
        "box": "mse",
        "classes": "softmax",
        "reduction": "batch",
        "ignore_iou": 0.6,
        "total": ["lcls", "lbox", "lobj"],
        **layout,
        **loss,
        "rule": model.get("assign", "best"),
        "ratio": model.get("assign_ratio", 4.0),
        "wh_form": style.choice(["log", "log", "root", "plain"]),
        "maps": style.random() < 0.5,
        "calls": held == FUNCTIONS and style.random() < 0.5,
        "weight": style.choice(["read", "recomputed"]),
        "scales": (style.choice([1.0, 5.0]), style.choice([0.5, 1.0]), style.choice([1.0, 2.5]), 1.0),
    }
    return without(TEXT.format(**values), set(FUNCTIONS) - set(held))
