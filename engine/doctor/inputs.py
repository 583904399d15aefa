"""Inputs without symmetry: truths in known slots, predictions that decode to them, random ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from ..boxes import shape_iou
from ..layout import DecodeName, Head
from ..yolo.assign import Assigned, assign
from ..yolo.decode import decode_boxes
from .stage import Stage


@dataclass(frozen=True)
class Scene:
    """A batch's truths and what the reference makes of them: canonical targets, the positives' index."""

    boxes: list[Tensor]
    labels: list[Tensor]
    assigned: Assigned

    @property
    def batch(self) -> int:
        return len(self.boxes)

    @property
    def targets(self) -> list[Tensor]:
        return [t.clone() for t in self.assigned.targets]

    @property
    def positive(self) -> list[Tensor]:
        """``[B, H, W, A]`` bool a head."""
        return [t[..., 0] > 0 for t in self.assigned.targets]


DRAW = ContextVar("draw", default=0)
"""Which of the probes' random inputs are drawn: ``check``'s seed."""


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed + 100_003 * DRAW.get())


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    token = DRAW.set(seed)
    try:
        yield
    finally:
        DRAW.reset(token)


def uniform(low: float, high: float, g: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=g))


def scene(stage: Stage, counts: Sequence[int], seed: int = 0, smallest: float = 0.0) -> Scene:
    """``counts[b]`` truths in image b, in cells apart from each other, each with one clearly best anchor.

    ``smallest``: least side of a truth, in cells of the coarsest grid. An image may get fewer truths than
    asked for where the grid has no room.
    """
    g = generator(seed)
    boxes, labels = [], []
    number = 0
    for count in counts:
        rows, classes = [], []
        for cell in _cells_apart(stage.heads[-1], count, g):
            rows.append(_truth(stage.heads, cell, number, smallest, g))
            classes.append((stage.classes - 1 - number) % stage.classes)
            number += 1
        boxes.append(torch.tensor(rows, dtype=torch.float32).reshape(-1, 4))
        labels.append(torch.tensor(classes, dtype=torch.int64))
    return given(stage, boxes, labels)


def every_anchor(stage: Stage) -> Scene:
    """For each anchor of each head one truth of its size in that very slot: in the border's cells and inside,
    six to an image."""
    slots = [(k, a) for k, head in enumerate(stage.heads) for a in range(head.anchor_count)]
    rows: list[tuple[int, int, int, int, int, list[float]]] = []
    for number, (k, a) in enumerate(slots):
        head = stage.heads[k]
        y, x = head.grid_h - 1, head.grid_w - 1
        row, column = ((0, x), (y, 0), (y // 2, x), (y, x), (y, x // 2), (0, 0))[number % 6]
        w, h = head.anchors[a].tolist()
        centre = [(column + 0.37) / head.grid_w, (row + 0.61) / head.grid_h]
        size = [min(w / head.grid_w, 0.95), min(h / head.grid_h, 0.95)]
        rows.append((number // 6, k, row, column, a, [*centre, *size]))
    images = range(rows[-1][0] + 1)
    boxes = [torch.tensor([box for image, *_, box in rows if image == n]) for n in images]
    labels = [torch.arange(n * 6, n * 6 + len(boxes[n])) % stage.classes for n in images]
    made = given(stage, boxes, labels)
    for target in made.assigned.targets:
        target.zero_()
    for number, (image, k, row, column, a, box) in enumerate(rows):  # also where another anchor is as good
        values = [1.0, float(number % stage.classes), *box, 2 - box[2] * box[3], 0.0]
        made.assigned.targets[k][image, row, column, a] = torch.tensor(values)
    return made


def in_slots(stage: Stage, images: Sequence[Sequence[tuple[int, int, int, int]]]) -> Scene:
    """Truths in these very slots (head, row, column, anchor), each nearly of its anchor's size; those of one
    image are of one class."""
    boxes, labels = [], []
    for number, slots in enumerate(images):
        rows = []
        for k, y, x, a in slots:
            head = stage.heads[k]
            w, h = (head.anchors[a].float() * torch.tensor([1.15, 0.87])).tolist()
            size = [min(w / head.grid_w, 0.95), min(h / head.grid_h, 0.95)]
            rows.append([(x + 0.37) / head.grid_w, (y + 0.61) / head.grid_h, *size])
        boxes.append(torch.tensor(rows, dtype=torch.float32).reshape(-1, 4))
        labels.append(torch.full((len(rows),), number % stage.classes))
    made = given(stage, boxes, labels)
    for target in made.assigned.targets:
        target.zero_()
    for image, slots in enumerate(images):
        for row, (k, y, x, a) in enumerate(slots):
            box = boxes[image][row].tolist()
            values = [1.0, float(labels[image][row]), *box, 2 - box[2] * box[3], 0.0]
            made.assigned.targets[k][image, y, x, a] = torch.tensor(values)
    return made


def given(stage: Stage, boxes: list[Tensor], labels: list[Tensor]) -> Scene:
    """A scene of these truths, one slot each (whatever rule is declared: every slot holds a whole truth)."""
    return Scene(boxes, labels, assign(boxes, labels, stage.heads, "best"))


def anchor_margin(size: tuple[float, float], heads: Sequence[Head]) -> float:
    """By how much the best anchor's w/h IoU leads the second's; ``size`` in 0..1 of the input."""
    anchors = torch.cat([head.anchors.float() * head.stride for head in heads])
    pixels = torch.tensor([[size[0] * heads[0].input_w, size[1] * heads[0].input_h]])
    best = shape_iou(pixels, anchors)[0].sort(descending=True).values
    return float(best[0] - best[1]) if len(best) > 1 else 1.0


def perfect(stage: Stage, made: Scene, sure: float = 12.0) -> list[Tensor]:
    """Canonical predictions that decode to the truths, with certainty about objects and classes."""
    preds = []
    for head, target in zip(stage.heads, made.assigned.targets, strict=True):
        pred = torch.zeros(*target.shape[:4], 5 + head.classes)
        pred[..., 0] = -sure
        b, y, x, a = (target[..., 0] > 0).nonzero(as_tuple=True)
        slot = target[b, y, x, a]
        pred[b, y, x, a, 0] = sure
        pred[b, y, x, a, 1:5] = encode_box(slot[:, 2:6], torch.stack((x, y), 1), head, a, stage.layout.decode)
        logits = torch.full((len(b), head.classes), -sure)
        logits[torch.arange(len(b)), slot[:, 1].long()] = sure
        pred[b, y, x, a, 5:] = logits
        preds.append(pred)
    return preds


def encode_box(boxes: Tensor, cells: Tensor, head: Head, anchor: Tensor, name: DecodeName) -> Tensor:
    """``decode`` undone: boxes ``[P, 4]`` in 0..1, cells ``[P, 2]`` x, y -> raw ``[P, 4]``."""
    fraction = boxes[:, :2] * boxes.new_tensor([head.grid_w, head.grid_h]) - cells
    ratio = boxes[:, 2:] * boxes.new_tensor([head.grid_w, head.grid_h]) / head.anchors.to(boxes)[anchor]
    if name == "linear":
        return torch.cat((fraction - 0.5, ratio.log()), 1)
    if name == "yolov5":
        return torch.cat((torch.logit((fraction + 0.5) / 2, 1e-4), torch.logit(ratio.sqrt() / 2, 1e-4)), 1)
    stretched = (fraction - 0.5) / head.scale_xy + 0.5
    return torch.cat((torch.logit(stretched, 1e-4), ratio.log()), 1)


def noise(stage: Stage, batch: int, seed: int, scale: float = 1.0) -> list[Tensor]:
    """Random canonical predictions, each channel group with a spread of its own."""
    g = generator(seed)
    spread = torch.tensor([1.3, 0.9, 1.1, 0.5, 0.6])
    preds = []
    for head in stage.heads:
        shape = (batch, head.grid_h, head.grid_w, head.anchor_count, 5 + head.classes)
        pred = torch.randn(shape, generator=g) * scale
        pred[..., :5] *= spread
        preds.append(pred)
    return preds


def decoded(stage: Stage, preds: Sequence[Tensor]) -> list[Tensor]:
    """By the reference, on canonical axes."""
    return [decode_boxes(p, h, stage.layout.decode) for p, h in zip(preds, stage.heads, strict=True)]


def _cells_apart(head: Head, count: int, g: torch.Generator) -> list[tuple[int, int]]:
    """(row, column) of up to ``count`` cells, no two of them neighbours; never symmetric about a diagonal."""
    order = torch.randperm(head.grid_h * head.grid_w, generator=g).tolist()
    chosen: list[tuple[int, int]] = []
    # cells off the diagonal first: there row and column can be told apart
    order.sort(key=lambda k: k // head.grid_w == k % head.grid_w)
    for flat in order:
        y, x = divmod(flat, head.grid_w)
        if len(chosen) < count and all(max(abs(y - v), abs(x - u)) > 1 for v, u in chosen):
            chosen.append((y, x))
    return chosen


def _truth(
    heads: Sequence[Head], cell: tuple[int, int], number: int, smallest: float, g: torch.Generator
) -> list[float]:
    coarse = heads[-1]
    anchors = torch.cat([head.anchors.float() * head.stride for head in heads])
    best: tuple[float, list[float]] = (-1.0, [])
    for attempt in range(60):
        cx = (cell[1] + uniform(0.2, 0.8, g)) / coarse.grid_w
        cy = (cell[0] + uniform(0.2, 0.8, g)) / coarse.grid_h
        w, h = (anchors[(number + attempt) % len(anchors)]).tolist()
        w = max(w / coarse.input_w * uniform(0.8, 1.25, g), smallest / coarse.grid_w)
        h = max(h / coarse.input_h * uniform(0.8, 1.25, g), smallest / coarse.grid_h)
        w = min(w, 1.999 * min(cx, 1 - cx))
        h = min(h, 1.999 * min(cy, 1 - cy))
        inside = min(_inside(cx * head.grid_w) + _inside(cy * head.grid_h) for head in heads)
        room = (
            1.0 if smallest == 0 or (w * coarse.grid_w >= smallest and h * coarse.grid_h >= smallest) else 0
        )
        quality = min(anchor_margin((w, h), heads), 0.04) * 10 + inside + room
        if quality > best[0]:
            best = (quality, [cx, cy, w, h])
        if anchor_margin((w, h), heads) > 0.04 and inside == 2 and room:
            break
    return best[1]


def _inside(position: float) -> int:
    """Whether a centre is clear of its cell's borders and middle."""
    fraction = position % 1
    return int(0.1 < fraction < 0.9 and abs(fraction - 0.5) > 0.03)
