"""How lbox weighs large boxes against small ones: by the weight channel, by 2 - w*h, or all alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..findings import Finding
from ..inputs import Scene, given, perfect
from ..stage import Stage
from .run import Trial, flat, near, unflat

ROOM = 0.03
"""By how much a measured weight may leave a formula: the formulas differ by more on the sizes tried."""


def judge_weight(trial: Trial) -> list[Finding]:
    """lbox is linear in the weight channel (it may also leave that alone): squared or rooted, it is another
    weighting of large against small boxes than the layout declares."""
    if "weight" not in trial.stage.layout.target:
        return []
    preds = near(trial, 3)
    values = []
    for factor in (0.5, 1.0, 1.5):
        targets = trial.scene.targets
        for target in targets:
            target[..., 6] *= factor
        values.append(trial.values(preds, targets)["lbox"])
    bend, slope = values[0] - 2 * values[1] + values[2], values[2] - values[0]
    if abs(slope) < 1e-4 * abs(values[1]) or abs(bend) < 0.02 * abs(slope):
        return []
    if _masks(trial):
        return [
            Finding(
                "error",
                "loss.weight",
                "loss",
                "targets' weight decides which slots are positive, not the mask",
                tensor="targets",
                channels=("mask", "weight"),
                expected=f"positives where {trial.stage.raw(['mask'], 'targets')} > 0",
                got="with half the weight they have no gradient",
                fix=f"mask = {trial.stage.raw(['mask'], 'targets')} > 0",
                term="lbox",
            )
        ]
    power = math.log(values[2] / values[0]) / math.log(3) if min(values) > 0 else math.nan
    return [
        Finding(
            "error",
            "loss.weight",
            "loss",
            "lbox is not in proportion to targets' weight"
            + (f": it goes with its power {power:.2g}" if math.isfinite(power) else ""),
            tensor="targets",
            channels=("weight",),
            expected=f"{values[1] + slope / 2:.4g} with the weight times 1.5",
            got=f"{values[2]:.4g} ({values[0]:.4g} with half of it, {values[1]:.4g} as it is)",
            fix=f"{trial.stage.raw(['weight'], 'targets')} times the difference, once squared",
            term="lbox",
        )
    ]


def _masks(trial: Trial) -> bool:
    """Whether positives fall out of lbox or lcls where their weight is halved."""
    targets = trial.scene.targets
    for target in targets:
        target[..., 6] *= 0.5
    for term in ("lbox", "lcls"):
        before, after = (
            trial.grads(near(trial, 3), [term], t)[term][trial.positive] for t in (None, targets)
        )
        if bool(((before.abs().amax(1) > 0) & (after.abs().amax(1) == 0)).any()):
            return True
    return False


def judge_size_weight(trial: Trial) -> list[Finding]:
    """Of a squared or smooth-l1 lbox: what one and the same offset of the centre costs, for truths of one
    cell and one anchor but several sizes. All alike or by 2 - w*h; another function of the size is a scale
    that depends on the data."""
    sizes, scenes = _sizes(trial.stage)
    if len(scenes) < 4:
        return []
    costs = torch.tensor([_cost(Trial(trial.called, trial.stage, made)) for made in scenes])
    if bool((costs <= 0).any()) or not bool(torch.isfinite(costs).all()):
        return []
    w, h = sizes[:, 0], sizes[:, 1]
    named = {
        "1": torch.ones_like(w),
        "2 - w*h": 2 - w * h,
        "w*h": w * h,
        "1 / (w*h)": 1 / (w * h),
        "1 - w*h": 1 - w * h,
        "2 + w*h": 2 + w * h,
        "(2 - w*h)^2": (2 - w * h) ** 2,
        "sqrt(2 - w*h)": (2 - w * h).sqrt(),
        "2 - w": 2 - w,
        "2 - h": 2 - h,
        "2 - w - h": 2 - w - h,
        "2 - w/h": 2 - w / h,
        "1 / (2 - w*h)": 1 / (2 - w * h),
    }
    off = {name: _spread(costs, formula) for name, formula in named.items()}
    if min(off["1"], off["2 - w*h"]) < ROOM:
        return []
    best = min(off, key=lambda name: off[name])
    like = best if off[best] < ROOM else ""
    first, last = int((w * h).argmin()), int((w * h).argmax())
    wanted = float((2 - w * h)[last] / (2 - w * h)[first])
    return [
        Finding(
            "error",
            "loss.weight",
            "loss",
            "lbox weighs boxes by their size otherwise than by 2 - w*h"
            + (f": it goes with {like}" if like else ""),
            tensor="targets",
            channels=("weight",) if "weight" in trial.stage.layout.target else ("w", "h"),
            expected=f"x{wanted:.2f} (2 - w*h) or x1 from a box of {_said(sizes[first])} to one of "
            f"{_said(sizes[last])} of the input",
            got=f"x{float(costs[last] / costs[first]):.2f}",
            fix="weight = 2 - w*h with w, h in 0..1 of the input, times the squared difference",
            term="lbox",
        )
    ]


def judge_parts(trial: Trial) -> list[Finding]:
    """Of a squared or smooth-l1 lbox: what an offset of the centre costs does not depend on how far off the
    size is. It does where the live IoU, or anything else of the prediction, weighs the sum."""
    _, scenes = _sizes(trial.stage)
    run = Trial(trial.called, trial.stage, scenes[0])
    preds = perfect(trial.stage, run.scene, sure=3.0)

    def cost(dx: float, dw: float) -> float:
        rows = flat(preds)
        rows[run.positive, 1] += dx
        rows[run.positive, 3] += dw
        return run.values(unflat(rows, preds))["lbox"]

    plain = cost(0.8, 0.0) - cost(0.0, 0.0)
    if not plain > 0:
        return []
    worst = max((cost(0.8, dw) - cost(0.0, dw) for dw in (-0.9, 0.7)), key=lambda v: abs(v - plain))
    if not math.isfinite(worst) or abs(worst / plain - 1) < 0.05:
        return []
    iou = "iou" in trial.stage.layout.target and _not_the_weight(run, preds)
    reads = " (targets' iou channel, which it has just written itself)" if iou else ""
    return [
        Finding(
            "error",
            "loss.weight",
            "loss",
            f"lbox is weighed by the prediction itself{reads}: an offset of x costs another amount where the "
            "width is off too",
            tensor="targets",
            channels=("weight", "iou") if iou else ("weight",),
            expected=f"{plain:.4g} for an offset of x, whatever the width is",
            got=f"{worst:.4g} beside a wrong width",
            fix=f"weight = {trial.stage.raw(['weight'], 'targets')}, which is 2 - w*h of the truth",
            term="lbox",
        )
    ]


def _not_the_weight(trial: Trial, preds: list[Tensor]) -> bool:
    """Whether lbox leaves the weight channel alone, which the layout has."""
    if "weight" not in trial.stage.layout.target:
        return False
    rows = flat(preds)
    rows[trial.positive, 1] += 0.8
    targets = trial.scene.targets
    for target in targets:
        target[..., 6] *= 0.5
    moved = unflat(rows, preds)
    before, after = trial.values(moved)["lbox"], trial.values(moved, targets)["lbox"]
    return abs(after - before) < 1e-5 * abs(before)


def _sizes(stage: Stage) -> tuple[Tensor, list[Scene]]:
    """Truths of one centre and the largest anchor, from a half to nearly twice its area."""
    head = max(stage.heads, key=lambda h: float(h.anchors.float().prod(1).max()) * h.stride**2)
    anchor = head.anchors.float()[int(head.anchors.float().prod(1).argmax())]
    side = anchor / torch.tensor([head.grid_w, head.grid_h])
    side = side.clamp(max=0.62)
    centre = [(head.grid_w // 2 + 0.45) / head.grid_w, (head.grid_h // 2 + 0.6) / head.grid_h]
    slot: tuple[int, ...] | None = None
    kept, scenes = [], []
    for fw, fh in ((1.0, 1.0), (0.75, 0.75), (1.25, 1.0), (1.0, 1.25), (1.35, 1.35), (0.8, 1.2), (1.2, 0.8)):
        box = torch.tensor([[*centre, float(side[0]) * fw, float(side[1]) * fh]])
        made = given(stage, [box], [torch.tensor([stage.classes - 1])])
        at = next((k, *p.nonzero()[0].tolist()) for k, p in enumerate(made.positive) if bool(p.any()))
        slot = slot or at
        if at == slot:
            kept.append(box[0, 2:])
            scenes.append(made)
    return torch.stack(kept), scenes


def _cost(trial: Trial) -> float:
    """Of lbox, for the centre moved by a fixed offset in x."""
    preds = perfect(trial.stage, trial.scene, sure=3.0)
    rows = flat(preds)
    rows[trial.positive, 1] += 0.8
    return trial.values(unflat(rows, preds))["lbox"] - trial.values(preds)["lbox"]


def _spread(values: Tensor, formula: Tensor) -> float:
    if bool((formula <= 0).any()):
        return math.inf
    ratio = values / formula
    return float((ratio / ratio.mean() - 1).abs().max())


def _said(size: Tensor) -> str:
    return f"{float(size[0]):.2f} x {float(size[1]):.2f}"
