"""The ignore rule: whether it is there as declared, and each box's own."""

from __future__ import annotations

import torch
from torch import Tensor

from ...boxes import iou as corner_iou
from ...boxes import to_xyxy
from ..findings import Finding
from ..inputs import encode_box, given, perfect, scene
from .run import Trial, near


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


def judge_ignore(trial: Trial, declared: bool) -> list[Finding]:
    """Negatives upon a truth: without a loss where ignore_iou is set, pulled to 0 where it is 0."""
    threshold = trial.stage.detector.profile.ignore_iou
    edge = threshold or 0.6
    preds = near(trial, 1)
    over = ~trial.positive & (trial.best_overlaps(preds) > min(0.97, edge + 0.1))
    if not bool(over.any()):
        return []
    moved = trial.grads(preds, ["lobj"])["lobj"][over, 0] != 0
    share = float(moved.float().mean())
    if declared:
        wrong = share > 0.02 if threshold else share < 0.98
        if not wrong:
            return []
        slot = int(over.nonzero()[0])
        text = (
            (
                "negatives that overlap a truth by more than "
                f"ignore_iou = {threshold:g} are punished all the same"
            )
            if threshold
            else "negatives that overlap a truth are left out, where ignore_iou = 0 is declared"
        )
        return [
            Finding(
                "error",
                "loss.ignore",
                "loss",
                text,
                channels=("conf",),
                expected="no gradient" if threshold else "a pull to 0",
                got=f"{share:.0%} of them have a gradient",
                fix=f"leave out negatives whose best IoU is above {threshold:g}"
                if threshold
                else "apply the no-object part to every negative, or declare ignore_iou",
                cell=trial.cell(slot),
                term="lobj",
            )
        ]
    ignores = share < 0.5
    if ignores == bool(threshold):
        return []
    value = "a threshold above 0" if ignores else "0"
    return [
        Finding(
            "info",
            "loss.profile",
            "loss",
            (
                f"the loss {'leaves out' if ignores else 'punishes'} negatives that overlap "
                f"a truth; [loss] ignore_iou is not set, so it is checked against {value}"
            ),
            fix="set loss.ignore_iou" + ("" if ignores else " = 0"),
        )
    ]


def judge_threshold(trial: Trial) -> list[Finding]:
    """The declared rule bracketed: just below ignore_iou a negative is punished, just above it is not; in
    every head, and only for truths of its own image. A positive is trained however good its box is."""
    stage, threshold = trial.stage, trial.stage.detector.profile.ignore_iou
    if not threshold:
        return []
    for above in (False, True):
        wanted = threshold + (0.05 if above else -0.05)
        if not 0.1 < wanted < 0.98:
            continue
        run, preds, at = _bracketed(trial, wanted)
        if not bool(at.any()):
            continue
        moved = run.grads(preds, ["lobj"])["lobj"][:, 0] != 0
        wrong = at & (moved if above else ~moved)
        if bool(wrong.any()):
            heads = "" if bool((wrong == at).all()) or len(stage.heads) == 1 else " in some heads"
            did = "is punished all the same" if above else "is left out"
            text = (
                f"a negative of IoU {wanted:.2f} {did}{heads}, where ignore_iou = {threshold:g} is declared"
            )
            return [_rule(run, text, "no gradient" if above else "a pull to 0", int(wrong.nonzero()[0]))]
    if found := judge_other_image(trial):
        return found
    preds = perfect(stage, trial.scene, sure=3.0)
    for pred in preds:
        pred[..., 0] = 0.0
    still = trial.positive & (trial.grads(preds, ["lobj"])["lobj"][:, 0] == 0)
    if bool(still.any()):
        text = "lobj leaves out positives whose box is good: the ignore rule is for negatives alone"
        return [_rule(trial, text, "a pull to the IoU (or 1)", int(still.nonzero()[0]))]
    return []


def _rule(trial: Trial, text: str, expected: str, slot: int) -> Finding:
    return Finding(
        "error",
        "loss.ignore",
        "loss",
        text,
        channels=("conf",),
        expected=expected,
        got="no gradient" if expected != "no gradient" else "a pull to 0",
        fix="leave out negatives alone, by their best IoU with a truth of their own image",
        cell=trial.cell(slot),
        term="lobj",
    )


def _bracketed(trial: Trial, wanted: float) -> tuple[Trial, list[Tensor], Tensor]:
    """One truth an image; in each head the other boxes of its centre's cell are laid upon it, wider by so
    much that their IoU is ``wanted``. ``[N]``: those that came out so, whatever the decode reaches."""
    stage = trial.stage
    made = scene(stage, [1] * 4, seed=71, smallest=1.3)
    run = Trial(trial.called, stage, made)
    preds = perfect(stage, made, sure=1.0)
    for head, pred, target in zip(stage.heads, preds, made.assigned.targets, strict=True):
        for image, truths in enumerate(made.boxes):
            if not len(truths):
                continue
            box = truths[0].clone()
            box[2] /= wanted
            x, y = int(box[0] * head.grid_w), int(box[1] * head.grid_h)
            cell = torch.tensor([[float(x), float(y)]])
            for a in range(head.anchor_count):
                if float(target[image, y, x, a, 0]) == 0:
                    raw = encode_box(box[None], cell, head, torch.tensor([a]), stage.layout.decode)[0]
                    pred[image, y, x, a, 1:5] = raw.clamp(-9, 9)
    near_it = (run.best_overlaps(preds) - wanted).abs() < 0.02
    return run, preds, near_it & ~run.positive


def judge_other_image(trial: Trial) -> list[Finding]:
    """What lies on the place of one image's truth in the other image is a negative there, whether that one
    holds no truth or one of its own elsewhere."""
    stage = trial.stage
    one = scene(stage, [1], seed=73, smallest=1.3)
    nothing = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    others = [nothing]
    elsewhere = one.boxes[0].clone()
    elsewhere[:, :2] = 1 - elsewhere[:, :2]
    if float(corner_iou(to_xyxy(one.boxes[0]), to_xyxy(elsewhere))) < 0.05:
        others.append((elsewhere, one.labels[0]))
    for boxes, labels in others:
        for order in (0, 1):
            both = [one.boxes[0], boxes], [one.labels[0], labels]
            run = Trial(trial.called, stage, given(stage, *(each[:: -1 if order else 1] for each in both)))
            preds = perfect(stage, run.scene, sure=1.0)
            slots = []
            for pred, positive in zip(preds, run.scene.positive, strict=True):
                mine = torch.zeros_like(positive)
                mine[1 - order] = positive[order]
                pred[1 - order, ..., 1:5][positive[order]] = pred[order, ..., 1:5][positive[order]]
                pred[1 - order, ..., 0][positive[order]] = 1.0
                slots.append(mine.flatten())
            at = torch.cat(slots) & ~run.positive & (run.best_overlaps(preds) < 0.1)
            still = at & (run.grads(preds, ["lobj"])["lobj"][:, 0] == 0)
            if bool(still.any()):
                text = "lobj leaves out a negative for a truth of another image"
                return [_rule(run, text, "a pull to 0", int(still.nonzero()[0]))]
    return []
