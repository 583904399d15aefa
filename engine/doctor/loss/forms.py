"""Which form a term has: the confidence's, the box's, liou."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...boxes import IouKind, to_xyxy
from ...boxes import iou as corner_iou
from ..findings import Finding
from ..inputs import decoded, generator, given, perfect
from ..stage import BOX_NAMES
from .run import Trial, flat, near, profile_seen, unflat

OTHER = "something else"
ASPECTS = {5: (1.1, -1.0), 6: (-1.0, 1.1), 7: (0.9, -0.6)}
"""Steps of tw and th, by the number of the draw."""
FAMILY: tuple[IouKind, ...] = ("iou", "giou", "diou", "ciou")
REACH, APART = 4.0, 0.03
"""How much farther a small truth's box is moved, and how far it may be off its formula there."""


def confidence_form(trial: Trial) -> str:
    """``mse`` or ``bce`` by the gradient on negatives at two logits; empty for neither (focal, say)."""
    preds = near(trial, 6)
    plain = ~trial.positive & (trial.best_overlaps(preds) < 0.2)
    moved = []
    for at in (2.0, -1.0):
        rows = flat(preds)
        rows[plain, 0] = at
        moved.append(trial.grads(unflat(rows, preds), ["lobj"])["lobj"][plain, 0])
    usable = moved[1].abs() > 0
    if not bool(usable.any()):
        return ""
    ratio = (moved[0][usable] / moved[1][usable]).median()
    sigma = torch.tensor([2.0, -1.0]).sigmoid()
    for name, value in (("bce", sigma), ("mse", sigma**2 * (1 - sigma))):
        if abs(float(ratio / (value[0] / value[1])) - 1) < 0.03:
            return name
    return ""


def judge_confidence(trial: Trial, declared: str | None) -> list[Finding]:
    form = confidence_form(trial)
    if not form or form == declared:
        return []
    if declared is None:
        return [] if form == trial.stage.detector.profile.confidence else [profile_seen("confidence", form)]
    text = f"lobj is {form}, where confidence = {declared!r} is declared"
    return [
        Finding(
            "error",
            "loss.form",
            "loss",
            text,
            channels=("conf",),
            expected=declared,
            got=form,
            fix=f'set loss.confidence = "{form}", or use {declared}',
            term="lobj",
        )
    ]


def _one_truth(trial: Trial, small: bool = False) -> Trial:
    """One truth of about a cell: the kinds of IoU differ where a box moves far for its size. ``small``: so
    small that a box may move off it."""
    stage = trial.stage
    head = stage.heads[-1]
    if stage.layout.decode == "yolov5":  # reaches four times its anchor and no further
        head = min(stage.heads, key=lambda h: float(h.anchors.float().prod(1).min()) * h.stride**2)
        anchor = head.anchors.float()[int(head.anchors.float().prod(1).argmin())]
        centre = [(head.grid_w // 2 + 0.45) / head.grid_w, (head.grid_h // 2 + 0.6) / head.grid_h]
        size = [min(float(anchor[0]) / head.grid_w, 0.9), min(float(anchor[1]) / head.grid_h, 0.9)]
        size = [side * (0.3 if small else 1.0) for side in size]
        made = given(stage, [torch.tensor([[*centre, *size]])], [torch.tensor([stage.classes - 1])])
        return Trial(trial.called, stage, made)
    x, y = (head.grid_w // 2 + 0.45) / head.grid_w, (head.grid_h // 2 + 0.6) / head.grid_h
    box = torch.tensor([[x, y, 1.3 / head.grid_w, 1.7 / head.grid_h]])
    box[:, 2:] *= 0.2 if small else 1.0
    return Trial(trial.called, stage, given(stage, [box], [torch.tensor([stage.classes - 1])]))


def _displaced(trial: Trial, reach: float = 1.0) -> list[list[Tensor]]:
    """Predictions about one truth, its box moved in eight ways; ``reach``: how much farther its centre is."""
    g = generator(9)
    linear = trial.stage.layout.decode == "linear"
    result = []
    for number in range(8):
        preds = perfect(trial.stage, trial.scene, sure=3.0)
        rows = flat(preds)
        step = (torch.rand(4, generator=g) - 0.5) * torch.tensor(
            [0.5, 0.5, 1.3, 1.3] if linear else [1.6, 1.6, 1.3, 1.3]
        )
        if number in ASPECTS:  # nearly in place: ciou is told from diou by the aspect
            step = torch.cat((0.2 * step[:2], torch.tensor(ASPECTS[number])))
        rows[trial.positive, 1:5] += step * torch.tensor([reach, reach, 1.0, 1.0])
        result.append(unflat(rows, preds))
    return result


def _spread(values: Tensor, formula: Tensor) -> float:
    """By how much ``values`` is not in proportion to ``formula``: 0 where it is."""
    if bool((formula.abs() < 1e-7).any()) or bool((values / formula <= 0).any()):
        return float("inf")
    ratio = values / formula
    return float((ratio / ratio.mean() - 1).abs().max())


def box_form(trial: Trial, declared: str | None) -> str:
    """``iou``, ``giou``, ``diou``, ``ciou``, ``mse``, ``smooth-l1``, ``l1``; empty where it is none of them.

    The declared form where it fits better than the others, else the one that fits; ``OTHER`` where none of
    the IoU's kinds does although one is declared.
    """
    single = _one_truth(trial)
    moved = _displaced(single)
    values = torch.tensor([single.values(preds)["lbox"] for preds in moved])
    off = {
        kind: min(_spread(values, formula) for formula in _overlap_losses(single, moved, kind))
        for kind in FAMILY
    }
    best = min(FAMILY, key=lambda kind: off[kind])
    for kind in FAMILY:
        if kind == declared and (off[kind] < 0.003 or off[best] > 0.005 > 0.25 * off[kind]):
            return kind if kind == "iou" or _holds_apart(trial, kind) else OTHER
    if off[best] < 0.005:
        return best if best == declared or _holds_apart(trial, best, declared) else OTHER
    return OTHER if declared in FAMILY else _squared(single)


def _holds_apart(trial: Trial, kind: IouKind, declared: str | None = "") -> bool:
    """Whether it is that kind also where the boxes lie apart, and all that is left is what the kind adds."""
    if kind == "iou" and declared not in FAMILY:
        return True  # in which of its forms, boxes that lie apart do not tell
    single = _one_truth(trial, small=True)
    moved = _displaced(single, REACH)
    values = torch.tensor([single.values(preds)["lbox"] for preds in moved])
    return min(_spread(values, formula) for formula in _overlap_losses(single, moved, kind)) < APART


def _at_fault(trial: Trial, kind: IouKind) -> tuple[str, ...]:
    """Centre or size, where the gradient of the other pair is that kind's."""
    got, wanted = [], []
    for small in (False, True):
        single = _one_truth(trial, small)
        for preds in _displaced(single, REACH if small else 1.0):
            got.append(single.grads(preds, ["lbox"])["lbox"][single.positive][0, 1:5])
            leaves = [p.clone().requires_grad_() for p in preds]
            box, truth, _ = _pair(single, leaves)
            value = 1 - corner_iou(to_xyxy(box), to_xyxy(truth), kind)
            parts = torch.autograd.grad(value, leaves, allow_unused=True)
            rows = flat([torch.zeros_like(p) if g is None else g for p, g in zip(preds, parts, strict=True)])
            wanted.append(rows[single.positive][0, 1:5])
    fine = []
    for pair in (slice(0, 2), slice(2, 4)):
        mine, right = torch.stack(got)[:, pair].flatten(), torch.stack(wanted)[:, pair].flatten()
        told = right.abs() > 1e-3 * right.abs().max()
        fine.append(_spread(mine[told], right[told]) < APART)
    return {(True, False): ("w", "h"), (False, True): ("x", "y")}.get((fine[0], fine[1]), BOX_NAMES)


def _overlap_losses(trial: Trial, moved: list[list[Tensor]], kind: IouKind) -> list[Tensor]:
    """1 - IoU of that kind, in 0..1, in cells and in pixels (the wider kinds see the aspect); -log IoU."""
    found: list[list[float]] = []
    for preds in moved:
        boxes, truth, scales = _pair(trial, preds)
        row = []
        for scale in scales:
            value = float(corner_iou(to_xyxy(boxes * scale), to_xyxy(truth * scale), kind))
            row += [1 - value] + (
                [-float(torch.tensor(max(value, 1e-9)).log()), 1 - value**2] if kind == "iou" else []
            )
        found.append(row)
    return list(torch.tensor(found).T)


def _pair(trial: Trial, preds: list[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
    for head, boxes, target in zip(
        trial.stage.heads, decoded(trial.stage, preds), trial.scene.assigned.targets, strict=True
    ):
        place = (target[..., 0] > 0).nonzero()
        if len(place):
            at = tuple(place[0].tolist())
            cells = torch.tensor([head.grid_w, head.grid_h] * 2, dtype=torch.float32)
            return boxes[at], target[at][2:6], [torch.ones(4), cells]
    raise AssertionError("the scene holds one truth")


NEAR, FAR = (0.15, -0.2), (4.0, 5.0, 6.0)
"""Steps of th: where every smooth form is a square, and where smooth-l1's straight part has long begun."""


def _squared(trial: Trial) -> str:
    """By th alone: quadratic in the log, the root or the plain size near and far; or a square near and a
    straight line far."""

    def cost(step: float) -> float:
        preds = perfect(trial.stage, trial.scene, sure=3.0)
        rows = flat(preds)
        rows[trial.positive, 4] += step
        return trial.values(unflat(rows, preds))["lbox"] - zero

    zero = trial.values(perfect(trial.stage, trial.scene, sure=3.0))["lbox"]
    if trial.stage.layout.decode == "yolov5":
        return _squared_of_bounded(trial, cost)
    near_by, far = torch.tensor([cost(s) for s in NEAR]), torch.tensor([cost(s) for s in FAR])
    for measure in MEASURES:
        low, high = measure(torch.tensor(NEAR)), measure(torch.tensor(FAR))
        if _spread(torch.cat((near_by, far)), torch.cat((low, high)) ** 2) < 0.03:
            return "mse"
        if _spread(near_by, low**2) < 0.03 and _spread(far.diff(), high.diff()) < 0.03:
            return "smooth-l1"
        if _spread(torch.cat((near_by, far)), torch.cat((low, high)).abs()) < 0.03:
            return "l1"
    return ""


MEASURES: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda s: s,
    lambda s: (s / 2).exp() - 1,
    lambda s: s.exp() - 1,
)
"""What a size compared by its log, its root or plainly is off by, for a log that is off by ``s``."""


def _squared_of_bounded(trial: Trial, cost: Callable[[float], float]) -> str:
    """As far as four times the anchor reaches."""
    steps = torch.tensor([0.15, 1.5, 3.0, -0.3, -1.4])
    costs = torch.tensor([cost(float(s)) for s in steps])
    logs = torch.tensor([_log_change(trial, float(s)) for s in steps])
    if any(_spread(costs, m(logs) ** 2) < 0.03 for m in MEASURES) or _spread(costs, steps**2) < 0.03:
        return "mse"
    if any(_spread(costs, m(logs).abs()) < 0.03 for m in MEASURES) or _spread(costs, steps.abs()) < 0.03:
        return "l1"
    return "smooth-l1" if 1.2 < float(costs[2] / costs[1]) < 3.6 else ""


def _log_change(trial: Trial, step: float) -> float:
    preds = perfect(trial.stage, trial.scene, sure=3.0)
    rows = flat(preds)
    before = float(_pair(trial, preds)[0][3])
    rows[trial.positive, 4] += step
    return float(torch.tensor(float(_pair(trial, unflat(rows, preds))[0][3]) / before).log())


def judge_box_form(trial: Trial, form: str, declared: str | None) -> list[Finding]:
    """``form``: what ``box_form`` found."""
    if form == declared or not form or (form, declared) == ("l1", "smooth-l1"):  # with a bend next to 0
        return []
    if declared is None:
        return [] if form in (trial.stage.detector.profile.box, OTHER) else [profile_seen("box", form)]
    plain = {"mse", "smooth-l1"}
    bounded = form in plain and declared in plain and trial.stage.layout.decode == "yolov5"
    if bounded and form == "mse":
        return []  # smooth-l1 is a square as far as this decode reaches
    text = f"lbox is {form}, where box = {declared!r} is declared"
    return [
        Finding(
            "warning" if bounded else "error",
            "loss.form",
            "loss",
            text,
            channels=next((_at_fault(trial, k) for k in FAMILY if (k, form) == (declared, OTHER)), BOX_NAMES),
            expected=declared,
            got=form,
            fix=f"make lbox {declared}" + ("" if form in (OTHER, "l1") else f', or set loss.box = "{form}"'),
            term="lbox",
        )
    ]


def judge_liou(trial: Trial) -> list[Finding]:
    """liou, where it is given, is in proportion to 1 - IoU."""
    single = _one_truth(trial)
    moved = _displaced(single)
    each = [single.values(preds) for preds in moved]
    if "liou" not in each[0]:
        return []
    values = torch.tensor([v["liou"] for v in each])
    if _spread(values, _overlap_losses(single, moved, "iou")[0]) < 0.02:
        return []
    kind = next(
        (k for k in FAMILY[1:] if any(_spread(values, f) < 0.005 for f in _overlap_losses(single, moved, k))),
        "",
    )
    wanted = float(_overlap_losses(single, moved, "iou")[0][0])
    return [
        Finding(
            "error",
            "loss.liou",
            "loss",
            f"liou is not 1 - IoU of the positives{f', but 1 - {kind.upper()}' if kind else ''}",
            tensor="boxes",
            channels=BOX_NAMES,
            expected=f"{wanted:.3f} for one positive",
            got=f"{float(values[0]):.3f}",
            fix="liou = (1 - iou).sum() or .mean() over positives, decoded boxes against true boxes",
            term="liou",
        )
    ]
