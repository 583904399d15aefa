"""Pictures of several objects whose classes and scores all differ: each keeps its own, whatever is sorted,
and only what overlaps competes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from ...boxes import iou as corner_iou
from ...boxes import to_xyxy
from ...layout import Head
from ..calling import Called
from ..findings import Finding
from ..inputs import encode_box
from ..stage import BOX_NAMES, Stage
from .run import run_detect

WEAK, STRONG = 0.9, 0.98


@dataclass(frozen=True)
class Thing:
    """``box``: cx, cy, w, h in cells of its head."""

    box: tuple[float, float, float, float]
    score: float
    label: int


def judge_crowd(called: Called, stage: Stage) -> list[Finding]:
    head = max(stage.heads, key=lambda h: h.stride)
    last = stage.classes - 1
    pictures = [_beside(head, last), _below(head, last)]
    if stage.classes > 1:
        pictures += [_corners(head, last), _twins(head, last, False), _twins(head, last, True)]
    anchor = int(head.anchors.float().prod(1).argmax())
    preds = _drawn(stage, head, anchor, pictures)
    found = run_detect(called, stage, preds, [(head.input_h, head.input_w)] * len(pictures))
    for way, rows in zip(("beside", "above"), found, strict=False):
        if len(rows) < 2:
            return [called.placed(_lost(way, len(rows)))]
    if stage.classes == 1:
        return []
    if mixed := _mixed(head, pictures[2], found[2]):
        return [called.placed(mixed)]
    scores = [
        float(rows[rows[:, 5] == last][:, 4].max()) for rows in found[3:] if bool((rows[:, 5] == last).any())
    ]
    if scores and min(scores) < (WEAK + STRONG) / 2:
        return [called.placed(_weaker(min(scores)))]
    return []


def _beside(head: Head, label: int) -> list[Thing]:
    """Two of one class with a gap between them, in the corner farthest from the origin."""
    k = 1.0 if min(head.grid_h, head.grid_w) < 8 else 2.0
    x, y = head.grid_w - 0.55 * k, head.grid_h - 0.55 * k
    size = (0.8 * k, 0.8 * k)
    return [Thing((x - 0.9 * k, y, *size), 0.9, label), Thing((x, y, *size), 0.8, label)]


def _below(head: Head, label: int) -> list[Thing]:
    first, second = _beside(head, label)
    x, y, w, h = second.box
    gap = x - first.box[0]
    return [Thing((x, y - gap, w, h), 0.8, label), Thing((x, y, w, h), 0.9, label)]


def _corners(head: Head, last: int) -> list[Thing]:
    """Neither classes nor scores in the order of the slots."""
    x, y = head.grid_w - 0.55, head.grid_h - 0.55
    places = [(0.55, 0.55), (x, 0.55), (0.55, y), (x, y)]
    values = [(0.75, 0), (0.95, last), (0.65, last), (0.85, 0)]
    return [Thing((*at, 0.8, 0.8), *value) for at, value in zip(places, values, strict=True)]


def _twins(head: Head, last: int, turned: bool) -> list[Thing]:
    """One object of the last class in two cells; before it two of another class, whose scores would put the
    weaker twin first."""
    row = head.grid_h - 1
    border = float(head.grid_w // 2)
    size = (1.9, 1.3)
    scores, others = ((STRONG, WEAK), (0.7, 0.95)) if turned else ((WEAK, STRONG), (0.95, 0.7))
    return [
        Thing((0.55, 0.55, 0.8, 0.8), others[0], 0),
        Thing((head.grid_w - 0.55, 0.55, 0.8, 0.8), others[1], 0),
        Thing((border - 0.03, row + 0.3, *size), scores[0], last),
        Thing((border + 0.03, row + 0.3, *size), scores[1], last),
    ]


def _drawn(stage: Stage, head: Head, anchor: int, pictures: list[list[Thing]]) -> list[Tensor]:
    preds = [
        torch.zeros(len(pictures), h.grid_h, h.grid_w, h.anchor_count, 5 + h.classes) for h in stage.heads
    ]
    for pred in preds:
        pred[..., 0] = -12.0
    mine = preds[next(k for k, h in enumerate(stage.heads) if h is head)]
    for image, things in enumerate(pictures):
        for thing in things:
            box = _fractions(thing, head)
            x, y = int(thing.box[0]), int(thing.box[1])
            slot = mine[image, y, x, anchor]
            cell = torch.tensor([[float(x), float(y)]])
            raw = encode_box(box[None], cell, head, torch.tensor([anchor]), stage.layout.decode)[0]
            slot[0], slot[1:5], slot[5:] = torch.tensor(thing.score).logit(), raw, -12.0
            slot[5 + thing.label] = 12.0
    return preds


def _fractions(thing: Thing, head: Head) -> Tensor:
    return torch.tensor(thing.box) / torch.tensor([head.grid_w, head.grid_h] * 2)


def _mixed(head: Head, things: list[Thing], rows: Tensor) -> Finding | None:
    """An object that came back under another's class, or with another's score."""
    pixels = torch.tensor([head.input_w, head.input_h] * 2, dtype=torch.float32)
    taken: list[tuple[Thing, Tensor]] = []
    for thing in things:
        overlap = corner_iou((to_xyxy(_fractions(thing, head)) * pixels)[None], rows[:, :4])
        if not len(rows) or float(overlap.max()) < 0.5:
            return None  # lost altogether: other probes tell of that
        taken.append((thing, rows[int(overlap.argmax())]))
    classes = [(int(row[5]), thing.label) for thing, row in taken]
    wrong = next(((got, want) for got, want in classes if got != want), None)
    if wrong:
        text, channel = "class", "class"
        shown = f"class {wrong[1]}", f"class {wrong[0]}"
    else:
        by_score = sorted(taken, key=lambda each: each[0].score)
        got = [float(row[4]) for _, row in by_score]
        if all(low < high for low, high in itertools.pairwise(got)):
            return None
        text, channel = "score", "conf"
        shown = ", ".join(f"{t.score:.2f}" for t, _ in by_score), ", ".join(f"{v:.2f}" for v in got)
    return _finding(
        f"detect gives an object the {text} of another, where others stand beside it",
        *shown,
        "sort or select boxes, scores and classes by the same index",
        (channel,),
    )


def _lost(way: str, count: int) -> Finding:
    return _finding(
        f"of two objects of one class, one {way} the other without touching it, detect keeps {count}",
        "2 detections",
        f"{count} detection(s)",
        "mind the box format that NMS expects: corners, or x, y, w, h",
        BOX_NAMES,
    )


def _weaker(score: float) -> Finding:
    return _finding(
        "of two detections of one object the weaker is kept, where objects of another class stand before it: "
        "the order of NMS comes from their scores",
        f"score {STRONG}",
        f"score {score:.2f}",
        "order the boxes of a class by their own scores: the same mask for both",
        ("conf",),
    )


def _finding(message: str, expected: str, got: str, fix: str, channels: tuple[str, ...]) -> Finding:
    return Finding(
        "error",
        "detect.crowd",
        "detect",
        message,
        tensor="detections",
        channels=channels,
        expected=expected,
        got=got,
        fix=fix,
    )
