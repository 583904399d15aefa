"""Two truths that want one slot: any of the legitimate ways, as long as the slot holds one truth whole."""

from __future__ import annotations

import torch
from torch import Tensor

from ...layout import TARGET
from ..calling import Called
from ..data.boxes import CROWDED, Contest
from ..findings import Finding
from ..inputs import Scene, given, scene
from ..stage import Stage
from .run import TOLERANCE, Slot, run_assign, slots_of


def judge_collisions(called: Called, stage: Stage, contested: Contest) -> list[Finding]:
    """Two truths of one size in one cell: any of the legitimate ways, as long as a slot holds one truth.

    What losing one of them costs is said of the user's data: a warning where many of its truths are lost.
    """
    base = scene(stage, [1, 1], seed=31)
    boxes, labels = [], []
    for k, box in enumerate(base.boxes):
        other = box.clone()
        other[:, :2] += 0.01 * torch.tensor([1.0 / stage.heads[0].grid_w, -1.0 / stage.heads[0].grid_h])
        other[:, 2:] *= 1.02
        boxes.append(torch.cat((box, other)))
        labels.append(torch.tensor([0, stage.classes - 1]) if k else torch.tensor([stage.classes - 1, 0]))
    made = given(stage, boxes, labels)
    targets = run_assign(called, stage, made)
    names = stage.layout.target
    mask, iou = names.index("mask"), names.index("iou") if "iou" in names else -1
    one_each = [given(stage, [b[j : j + 1] for b in boxes], [c[j : j + 1] for c in labels]) for j in (0, 1)]
    lost = 0
    for image in range(2):
        held = [False, False]
        for slot in slots_of(targets, image, mask):
            fits = [_holds(stage, one_each[j], image, slot, iou) for j in (0, 1)]
            if not any(fits):
                return [_mixed(called, stage, slot, image, one_each)]
            held = [was or now for was, now in zip(held, fits, strict=True)]
        lost += held.count(False)
    if not lost:
        return []
    text = "where two truths want one slot, assign keeps one of them"
    share = contested.lost / max(1, contested.truths)
    count = f"{contested.lost} of {contested.truths} objects of the training data are never learnt"
    finding = Finding(
        "warning" if share > CROWDED else "info",
        "assign.collisions",
        "assign",
        f"{text}: {count} ({share:.1%})" if contested.lost else text,
        tensor="targets",
        channels=("mask",),
        expected="legitimate: overwriting, first come or the next best anchor",
        got=f"{lost} of 4 truths lost in such cells of the probe",
        fix="give the second truth its next best anchor if that is too many",
    )
    return [called.placed(finding)]


def judge_bystanders(called: Called, stage: Stage) -> list[Finding]:
    """A truth that nothing competes with has its slot, whatever two others do to each other.

    The same truths without and with another one upon the first of one image and upon the last of the next.
    All lie in cells apart: not even the next best anchor of the one that came too late is a bystander's.
    """
    base = scene(stage, [3, 3, 1], seed=47)
    doubled = given(stage, _doubled(base.boxes), _doubled(base.labels))
    bystanders = given(stage, _uncontested(base.boxes), _uncontested(base.labels))
    mask = stage.layout.target.index("mask")
    before, after = run_assign(called, stage, base), run_assign(called, stage, doubled)
    lost = [
        (k, *place)
        for k, (was, now, own) in enumerate(zip(before, after, bystanders.positive, strict=True))
        for place in ((was[..., mask] != 0) & own & (now[..., mask] == 0)).nonzero().tolist()
    ]
    return [_bystander(called, lost, sum(map(len, bystanders.boxes)))] if lost else []


def _doubled(rows: list[Tensor]) -> list[Tensor]:
    first, second, third = rows
    return [torch.cat((first[:1], first)), torch.cat((second, second[-1:])), third]


def _uncontested(rows: list[Tensor]) -> list[Tensor]:
    first, second, third = rows
    return [first[1:], second[:-1], third]


def _bystander(called: Called, lost: list[tuple[int, ...]], count: int) -> Finding:
    finding = Finding(
        "error",
        "assign.collisions",
        "assign",
        "where two truths want one slot, others lose theirs, though nothing competes with them",
        tensor="targets",
        channels=("mask",),
        expected="only one of the two may lose; every other truth of the batch keeps its slot",
        got=f"{len(lost)} of {count} other truths without their slot",
        fix="pass over the one truth: continue, not break or return, where the slot is taken",
        cell=lost[0][1:],
    )
    return called.placed(finding)


def _holds(stage: Stage, made: Scene, image: int, slot: Slot, iou: int) -> bool:
    """Whether a slot holds this truth whole."""
    close = _close(stage, made, image, slot)
    if iou >= 0:
        close[iou] = True
    return bool(close.all())


def _close(stage: Stage, made: Scene, image: int, slot: Slot) -> Tensor:
    """``[channels]``: which of the slot's values are this truth's, in the declared units of the slot."""
    head = stage.heads[slot.head]
    canonical = torch.zeros(1, head.grid_h, head.grid_w, head.anchor_count, len(TARGET))
    box = made.boxes[image][0]
    row = [1.0, float(made.labels[image][0]), *box.tolist(), 2 - float(box[2] * box[3]), 0.0]
    canonical[0, slot.y, slot.x, slot.a] = torch.tensor(row)
    declared = stage.layout.write_targets(canonical, head).contiguous()
    want = stage.layout.to_canonical_axes(declared, head, len(stage.layout.target))[0, slot.y, slot.x, slot.a]
    return (slot.values - want).abs() <= TOLERANCE * (1 + want.abs())


def _mixed(called: Called, stage: Stage, slot: Slot, image: int, one_each: list[Scene]) -> Finding:
    """Where most of the slot is one truth's, the rest is what does not belong."""
    names = [n for n in stage.layout.target if n != "iou"]
    foreign = [
        [
            n
            for n, c in zip(stage.layout.target, _close(stage, made, image, slot).tolist(), strict=True)
            if not c
        ]
        for made in one_each
    ]
    least = min(([n for n in each if n != "iou"] for each in foreign), key=len)
    finding = Finding(
        "error",
        "assign.collisions",
        "assign",
        "where two truths want one slot, the slot holds neither of them whole",
        tensor="targets",
        channels=tuple(least if 2 * len(least) < len(names) else names),
        expected="one whole truth in a slot",
        got=" ".join(f"{n}={float(v):.4g}" for n, v in zip(stage.layout.target, slot.values, strict=True)),
        fix="write all channels of a slot from one truth: an assignment, not +=",
        cell=(image, slot.y, slot.x, slot.a),
    )
    return called.placed(finding)
