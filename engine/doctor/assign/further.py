"""Sizes that tell right sides from exchanged ones; and, where the rule gives a truth further slots, that an
anchor which answers from beside the truth answers from its own cell too."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...boxes import shape_iou
from ...layout import Head
from ...yolo.assign import assign
from ..calling import Called
from ..findings import Finding
from ..inputs import Scene, anchor_margin, generator, given, uniform
from ..stage import Stage
from .run import run_assign

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


@dataclass(frozen=True)
class _Side:
    """A neighbour: across and down, and the fraction of the cell at which a centre asks for it."""

    name: str
    across: int
    down: int

    def cell(self, head: Head, from_edge: int) -> tuple[int, int]:
        """(column, row), so many cells away from the grid's edge on this side, else in the middle."""

        def at(step: int, cells: int) -> int:
            return cells // 2 if step == 0 else from_edge if step < 0 else cells - 1 - from_edge

        return at(self.across, head.grid_w), at(self.down, head.grid_h)


SIDES = (_Side("left", -1, 0), _Side("right", 1, 0), _Side("above", 0, -1), _Side("below", 0, 1))
FRACTION = {-1: 0.2, 0: 0.5, 1: 0.8}
LEAST_CELLS = 6


def judge_edges(called: Called, stage: Stage) -> list[Finding]:
    """A neighbour is taken, or not, whether or not it is the grid's last one."""
    for head in stage.heads:
        if min(head.grid_w, head.grid_h) < LEAST_CELLS:
            continue
        lost = _lost_at_edges(called, stage, head)
        if lost:
            return [called.placed(_edge_finding(head, lost))]
    return []


def _lost_at_edges(called: Called, stage: Stage, head: Head) -> list[_Side]:
    """The sides on which the neighbour is taken in the middle of the grid and not at its edge."""
    tried = [(side, from_edge) for side in SIDES for from_edge in (2, 1)]
    w, h = head.anchors.float()[head.anchor_count // 2].tolist()
    boxes = []
    for side, from_edge in tried:
        x, y = side.cell(head, from_edge)
        centre = (x + FRACTION[side.across]) / head.grid_w, (y + FRACTION[side.down]) / head.grid_h
        boxes.append(torch.tensor([[*centre, min(0.9, w / head.grid_w), min(0.9, h / head.grid_h)]]))
    made = given(stage, boxes, [torch.zeros(1, dtype=torch.int64)] * len(boxes))
    place = next(k for k, each in enumerate(stage.heads) if each is head)
    got = run_assign(called, stage, made)[place][..., stage.layout.target.index("mask")] != 0
    rule = assign(made.boxes, made.labels, stage.heads, "multi", stage.detector.ratio).targets[place]
    taken = []
    for image, (side, from_edge) in enumerate(tried):
        x, y = side.cell(head, from_edge)
        at = (image, y + side.down, x + side.across)
        taken.append(bool((got[at] & (rule[(*at, slice(None), 0)] > 0)).any()))
    inside, edge = taken[0::2], taken[1::2]
    return [side for side, a, b in zip(SIDES, inside, edge, strict=True) if a and not b]


def _edge_finding(head: Head, lost: list[_Side]) -> Finding:
    names = ", ".join(side.name for side in lost)
    x, y = lost[0].cell(head, 0)
    return Finding(
        "error",
        "assign.further",
        "assign",
        f"the neighbouring cell ({names}) is taken in the middle of the grid, but not where it is its last",
        tensor="targets",
        channels=("mask",),
        expected=f"row {y}, column {x} of the {head.grid_w}x{head.grid_h} grid takes part as any other",
        got="no positive slot there",
        fix="a neighbour is inside where 0 <= x < grid_w and 0 <= y < grid_h",
    )
