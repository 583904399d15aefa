"""What conf of positives is trained towards, found on the user's own loss: the live IoU, 1, or what else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...boxes import iou as corner_iou
from ...boxes import to_xyxy
from ...yolo.decode import grid_cells
from ..findings import Finding
from ..inputs import decoded, perfect
from ..stage import BOX_NAMES
from .run import Trial, flat, near, profile_seen, unflat


@dataclass(frozen=True)
class Objectness:
    """What conf of positives is trained towards: ``iou``, ``one``, ``rising`` (a weighting that moves the
    minimum off the IoU, as focal ones do), or nothing of the kind."""

    kind: str
    findings: list[Finding]


def judge_objectness(trial: Trial, wanted: str | None) -> Objectness:
    """``wanted``: the declared kind, or None where the config's text says nothing."""
    preds, live = _spread_out(trial)
    overlap = live.clamp(0.05, 0.95)
    low = _conf_gradient(trial, preds, torch.logit((overlap - 0.025).clamp(min=0.01)))
    high = _conf_gradient(trial, preds, torch.logit((overlap + 0.025).clamp(max=0.99)))
    top = _conf_gradient(trial, preds, torch.full_like(overlap, 4.5))
    clear = (live > 0.05) & (live < 0.95)
    kind = ""
    if bool(clear.any()) and bool(((low < 0) & (high > 0))[clear].all()):
        kind = "iou"
    elif bool((top < 0).all()):
        kind = "one"
    if kind and wanted in (None, kind):
        usual = trial.stage.detector.profile.objectness
        return Objectness(kind, [] if kind == usual else [profile_seen("objectness", kind)])
    if kind:
        text = (
            f"lobj trains conf towards {'the IoU' if kind == 'iou' else '1'}, "
            f"where objectness = {wanted!r} is declared"
        )
        fix = f'set loss.objectness = "{kind}", or train towards {"1" if wanted == "one" else "the live IoU"}'
        return Objectness(kind, [_objectness_finding(trial, text, wanted or "", kind, fix, ("conf",), 0)])
    if bool((low > 0).all()) and bool(
        (_conf_gradient(trial, preds, torch.full_like(overlap, -4.5)) > 0).all()
    ):
        return Objectness("", [_pulled_down(trial, preds)])
    roots = _conf_roots(trial, preds)
    if float(roots.min()) > 0.85 and float(roots.max() - roots.min()) < 0.02 and wanted in (None, "one"):
        return Objectness("one", [])  # 1, smoothed
    if bool(((roots - live).abs() < 0.025).all()) and wanted in (None, "iou"):
        return Objectness("iou", [])
    return _explained_objectness(trial, preds, roots, live, wanted)


def _spread_out(trial: Trial) -> tuple[list[Tensor], Tensor]:
    """Predictions about the truths and the positives' IoUs, most of them neither next to 0 nor next to 1."""
    found: list[tuple[float, list[Tensor], Tensor]] = []
    for xy, wh in ((1.6, 0.5), (0.9, 0.4), (0.5, 0.3), (0.25, 0.2)):
        preds = near(trial, 5, xy=xy, wh=wh)
        live = trial.overlaps(preds)[trial.positive]
        share = float(((live > 0.1) & (live < 0.9)).float().mean())
        if share > 0.7:
            return preds, live
        found.append((share, preds, live))
    _, preds, live = max(found, key=lambda each: each[0])
    return preds, live


def _conf_gradient(trial: Trial, preds: Sequence[Tensor], at: Tensor) -> Tensor:
    rows = flat(preds)
    rows[trial.positive, 0] = at
    return trial.grads(unflat(rows, preds), ["lobj"])["lobj"][trial.positive, 0]


def _conf_roots(trial: Trial, preds: Sequence[Tensor]) -> Tensor:
    """``[P]``: the confidence (after the sigmoid) at which lobj is least."""
    count = int(trial.positive.sum())
    low, high = torch.full((count,), -8.0), torch.full((count,), 8.0)
    for _ in range(16):
        middle = (low + high) / 2
        up = _conf_gradient(trial, preds, middle) > 0
        low, high = torch.where(up, low, middle), torch.where(up, middle, high)
    return ((low + high) / 2).sigmoid()


def _pulled_down(trial: Trial, preds: list[Tensor]) -> Finding:
    """conf of positives trained to 0: because the IoU itself comes out as 0, as liou then shows too."""
    at_truth = trial.values(perfect(trial.stage, trial.scene)).get("liou", 0.0)
    unmoved = at_truth > 0.5 * abs(trial.values(preds).get("liou", 0.0)) > 0
    why = ": the IoU it is trained towards is 0 even for a perfect box" if unmoved else ""
    return _objectness_finding(
        trial,
        f"lobj pulls conf of positives to 0{why}",
        "towards the IoU or 1",
        "towards 0",
        "the target on positives is the IoU of the decoded box with the true box, both in one unit",
        BOX_NAMES if unmoved else ("conf",),
        0,
    )


def _explained_objectness(
    trial: Trial, preds: list[Tensor], roots: Tensor, overlap: Tensor, wanted: str | None
) -> Objectness:
    """The target that was used instead of the live IoU, or a rising function of it that reaches 1."""
    sure = perfect(trial.stage, trial.scene)
    at_one = _conf_roots(trial, sure)
    worst = int((roots - overlap).abs().argmax())
    expected, got = f"{float(overlap[worst]):.3f}, the IoU", f"{float(roots[worst]):.3f}"
    plain = _is_plain(trial, preds, roots)
    for text, value, channels, function_of_iou in _other_targets(trial, preds):
        if bool(((value.clamp(0, 1) - roots).abs() < 0.02).all()):
            finding = _objectness_finding(
                trial,
                f"lobj trains conf towards {text}, not towards the live IoU",
                expected,
                got,
                "target = IoU of the decoded box with the true box, detached",
                channels,
                worst,
            )
            if function_of_iou and not (plain and wanted):
                # undeclared, or weighted as focal losses are: odd, and no proof
                return Objectness("rising", [replace(finding, severity="warning")])
            return Objectness("", [finding])
    told = overlap > 0.1
    ratio = (roots / overlap)[told]
    steady = bool(told.any()) and bool(((ratio - ratio.mean()).abs() < 0.03 * ratio.mean()).all())
    if steady and float(ratio.mean()) < 0.97:
        text = (
            f"lobj trains conf towards {float(ratio.mean()):.2f} "
            "x IoU: the no-object part pulls at positives too"
        )
        fix = "take the no-object part where the mask is 0 alone"
        return Objectness("", [_objectness_finding(trial, text, expected, got, fix, ("conf",), worst)])
    if float(at_one.min()) > 0.95 and _rises(overlap, roots):
        if not plain:
            return Objectness("rising", [])
        text = "lobj trains conf towards a function of the IoU, not towards the IoU itself"
        fix = "target = the IoU itself, detached: neither powers nor a mixture with 1"
        finding = _objectness_finding(trial, text, expected, got, fix, ("conf",), worst)
        return Objectness("rising", [finding if wanted else replace(finding, severity="warning")])
    if float(at_one.min()) < 0.95 and bool(((roots - roots.mean()).abs() < 0.02).all()):
        text = (
            f"lobj trains conf of positives towards {float(roots.mean()):.2f}: "
            "the no-object part pulls at positives too"
        )
        fix = "take the no-object part where the mask is 0 alone"
        return Objectness("", [_objectness_finding(trial, text, "1 or the IoU", got, fix, ("conf",), worst)])
    text = "lobj trains conf of positives towards something else than the live IoU or 1"
    fix = "target = IoU of the decoded box with the true box, both cx, cy, w, h in 0..1, detached"
    return Objectness("", [_objectness_finding(trial, text, expected, got, fix, ("conf",), worst)])


def _is_plain(trial: Trial, preds: Sequence[Tensor], targets: Tensor) -> bool:
    """Whether conf's gradient on positives is that of a squared error or a cross-entropy towards ``targets``,
    without a weighting (focal, say) that could have moved the minimum there."""
    logits = (-2.0, -0.7, 0.4, 1.8)
    sigma = torch.tensor(logits).sigmoid().unsqueeze(1)
    moved = torch.stack([_conf_gradient(trial, preds, torch.full_like(targets, at)) for at in logits])
    for shape in (sigma - targets, (sigma - targets) * sigma * (1 - sigma)):
        clear = (sigma - targets).abs() > 0.1
        factor = (moved * shape * clear).sum(0) / (shape**2 * clear).sum(0)
        rest = (moved - factor * shape).abs() * clear
        if bool((rest.amax(0) < 0.03 * (moved.abs() * clear).amax(0)).all()):
            return True
    return False


def _rises(overlap: Tensor, roots: Tensor) -> bool:
    order = overlap.argsort()
    return bool((roots[order].diff() > -0.01).all())


def _other_targets(trial: Trial, preds: list[Tensor]) -> list[tuple[str, Tensor, tuple[str, ...], bool]]:
    box, truth, prior, grid, pixel = [], [], [], [], []
    for head, boxes, target, pred in zip(
        trial.stage.heads, decoded(trial.stage, preds), trial.scene.assigned.targets, preds, strict=True
    ):
        b, y, x, a = (target[..., 0] > 0).nonzero(as_tuple=True)
        size = torch.tensor([head.grid_w, head.grid_h] * 2, dtype=torch.float32)
        box.append(boxes[b, y, x, a])
        truth.append(target[b, y, x, a, 2:6])
        cells = grid_cells(head, pred).expand(head.grid_h, head.grid_w, head.anchor_count, 2)[y, x, a]
        prior.append(torch.cat((cells + 0.5, head.anchors.float()[a]), 1) / size)
        grid.append(size.expand(len(b), 4))
        pixel.append(size.expand(len(b), 4) * head.stride)
    p, t, q, g, px = (torch.cat(each) for each in (box, truth, prior, grid, pixel))
    raw = flat(preds)[trial.positive, 1:5]
    soft = torch.cat((raw[:, :2].sigmoid(), raw[:, 2:]), 1)

    def of(one: Tensor, two: Tensor, kind: str = "iou") -> Tensor:
        return corner_iou(to_xyxy(one), to_xyxy(two), kind)  # type: ignore[arg-type]

    centred = [torch.cat((torch.zeros_like(e[:, :2]), e[:, 2:]), 1) for e in (p, t, q)]
    everything = ("x", "y", "w", "h")
    units = (("grid", g), ("pixel", px), ("image", torch.ones_like(g)))
    found: list[tuple[str, Tensor, tuple[str, ...], bool]] = [
        ("the IoU of the anchor's box with the truth", of(q, t), everything, False),
        ("the IoU of the anchor's size with the truth's", of(centred[2], centred[1]), everything, False),
        ("the IoU of the prediction with the anchor", of(p, q), everything, False),
        ("the IoU of the sizes alone", of(centred[0], centred[1]), ("x", "y"), False),
        ("1 - IoU", 1 - of(p, t), ("conf",), False),
        ("the IoU of boxes read as corners", corner_iou(p, t), everything, False),
        ("the IoU of the raw, undecoded box with the truth", of(raw, t), everything, False),
        ("the IoU of the raw box (sigmoid on x, y) with the truth", of(soft, t), everything, False),
        ("the IoU with the true box divided by the grid once more", of(p, t / g), everything, False),
        (
            "the IoU of the prediction divided by the grid once more with the truth",
            of(p / g, t),
            everything,
            False,
        ),
        ("the IoU with the true box in cells", of(p, t * g), everything, False),
        ("the IoU of the prediction in cells with the truth in 0..1", of(p * g, t), everything, False),
        ("the IoU with x and y of the truth swapped", of(p, t[:, [1, 0, 2, 3]]), ("x", "y"), False),
        ("the IoU with w and h of the truth swapped", of(p, t[:, [0, 1, 3, 2]]), ("w", "h"), False),
        ("the square of the IoU", of(p, t) ** 2, ("conf",), True),
        ("the square root of the IoU", of(p, t).sqrt(), ("conf",), True),
        ("the mean of the IoU and 1", (of(p, t) + 1) / 2, ("conf",), True),
        ("(1 + GIoU) / 2", (of(p, t, "giou") + 1) / 2, ("conf",), False),
    ]
    for kind in ("giou", "diou", "ciou"):
        for _, scale in units:
            found.append((f"the {kind.upper()}", of(p * scale, t * scale, kind), ("conf",), False))
    return found


def _objectness_finding(
    trial: Trial, text: str, expected: str, got: str, fix: str, channels: tuple[str, ...], positive: int
) -> Finding:
    slots = trial.positive.nonzero()[:, 0]
    return Finding(
        "error",
        "loss.objectness",
        "loss",
        text,
        channels=channels,
        expected=expected,
        got=got,
        fix=fix,
        cell=trial.cell(int(slots[positive])),
        term="lobj",
    )
