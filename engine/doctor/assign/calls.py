"""What ``assign`` does beside its targets: to its inputs, between calls, and with a batch of nothing."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..calling import Called, Refusal
from ..findings import Finding
from ..inputs import Scene, given, scene
from ..stage import Stage
from .run import run_assign


def raised_where(called: Called, stage: Stage, made: Scene, finding: Finding) -> Finding:
    """Where assign raises for some truths: those whose column is no row, or whose row is no column, of that
    grid have them exchanged."""
    head = stage.heads[-1]
    if finding.probe != "assign.call" or head.grid_h == head.grid_w:
        return finding
    raising, beyond = [], []
    for image, box in enumerate(made.boxes):
        if not len(box):
            continue
        try:
            run_assign(called, stage, given(stage, [box], [made.labels[image]]))
            raising.append(False)
        except Refusal:
            raising.append(True)
        x, y = box[0, :2].tolist()
        beyond.append(
            any(int(x * h.grid_w) >= h.grid_h or int(y * h.grid_h) >= h.grid_w for h in stage.heads)
        )
    if not any(raising) or all(raising) or any(r and not b for r, b in zip(raising, beyond, strict=True)):
        return finding
    return replace(
        finding,
        message=f"{finding.message}, for truths whose column is no row of the grid, or the other way round: "
        "row and column are confused",
        channels=("x", "y"),
        fix="index targets[b, gy, gx, a]: the row (from cy) before the column (from cx)",
    )


def judge_memory(called: Called, stage: Stage, made: Scene) -> list[Finding]:
    """A second batch of as many images: nothing of the first one's may stand in its targets."""
    mask = stage.layout.target.index("mask")
    first = [t.clone() for t in run_assign(called, stage, made)]
    other = scene(stage, [len(b) for b in made.boxes], seed=8)
    second = [t.clone() for t in run_assign(called, stage, other)]
    again = run_assign(called, stage, made)
    for k, (was, now, then) in enumerate(zip(first, again, second, strict=True)):
        left = (now[..., mask] != 0) & (was[..., mask] == 0) & (then[..., mask] != 0)
        if bool(left.any()):
            cell = tuple(left.nonzero()[0].tolist())
            finding = Finding(
                "error",
                "assign.state",
                "assign",
                "assign keeps what an earlier call wrote: truths of another batch stand in the targets",
                tensor="targets",
                channels=("mask",),
                expected="targets of this call's truths alone",
                got=f"{int(left.sum())} slots of the batch before are still positive"
                + (f" in head {k}" if len(first) > 1 else ""),
                fix="torch.zeros(...) anew in every call, no buffer that outlives it",
                cell=cell,
            )
            return [called.placed(finding)]
    return []


def judge_inputs(called: Called, stage: Stage, made: Scene) -> list[Finding]:
    boxes, labels = [b.clone() for b in made.boxes], [k.clone() for k in made.labels]
    called.call("assign", boxes, labels, stage.given_heads())
    same_boxes = len(boxes) == len(made.boxes) and all(
        torch.equal(x, y) for x, y in zip(boxes, made.boxes, strict=True)
    )
    same_labels = len(labels) == len(made.labels) and all(
        torch.equal(x, y) for x, y in zip(labels, made.labels, strict=True)
    )
    if same_boxes and same_labels:
        return []
    finding = Finding(
        "error",
        "assign.inputs",
        "assign",
        f"assign changes the {'labels' if same_boxes else 'boxes'} it is given",
        tensor="labels" if same_boxes else "boxes",
        channels=("class",) if same_boxes else ("x", "y", "w", "h"),
        expected="inputs as they were",
        got="overwritten",
        fix="work on a copy: boxes = boxes * size, not boxes *= size",
    )
    return [called.placed(finding)]


def judge_empty(called: Called, stage: Stage) -> list[Finding]:
    """A batch without any object is a batch."""
    made = given(stage, [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.int64)] * 2)
    targets = run_assign(called, stage, made)
    if not any(bool((t != 0).any()) for t in targets):
        return []
    finding = Finding(
        "error",
        "assign.empty",
        "assign",
        "a batch without objects gets positive slots",
        tensor="targets",
        channels=("mask",),
        expected="all zeros",
        got=f"{sum(int((t != 0).sum()) for t in targets)} values that are not 0",
        fix="start from fresh zeros in every call",
    )
    return [called.placed(finding)]
