"""Which form a term has: the confidence's, the box's, liou; the ignore rule; what total is made of."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..boxes import IouKind, to_xyxy
from ..boxes import iou as corner_iou
from .findings import Finding
from .inputs import decoded, given, perfect, scene
from .loss_run import TERMS, Trial, flat, near, unflat
from .stage import BOX_NAMES

OTHER = "something else"
FAMILY: tuple[IouKind, ...] = ("iou", "giou", "diou", "ciou")


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
        return [] if form == trial.stage.detector.profile.confidence else [_seen("confidence", form)]
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


def _seen(key: str, value: str) -> Finding:
    return Finding(
        "info",
        "loss.profile",
        "loss",
        f"the loss has {key} = {value!r}; [loss] {key} is not set, so it is checked against that",
        fix=f'set loss.{key} = "{value}"',
    )


def _one_truth(trial: Trial) -> Trial:
    """One small truth: the kinds of IoU differ where a box moves far for its size."""
    stage = trial.stage
    head = stage.heads[-1]
    if stage.layout.decode == "yolov5":  # reaches four times its anchor and no further
        return Trial(trial.called, stage, scene(stage, [1], seed=51, smallest=1.3))
    x, y = (head.grid_w // 2 + 0.45) / head.grid_w, (head.grid_h // 2 + 0.6) / head.grid_h
    box = torch.tensor([[x, y, 1.3 / head.grid_w, 1.7 / head.grid_h]])
    return Trial(trial.called, stage, given(stage, [box], [torch.tensor([stage.classes - 1])]))


def _displaced(trial: Trial) -> list[list[Tensor]]:
    """Predictions about one truth, its box moved in eight ways."""
    g = torch.Generator().manual_seed(9)
    linear = trial.stage.layout.decode == "linear"
    result = []
    for _ in range(8):
        preds = perfect(trial.stage, trial.scene, sure=3.0)
        rows = flat(preds)
        step = (torch.rand(4, generator=g) - 0.5) * torch.tensor(
            [0.5, 0.5, 0.7, 0.7] if linear else [1.6, 1.6, 0.7, 0.7]
        )
        rows[trial.positive, 1:5] += step
        result.append(unflat(rows, preds))
    return result


def _spread(values: Tensor, formula: Tensor) -> float:
    """By how much ``values`` is not in proportion to ``formula``: 0 where it is."""
    if bool((formula.abs() < 1e-7).any()) or bool((values / formula <= 0).any()):
        return float("inf")
    ratio = values / formula
    return float((ratio / ratio.mean() - 1).abs().max())


def box_form(trial: Trial, declared: str | None) -> str:
    """``iou``, ``giou``, ``diou``, ``ciou``, ``mse``, ``smooth-l1``; empty where it is none of them.

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
            return kind
    if off[best] < 0.005:
        return best
    return OTHER if declared in FAMILY else _squared(single)


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


def _squared(trial: Trial) -> str:
    """By th alone: quadratic in the log, the root or the plain size; or quadratic near and linear far."""

    def cost(step: float) -> float:
        preds = perfect(trial.stage, trial.scene, sure=3.0)
        rows = flat(preds)
        rows[trial.positive, 4] += step
        at = trial.values(unflat(rows, preds))["lbox"]
        return at - zero

    zero = trial.values(perfect(trial.stage, trial.scene, sure=3.0))["lbox"]
    steps = torch.tensor([0.15, 1.5, 3.0, -0.3, -1.4])
    costs = torch.tensor([cost(float(s)) for s in steps])
    if trial.stage.layout.decode == "yolov5":
        logs = torch.tensor([_log_change(trial, float(s)) for s in steps])
    else:
        logs = steps
    measures: list[Callable[[Tensor], Tensor]] = [
        lambda s: s,
        lambda s: (s / 2).exp() - 1,
        lambda s: s.exp() - 1,
    ]
    if (
        any(_spread(costs, change(logs) ** 2) < 0.03 for change in measures)
        or _spread(costs, steps**2) < 0.03
    ):
        return "mse"
    far = float(costs[2] / costs[1])
    return "smooth-l1" if 1.2 < far < 3.6 else ""


def _log_change(trial: Trial, step: float) -> float:
    preds = perfect(trial.stage, trial.scene, sure=3.0)
    rows = flat(preds)
    before = float(_pair(trial, preds)[0][3])
    rows[trial.positive, 4] += step
    return float(torch.tensor(float(_pair(trial, unflat(rows, preds))[0][3]) / before).log())


def judge_box_form(trial: Trial, declared: str | None) -> list[Finding]:
    form = box_form(trial, declared)
    if form == declared or not form:
        return []
    if declared is None:
        return [] if form in (trial.stage.detector.profile.box, OTHER) else [_seen("box", form)]
    plain = {"mse", "smooth-l1"}
    sure = not (form in plain and declared in plain)
    text = f"lbox is {form}, where box = {declared!r} is declared"
    return [
        Finding(
            "error" if sure else "warning",
            "loss.form",
            "loss",
            text,
            channels=BOX_NAMES,
            expected=declared,
            got=form,
            fix=f"make lbox {declared}" + ("" if form == OTHER else f', or set loss.box = "{form}"'),
            term="lbox",
        )
    ]


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


def judge_total(trial: Trial, declared: bool, bad: set[str]) -> list[Finding]:
    """total is the sum of the profile's terms, each with a positive constant factor.

    ``bad``: terms known to be wrong already.
    """
    profile = trial.stage.detector.profile
    preds = near(trial, 8)
    leaves = [p.detach().clone().requires_grad_() for p in preds]
    terms = trial.terms(leaves)
    names = [n for n in terms if n != "total"]
    if not terms["total"].requires_grad:
        return [
            Finding(
                "error",
                "loss.total",
                "loss",
                "total carries no gradient: nothing can be learnt from it",
                tensor="gradient",
                expected="a scalar with a graph",
                got="a detached number",
                fix="sum the terms as tensors, without .item(), .detach() or float()",
                term="total",
            )
        ]
    grads = trial.grads(preds, [*names, "total"])
    used = [n for n in names if float(grads[n].abs().max()) > 0]
    matrix = torch.stack([grads[n].flatten() for n in used], 1).double()
    goal = grads["total"].flatten().double()
    scale = matrix.norm(dim=0).clamp(min=1e-30)
    factors = torch.linalg.lstsq(matrix / scale, goal.unsqueeze(1)).solution[:, 0] / scale
    rest = float((matrix @ factors - goal).norm() / goal.norm().clamp(min=1e-30))
    found = dict(zip(used, factors.tolist(), strict=True))
    if "liou" in found and "lbox" in found:
        i, j = used.index("liou"), used.index("lbox")
        close = float((matrix[:, i] @ matrix[:, j]) / (scale[i] * scale[j]))
        if abs(close) > 0.999:  # one and the same up to a factor: which of them it is makes no difference
            found.pop("liou")
    shown = " + ".join(f"{value:.3g} {name}" for name, value in found.items() if abs(value) > 1e-4) or "0"
    expected = " + ".join(profile.total)
    findings = []

    def say(text: str, channels: tuple[str, ...], term: str, fix: str) -> None:
        findings.append(
            Finding(
                "error",
                "loss.total",
                "loss",
                text,
                tensor="gradient",
                channels=channels,
                expected=expected,
                got=shown,
                fix=fix,
                term=term,
            )
        )

    own = {"lcls": ("class",), "lbox": BOX_NAMES, "lobj": ("conf",), "liou": BOX_NAMES}
    for name in TERMS:
        factor = found.get(name)
        if factor is None:
            continue
        if name in profile.total and abs(factor) <= 1e-4:
            # undeclared, a total that holds liou for lbox is a choice; without lcls or lobj it is none
            if declared or name != "liou":
                say(f"total leaves out {name}", own[name], name, f"add {name} to total")
        elif name in profile.total and factor < 0:
            say(f"total takes {name} with the wrong sign", own[name], name, f"add {name}")
        elif name not in profile.total and abs(factor) > 1e-3:
            if declared:
                say(
                    f"total holds {name}, which [loss] total does not list",
                    own[name],
                    name,
                    f'take it out, or list "{name}" in loss.total',
                )
            elif not bad:
                findings.append(_seen("total", ", ".join(n for n in TERMS if abs(found.get(n, 0)) > 1e-3)))
    if not findings and rest > 5e-3:
        say(
            "total is not a sum of its terms: the gradient holds something else",
            (),
            "total",
            f"total = {expected}",
        )
    return findings
