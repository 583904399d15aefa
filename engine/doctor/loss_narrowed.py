"""A box that comes out wrong in all four numbers: which of them are at fault, and which only follow.

An IoU has one value for four numbers, so a wrong x moves the minimum of w too. Scenes tell them apart: where
the fault is in the cell it goes in the first cell, or on the diagonal; in the anchor, with some anchors.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from .findings import Finding
from .inputs import Scene, given
from .loss_run import Trial
from .stage import BOX_NAMES, Stage

SECONDS = 2.5
"""What the trying may take."""

Judge = Callable[[Trial], list[Finding]]


def narrowed(trial: Trial, findings: list[Finding], judge: Judge) -> list[Finding]:
    """The findings, those about the whole box with the channels that ``judge`` proves to be the cause."""
    deadline = time.perf_counter() + SECONDS
    return [
        _narrowed(trial, f, judge, deadline) if set(f.channels) >= set(BOX_NAMES) else f for f in findings
    ]


def _narrowed(trial: Trial, finding: Finding, judge: Judge, deadline: float) -> Finding:
    stage = trial.stage

    def sound(scene: Scene) -> bool:
        if time.perf_counter() > deadline:
            return False
        return not any(f.severity == "error" for f in judge(Trial(trial.called, stage, scene)))

    for name, cells in (("in the first cell", (0, 0)), ("where row and column are equal", (2, 2))):
        made = _scene(stage, [(k, head.anchor_count - 1, *cells) for k, head in enumerate(stage.heads)])
        if made is not None and sound(made):
            cause = (
                "the cell is missing, or not in the boxes' unit" if cells == (0, 0) else "they are swapped"
            )
            return _said(finding, name, cause, ("x", "y"))
    for k, head in enumerate(stage.heads):
        scenes = [_scene(stage, [(k, a, 1, 2)]) for a in range(head.anchor_count)]
        fine = [made is not None and sound(made) for made in scenes]
        if any(fine) and not all(fine) and time.perf_counter() < deadline:
            right = ", ".join(str(a) for a, good in enumerate(fine) if good)
            where = f" of head {k}" if len(stage.heads) > 1 else ""
            return _said(finding, f"for anchor {right}{where}", "the others read another's size", ("w", "h"))
    return finding


def _said(finding: Finding, where: str, cause: str, channels: tuple[str, ...]) -> Finding:
    return replace(finding, message=f"{finding.message}; it is right {where}: {cause}", channels=channels)


def _scene(stage: Stage, slots: list[tuple[int, int, int, int]]) -> Scene | None:
    """One image a slot (head, anchor, row, column), its truth nearly of that anchor's size."""
    boxes = []
    for k, a, y, x in slots:
        head = stage.heads[k]
        if y >= head.grid_h or x >= head.grid_w:
            return None
        w, h = (head.anchors[a].float() * torch.tensor([1.15, 0.87])).tolist()
        size = [min(w / head.grid_w, 0.95), min(h / head.grid_h, 0.95)]
        boxes.append([(x + 0.37) / head.grid_w, (y + 0.61) / head.grid_h, *size])
    labels = [torch.tensor([n % stage.classes]) for n in range(len(slots))]
    made = given(stage, [torch.tensor([box]) for box in boxes], labels)
    for target in made.assigned.targets:
        target.zero_()
    for image, ((k, a, y, x), box) in enumerate(zip(slots, boxes, strict=True)):
        values = [1.0, float(image % stage.classes), *box, 2 - box[2] * box[3], 0.0]
        made.assigned.targets[k][image, y, x, a] = torch.tensor(values)
    return made
