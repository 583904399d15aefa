"""Sizes that tell right sides from exchanged ones; and, where the rule gives a truth further slots, that an
anchor which answers from beside the truth answers from its own cell too."""

from __future__ import annotations

import torch
from torch import Tensor

from ...boxes import shape_iou
from ...yolo.assign import assign
from ..calling import Called
from ..findings import Finding
from ..inputs import Scene, anchor_margin, generator, given, uniform
from ..stage import Stage

MARGIN = 0.04
"""By which the best anchor leads: then no rounding decides."""
ALIKE = 3
"""Truths of each kind; as many anchors without the truth's own cell are no accident."""


def confusable(stage: Stage) -> Scene | None:
    """Truths whose best anchor is another where the input's sides, or the truth's, are exchanged. None where
    no size tells."""
    g = generator(43)
    anchors = torch.cat([head.anchors.float() * head.stride for head in stage.heads])
    width, height = stage.input_wh
    low, high = 0.7 * anchors.amin(0), 1.3 * anchors.amax(0)
    kept: dict[str, list[Tensor]] = {"input": [], "truth": []}
    for _ in range(400):
        w, h = (float(a * (b / a) ** uniform(0, 1, g)) for a, b in zip(low, high, strict=True))
        if w > 0.95 * width or h > 0.95 * height:
            continue
        exchanged = {"input": [w / width * height, h / height * width], "truth": [h, w]}
        tried = torch.tensor([[w, h], *exchanged.values()])
        best, *others = shape_iou(tried, anchors).argmax(1).tolist()
        if anchor_margin((w / width, h / height), stage.heads) < MARGIN:
            continue
        for name, other in zip(exchanged, others, strict=True):
            if other != best and len(kept[name]) < ALIKE:
                kept[name].append(torch.tensor([[0.37, 0.58, w / width, h / height]]))
                break
        if all(len(each) == ALIKE for each in kept.values()):
            break
    boxes = kept["input"] + kept["truth"]
    if not boxes:
        return None
    return given(stage, boxes, [torch.tensor([k % stage.classes]) for k in range(len(boxes))])


def judge_further(called: Called, stage: Stage, made: Scene, targets: list[Tensor]) -> list[Finding]:
    """``made``: one truth an image; ``targets``: the user's, declared channels on canonical axes."""
    mask = stage.layout.target.index("mask")
    allowed = assign(made.boxes, made.labels, stage.heads, "multi", stage.detector.ratio).targets
    without: list[tuple[int, int, int, int]] = []
    for head, got, rule in zip(stage.heads, targets, allowed, strict=True):
        size = torch.tensor([head.grid_w, head.grid_h])
        for image, boxes in enumerate(made.boxes):
            if not len(boxes):
                continue
            x, y = (boxes[0, :2] * size).long().tolist()
            own = got[image, y, x, :, mask] != 0
            any_cell = (got[image, ..., mask] != 0).flatten(0, 1).any(0)
            offered = rule[image, y, x, :, 0] > 0
            without += [(image, y, x, int(a)) for a in (any_cell & offered & ~own).nonzero()[:, 0].tolist()]
    if len(without) < ALIKE:
        return []
    finding = Finding(
        "error",
        "assign.further",
        "assign",
        f"{len(without)} anchors answer from cells beside a truth, but not from the cell that holds it",
        tensor="targets",
        channels=("mask",),
        expected="the truth's own cell, and its neighbours besides",
        got="neighbours alone",
        fix="for every anchor chosen: the cell of the centre, then the two nearest to it",
        cell=without[0],
    )
    return [called.placed(finding)]
