"""The ignore rule is a box's own: an anchor beside one that overlaps a truth keeps its no-object loss."""

from __future__ import annotations

import torch

from .findings import Finding
from .inputs import encode_box, given, perfect
from .loss_run import Trial


def judge_ignored_cell(trial: Trial) -> Finding | None:
    """One truth near its cell's right border; in the cell to the right one anchor's box lies upon it, the
    others are a fraction of its size."""
    stage = trial.stage
    head = stage.heads[-1]
    if head.anchor_count < 2 or head.grid_w < 3:
        return None
    y, x = head.grid_h // 2, head.grid_w // 2 - 1
    size = torch.tensor([head.grid_w, head.grid_h], dtype=torch.float32)
    anchor = head.anchors.float()[int(head.anchors.prod(1).argmax())]
    side = torch.minimum(anchor.clamp(min=2.5), 0.7 * size)
    box = torch.cat((torch.tensor([x + 0.97, y + 0.5]), side)) / torch.cat((size, size))
    alone = Trial(trial.called, stage, given(stage, [box[None]], [torch.tensor([stage.classes - 1])]))
    preds = perfect(stage, alone.scene, sure=1.0)
    last = preds[-1]
    cell = torch.tensor([[float(x + 1), float(y)]])
    for a in range(head.anchor_count):
        scale = torch.tensor([1.0, 1.0, 1.0, 1.0] if a == 0 else [1.0, 1.0, 0.2, 0.2])
        raw = encode_box((box * scale)[None], cell, head, torch.tensor([a]), stage.layout.decode)
        last[0, y, x + 1, a, 1:5] = raw[0].clamp(-8, 8)
    flat_last = alone.best_overlaps(preds)[-last[..., 0].numel() :].reshape(last.shape[:4])
    beside = flat_last[0, y, x + 1, 1:] < 0.3
    if not bool(beside.any()) or float(flat_last[0, y, x + 1, 0]) < 0.7:
        return None
    moved = alone.grads(preds, ["lobj"])["lobj"][-last[..., 0].numel() :, 0].reshape(last.shape[:4])
    still = beside & (moved[0, y, x + 1, 1:] == 0)
    if not bool(still.any()):
        return None
    a = 1 + int(still.nonzero()[0])
    return Finding(
        "error",
        "loss.negatives",
        "loss",
        "lobj leaves out every anchor of a cell in which one box overlaps a truth",
        channels=("conf",),
        expected="only the box that overlaps is ignored, the cell's others are pulled to 0",
        got=f"gradient 0 on anchor {a}, whose box overlaps by {float(flat_last[0, y, x + 1, a]):.2f}",
        fix="compare each box's own best IoU with ignore_iou: no maximum over the anchors",
        cell=(0, y, x + 1, a),
        term="lobj",
    )
