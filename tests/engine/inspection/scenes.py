"""Small steps with known numbers, in any layout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from engine.inspection.frames import Frame, built_in_decode
from engine.layout import Head, Layout
from engine.runs.snapshots import CodePlace, Snapshot, make_snapshot

ORDERS = ["b y x a c", "b a y x c", "b a c y x", "b (a c) y x", "b (c a) y x", "b (y x) a c", "b (y x a) c"]
HEAD = Head(4, 6, 32, torch.tensor([[1.0, 2.0], [3.0, 1.5]]), 3)
"""H != W, anchors that differ in shape, an input of 192 x 128 pixels."""
COARSE = Head(2, 3, 64, torch.tensor([[0.5, 0.5], [2.0, 1.0]]), 3)
POSITIVES = ((0, 1, 2, 1), (0, 3, 5, 0), (1, 0, 0, 0))
CLASSES = ("cat", "dog", "bird")


def canonical_pred(head: Head = HEAD, batch: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, head.grid_h, head.grid_w, head.anchor_count, 5 + head.classes)
    return torch.randn(shape, generator=generator)


def canonical_targets(head: Head = HEAD, batch: int = 2) -> Tensor:
    """A truth at each of POSITIVES: in its cell's middle, 0.3 x 0.2, of class image + anchor."""
    targets = torch.zeros(batch, head.grid_h, head.grid_w, head.anchor_count, 8)
    for b, y, x, a in POSITIVES:
        if y < head.grid_h and x < head.grid_w:
            centre = ((x + 0.5) / head.grid_w, (y + 0.5) / head.grid_h)
            targets[b, y, x, a] = torch.tensor([1, b + a, *centre, 0.3, 0.2, 1.94, 0.25])
    return targets


def snapshot(
    layout: Layout | None = None,
    pred: Tensor | None = None,
    *,
    heads: tuple[Head, ...] = (HEAD,),
    decoded: Tensor | None = None,
    step: int = 10,
    **about: Any,
) -> Snapshot:
    layout = layout or Layout()
    preds = [canonical_pred(head, seed=k) for k, head in enumerate(heads)]
    if pred is not None:
        preds[0] = pred
    decode = built_in_decode(layout)
    boxes = [decode(p, head) for p, head in zip(preds, heads, strict=True)]
    if decoded is not None:
        boxes[0] = decoded
    maps = {
        term: [torch.rand(p.shape[:4], generator=torch.Generator().manual_seed(k)) for p in preds]
        for k, term in enumerate(("lcls", "lbox", "lobj"))
    }
    grads = [p * 0.5 - 0.1 for p in preds]
    made = make_snapshot(
        step=step,
        epoch=1,
        layout=layout,
        heads=heads,
        pred=[layout.write_pred(p, h) for p, h in zip(preds, heads, strict=True)],
        targets=[layout.write_targets(canonical_targets(h), h) for h in heads],
        decoded=[layout.from_canonical_axes(b) for b in boxes],
        grad=[layout.write_pred(g, h) for g, h in zip(grads, heads, strict=True)],
        maps=maps,
        images=torch.arange(2 * 3 * 128 * 192).remainder(251).to(torch.uint8).view(2, 3, 128, 192),
        boxes=[torch.tensor([[0.5, 0.5, 0.5, 0.25]]), torch.zeros(0, 4)],
        labels=[torch.tensor([2]), torch.zeros(0, dtype=torch.int64)],
        terms={"lcls": 1.0, "lbox": 2.0, "lobj": 3.0},
        classes=CLASSES,
        paths=("/images/a.jpg", "/images/b.jpg"),
        profile={"box": "mse", "classes": "softmax", "objectness": "iou", "total": ["lcls", "lbox", "lobj"]},
    )
    return replace(made, **about)


def frame(layout: Layout | None = None, **parts: Any) -> Frame:
    return Frame(snapshot(layout, **parts))


def sliced_decode(layout: Layout, head: Head = HEAD) -> tuple[Snapshot, Frame]:
    """Somebody's decode that reads ``pred[..., 0:4]`` where ``1:5`` is declared, beside the reference."""
    pred = canonical_pred(head)
    wrong = pred.clone()
    wrong[..., 1:5] = pred[..., 0:4]
    made = snapshot(
        layout,
        decoded=built_in_decode(layout)(wrong, head),
        functions={"decode": CodePlace("/home/me/my.py", 41)},
    )
    return made, Frame(made, reference_decode=built_in_decode(layout))
