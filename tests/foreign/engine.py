"""Somebody's own ``engine.py``: the name that a training script's helper has in half of all repositories."""

from __future__ import annotations

import torch
from torch import Tensor

GRID, STRIDE, CLASSES = 6, 16, 2
ANCHORS = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
SIZE = GRID * STRIDE


def draw_batch(count: int, generator: torch.Generator) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Grey pictures with one bright or dark square each; boxes cx, cy, w, h in 0..1 and classes."""
    images = torch.full((count, 3, SIZE, SIZE), 0.5)
    boxes, labels = [], []
    for image in images:
        label = int(torch.randint(CLASSES, (1,), generator=generator))
        side = int(torch.randint(12, 40, (1,), generator=generator))
        x, y = (int(v) for v in torch.randint(0, SIZE - side, (2,), generator=generator))
        image[:, y : y + side, x : x + side] = float(label)
        boxes.append(torch.tensor([[x + side / 2, y + side / 2, side, side]]) / SIZE)
        labels.append(torch.tensor([label]))
    return images, boxes, labels


def make_targets(boxes: list[Tensor], labels: list[Tensor]) -> Tensor:
    """``[B, 2 * 6, 6, 6]``: anchor and (x, y, w, h, mask, class) in one axis; x, y are fractions of the cell,
    w, h logs over the anchor."""
    targets = torch.zeros(len(boxes), 2, 6, GRID, GRID)
    for b, (own, classes) in enumerate(zip(boxes, labels, strict=True)):
        for (cx, cy, w, h), label in zip((own * GRID).tolist(), classes.tolist(), strict=True):
            column, row = min(int(cx), GRID - 1), min(int(cy), GRID - 1)
            a = int((ANCHORS[:, 0] - w).abs().argmin())
            size = torch.tensor([w, h]) / ANCHORS[a]
            values = [cx - column, cy - row, *size.log().tolist(), 1.0, float(label)]
            targets[b, a, :, row, column] = torch.tensor(values)
    return targets.flatten(1, 2)


def losses_of(pred: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """``pred``: ``[B, 2 * 7, 6, 6]``, anchor and (x, y, w, h, conf, two classes) in one axis."""
    p, t = pred.unflatten(1, (2, 7)), targets.unflatten(1, (2, 6))
    mask = t[:, :, 4]
    lbox = ((p[:, :, 0:2].sigmoid() - t[:, :, 0:2]) ** 2 + (p[:, :, 2:4] - t[:, :, 2:4]) ** 2).sum(2)
    lobj = torch.nn.functional.binary_cross_entropy_with_logits(p[:, :, 4], mask, reduction="none")
    lcls = torch.nn.functional.cross_entropy(p[:, :, 5:].movedim(2, 1), t[:, :, 5].long(), reduction="none")
    terms = {"box": (lbox * mask).sum(), "obj": lobj.sum(), "cls": (lcls * mask).sum()}
    terms = {name: value / len(pred) for name, value in terms.items()}
    return {**terms, "total": sum(terms.values(), torch.zeros(()))}
