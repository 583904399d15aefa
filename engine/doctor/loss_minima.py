"""Where the terms pull: the minimum of each channel, found on the user's own loss, must be the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..boxes import iou as corner_iou
from ..boxes import to_xyxy
from ..yolo.decode import grid_cells
from .findings import Finding
from .inputs import decoded, perfect
from .loss_ignored import judge_ignored_cell
from .loss_run import Trial, flat, near, unflat
from .stage import BOX_NAMES

STEP = 0.1
"""In raw units: the pull must point inwards this far on either side of the truth."""


def judge_box(trial: Trial) -> list[Finding]:
    """lbox pulls tx, ty, tw, th of positives to the truth: its gradient changes sign there."""
    wrong: dict[str, int] = {}
    outward: set[str] = set()
    for c, name in enumerate(BOX_NAMES, start=1):
        low, high = (_box_gradient(trial, c, step) for step in (-STEP, STEP))
        bad = ~((low < 0) & (high > 0))
        if bool(bad.any()):
            wrong[name] = int(bad.nonzero()[0])
            if bool(((low > 0) & (high < 0)).all()):
                outward.add(name)
    if not wrong:
        return []
    channels = tuple(wrong)
    text = _pulls(trial, channels) if not outward else "it pushes away from the truth: its sign is wrong"
    slots = trial.positive.nonzero()[:, 0]
    return [
        Finding(
            "error",
            "loss.minimum",
            "loss",
            f"lbox does not pull {' '.join(channels)} to the truth" + (f": {text}" if text else ""),
            channels=channels,
            expected="lbox least where the decoded box is the true box",
            got=text or "its minimum lies elsewhere",
            fix=(
                f"compare {trial.stage.raw(BOX_NAMES)}, decoded, with "
                f"{trial.stage.raw(BOX_NAMES, 'targets')} in one unit"
            ),
            cell=trial.cell(int(slots[next(iter(wrong.values()))])),
            term="lbox",
        )
    ]


def _box_gradient(trial: Trial, channel: int, step: float) -> Tensor:
    """``[P]``: gradient of lbox at the truth, this channel moved by ``step``."""
    preds = perfect(trial.stage, trial.scene, sure=2.0)
    rows = flat(preds)
    rows[trial.positive, channel] += step
    return trial.grads(unflat(rows, preds), ["lbox"])["lbox"][trial.positive, channel]


def _pulls(trial: Trial, names: Sequence[str]) -> str:
    """Towards what, where that is one of the quantities about."""
    texts = []
    for name in names:
        c = BOX_NAMES.index(name) + 1
        roots = _roots(trial, c)
        if roots is None:
            continue
        found = _named(trial, name, roots)
        if found:
            texts.append(found)
    return ", ".join(texts)


def _roots(trial: Trial, channel: int) -> Tensor | None:
    """``[P]``: the raw value at which lbox's gradient turns positive; None where it does not."""
    truth = flat(perfect(trial.stage, trial.scene))[trial.positive, channel]
    low, high = torch.full_like(truth, -6.0), torch.full_like(truth, 9.0)

    def gradient(at: Tensor) -> Tensor:
        preds = perfect(trial.stage, trial.scene, sure=2.0)
        rows = flat(preds)
        rows[trial.positive, channel] = at
        return trial.grads(unflat(rows, preds), ["lbox"])["lbox"][trial.positive, channel]

    if bool((gradient(low) >= 0).any()) or bool((gradient(high) <= 0).any()):
        return None
    for _ in range(16):
        middle = (low + high) / 2
        up = gradient(middle) > 0
        low, high = torch.where(up, low, middle), torch.where(up, middle, high)
    return (low + high) / 2


def _named(trial: Trial, name: str, roots: Tensor) -> str:
    quantities = _quantities(trial)
    for act, value in (
        (f"sigmoid(t{name})", roots.sigmoid()),
        (f"t{name}", roots),
        (f"exp(t{name})", roots.exp()),
        (f"anchor * exp(t{name})", roots.exp() * quantities["anchor_w" if name in "xw" else "anchor_h"]),
        (f"sigmoid(sigmoid(t{name}))", roots.sigmoid().sigmoid()),
    ):
        for text, quantity in quantities.items():
            if bool(((value - quantity).abs() < 0.01 * (1 + quantity.abs())).all()):
                return f"{act} is pulled to {text}"
    return ""


def _quantities(trial: Trial) -> dict[str, Tensor]:
    parts: dict[str, list[Tensor]] = {}
    for head, target in zip(trial.stage.heads, trial.scene.assigned.targets, strict=True):
        b, y, x, a = (target[..., 0] > 0).nonzero(as_tuple=True)
        k, cx, cy, w, h = target[b, y, x, a, 1:6].unbind(1)
        aw, ah = head.anchors.float()[a].unbind(1)
        gw, gh = float(head.grid_w), float(head.grid_h)
        values = {
            "the fraction of x inside the cell": cx * gw - x,
            "the fraction of y inside the cell": cy * gh - y,
            "x in 0..1 of the image": cx,
            "y in 0..1 of the image": cy,
            "w in 0..1 of the image": w,
            "h in 0..1 of the image": h,
            "x in cells": cx * gw,
            "y in cells": cy * gh,
            "w in cells": w * gw,
            "h in cells": h * gh,
            "log(w / anchor_w)": (w * gw / aw).log(),
            "log(h / anchor_h)": (h * gh / ah).log(),
            "log(w / anchor_h)": (w * gw / ah).log(),
            "log(h / anchor_w)": (h * gh / aw).log(),
            "w / anchor_w": w * gw / aw,
            "h / anchor_h": h * gh / ah,
            "log of w in 0..1 over the anchor in cells": (w / aw).log(),
            "log of h in 0..1 over the anchor in cells": (h / ah).log(),
            "log(w)": w.log(),
            "log(h)": h.log(),
            "sqrt(w)": w.sqrt(),
            "sqrt(h)": h.sqrt(),
            "w^2": w**2,
            "h^2": h**2,
            "the class": k,
            "the mask": torch.ones_like(k),
            "0": torch.zeros_like(k),
            "anchor_w": aw,
            "anchor_h": ah,
        }
        for text, value in values.items():
            parts.setdefault(text, []).append(value)
    return {text: torch.cat(each) for text, each in parts.items()}


@dataclass(frozen=True)
class Objectness:
    """What conf of positives is trained towards: ``iou``, ``one``, ``rising`` (a function of the IoU that
    reaches 1), or nothing of the kind."""

    kind: str
    findings: list[Finding]


def judge_objectness(trial: Trial, wanted: str | None) -> Objectness:
    """``wanted``: the declared kind, or None where the config's text says nothing."""
    preds = near(trial, 5, xy=1.6, wh=0.5)
    overlap = trial.overlaps(preds)[trial.positive].clamp(0.05, 0.95)
    low = _conf_gradient(trial, preds, torch.logit((overlap - 0.025).clamp(min=0.01)))
    high = _conf_gradient(trial, preds, torch.logit((overlap + 0.025).clamp(max=0.99)))
    top = _conf_gradient(trial, preds, torch.full_like(overlap, 4.5))
    kind = ""
    if bool(((low < 0) & (high > 0)).all()):
        kind = "iou"
    elif bool((top < 0).all()):
        kind = "one"
    if kind and wanted in (None, kind):
        usual = trial.stage.detector.profile.objectness
        return Objectness(kind, [] if kind == usual else [_seen(kind)])
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
    return _explained_objectness(trial, preds, roots, overlap)


def _seen(kind: str) -> Finding:
    return Finding(
        "info",
        "loss.profile",
        "loss",
        f"the loss has objectness = {kind!r}; [loss] objectness is not set, so it is checked against that",
        fix=f'set loss.objectness = "{kind}"',
    )


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


def _explained_objectness(trial: Trial, preds: list[Tensor], roots: Tensor, overlap: Tensor) -> Objectness:
    """The target that was used instead of the live IoU, or a rising function of it that reaches 1."""
    sure = perfect(trial.stage, trial.scene)
    at_one = _conf_roots(trial, sure)
    worst = int((roots - overlap).abs().argmax())
    expected, got = f"{float(overlap[worst]):.3f}, the IoU", f"{float(roots[worst]):.3f}"
    for text, value, channels, severity in _other_targets(trial, preds):
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
            if severity == "warning":
                finding = Finding(**{**finding.__dict__, "severity": "warning"})
            return Objectness("iou" if severity == "warning" else "", [finding])
    ratio = roots / overlap
    steady = bool(((ratio - ratio.mean()).abs() < 0.03 * ratio.mean()).all())
    if steady and float(ratio.mean()) < 0.97:
        text = (
            f"lobj trains conf towards {float(ratio.mean()):.2f} "
            "x IoU: the no-object part pulls at positives too"
        )
        fix = "take the no-object part where the mask is 0 alone"
        return Objectness("", [_objectness_finding(trial, text, expected, got, fix, ("conf",), worst)])
    if float(at_one.min()) > 0.95 and _rises(overlap, roots):
        return Objectness("rising", [])
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


def _rises(overlap: Tensor, roots: Tensor) -> bool:
    order = overlap.argsort()
    return bool((roots[order].diff() > -0.01).all())


def _other_targets(trial: Trial, preds: list[Tensor]) -> list[tuple[str, Tensor, tuple[str, ...], str]]:
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
    found: list[tuple[str, Tensor, tuple[str, ...], str]] = [
        ("the IoU of the anchor's box with the truth", of(q, t), everything, "error"),
        ("the IoU of the anchor's size with the truth's", of(centred[2], centred[1]), everything, "error"),
        ("the IoU of the prediction with the anchor", of(p, q), everything, "error"),
        ("the IoU of the sizes alone", of(centred[0], centred[1]), ("x", "y"), "error"),
        ("1 - IoU", 1 - of(p, t), ("conf",), "error"),
        ("the IoU of boxes read as corners", corner_iou(p, t), everything, "error"),
        ("the IoU of the raw, undecoded box with the truth", of(raw, t), everything, "error"),
        ("the IoU of the raw box (sigmoid on x, y) with the truth", of(soft, t), everything, "error"),
        ("the IoU with the true box divided by the grid once more", of(p, t / g), everything, "error"),
        (
            "the IoU of the prediction divided by the grid once more with the truth",
            of(p / g, t),
            everything,
            "error",
        ),
        ("the IoU with the true box in cells", of(p, t * g), everything, "error"),
        ("the IoU of the prediction in cells with the truth in 0..1", of(p * g, t), everything, "error"),
        ("the IoU with x and y of the truth swapped", of(p, t[:, [1, 0, 2, 3]]), ("x", "y"), "error"),
        ("the IoU with w and h of the truth swapped", of(p, t[:, [0, 1, 3, 2]]), ("w", "h"), "error"),
        ("the square of the IoU", of(p, t) ** 2, ("conf",), "warning"),
        ("the square root of the IoU", of(p, t).sqrt(), ("conf",), "warning"),
    ]
    for kind in ("giou", "diou", "ciou"):
        for _, scale in units:
            found.append((f"the {kind.upper()}", of(p * scale, t * scale, kind), ("conf",), "error"))
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


def judge_negatives(trial: Trial) -> list[Finding]:
    """conf of negatives is pulled down from wherever it stands."""
    preds = near(trial, 6)
    best = trial.best_overlaps(preds)
    plain = ~trial.positive & (best < 0.3)
    if not bool(plain.any()):
        return []
    if left := _left_over(trial):
        return [left]
    if neighbours := judge_ignored_cell(trial):
        return [neighbours]
    for at in (-2.0, 0.0, 2.0):
        rows = flat(preds)
        rows[plain, 0] = at
        moved = trial.grads(unflat(rows, preds), ["lobj"])["lobj"][plain, 0]
        up, still = moved < 0, moved == 0
        if bool(up.any()):
            slot = int(plain.nonzero()[int(up.nonzero()[0])])
            text = f"lobj pushes conf of negatives up from {torch.tensor(at).sigmoid():.2f}"
            hint = (
                "the logit itself is compared with 0: the sigmoid is missing"
                if at < 0
                else "its sign is wrong"
            )
            return [
                Finding(
                    "error",
                    "loss.negatives",
                    "loss",
                    f"{text}: {hint}",
                    channels=("conf",),
                    expected="a pull towards 0",
                    got=f"{float(up.float().mean()):.0%} of negatives are pushed up",
                    fix=f"sigmoid({trial.stage.raw(['conf'])}) against 0",
                    cell=trial.cell(slot),
                    term="lobj",
                )
            ]
        if float(still.float().mean()) > 0.02:
            slot = int(plain.nonzero()[int(still.nonzero()[0])])
            return [
                Finding(
                    "error",
                    "loss.negatives",
                    "loss",
                    f"lobj leaves {float(still.float().mean()):.0%} of the negatives without a gradient",
                    channels=("conf",),
                    expected="every negative that overlaps no truth is pulled to 0",
                    got="gradient 0",
                    fix="apply the no-object part wherever the mask is 0 (and the ignore rule does not hold)",
                    cell=trial.cell(slot),
                    term="lobj",
                )
            ]
    return []


def _left_over(trial: Trial) -> Finding | None:
    """lobj where every confidence is surely right, against lobj where nothing is known."""
    sure = perfect(trial.stage, trial.scene, sure=3.5)  # not more: smoothed targets are legitimate
    rows = flat(sure)
    rows[:, 0] = 0.0
    unsure = trial.values(unflat(rows, sure))["lobj"]
    left = trial.values(sure)["lobj"] / unsure if unsure else 0.0
    if abs(left) < 0.5:
        return None
    half = 0.5**2 / 0.6225**2, 0.6931 / 0.9741
    twice = any(abs(left - share) < 0.12 for share in half)
    text = "lobj does not vanish where every confidence is surely right"
    return Finding(
        "error",
        "loss.negatives",
        "loss",
        text + (": the sigmoid is taken twice" if twice else ""),
        channels=("conf",),
        expected="next to 0",
        got=f"{left:.0%} of lobj at zero logits",
        fix=(
            f"one sigmoid of {trial.stage.raw(['conf'])}: against 0 on negatives, the IoU (or 1) on positives"
        ),
        term="lobj",
    )


def judge_classes(trial: Trial) -> list[Finding]:
    """The true class is pulled up, the others down; hardest where the network is surest and wrong."""
    classes = trial.stage.classes
    labels = torch.cat([t[..., 1][t[..., 0] > 0] for t in trial.scene.assigned.targets]).long()
    rows = torch.arange(len(labels))

    def gradient(logits: Tensor) -> Tensor:
        preds = near(trial, 7)
        each = flat(preds)
        each[trial.positive, 5:] = logits
        return trial.grads(unflat(each, preds), ["lcls"])["lcls"][trial.positive][:, 5:]

    level = torch.zeros(len(labels), classes)
    flatg = gradient(level)
    if classes == 1:
        return []
    pulled = flatg.argmin(1)
    if not bool((pulled == labels).all()):
        slot = int(trial.positive.nonzero()[int((pulled != labels).nonzero()[0]), 0])
        shift = (pulled - labels) % classes
        text = f": every class shifted by {int(shift[0])}" if bool((shift == shift[0]).all()) else ""
        if bool((flatg.argmax(1) == labels).all()):
            text = ": the true class is pushed down, the sign is wrong"
        return [
            _class_finding(
                trial,
                f"lcls pulls up another class than the true one{text}",
                f"class {int(labels[0])}",
                f"class {int(pulled[0])}",
                (
                    f"the true class is {trial.stage.raw(['class'], 'targets')}, "
                    f"its logits {trial.stage.raw(['class'])}"
                ),
                slot,
            )
        ]
    base = flatg[rows, labels].abs()
    beaten = level.clone()
    beaten[rows, (labels + 1) % classes] = 7.0
    sunk = level.clone()
    sunk[rows, labels] = -7.0
    right = torch.full_like(level, -7.0)
    right[rows, labels] = 7.0
    wrong, low, good = gradient(beaten), gradient(sunk), gradient(right)
    slot = int(trial.positive.nonzero()[0, 0])
    least = torch.minimum(wrong[rows, labels].abs(), low[rows, labels].abs()).div(base).min()
    if bool((wrong[rows, labels].abs() < 0.4 * base).any()) or bool(
        (low[rows, labels].abs() < 0.4 * base).any()
    ):
        return [
            _class_finding(
                trial,
                (
                    "lcls hardly pulls where the network is surely wrong: "
                    "the logits go through a softmax or sigmoid once too often"
                ),
                "the strongest pull on a confident mistake",
                f"{float(least):.3f} of the pull at zero logits",
                "hand the raw logits to cross_entropy or binary_cross_entropy_with_logits",
                slot,
            )
        ]
    if bool((wrong[rows, (labels + 1) % classes] <= 0).any()):
        return [
            _class_finding(
                trial,
                "lcls does not push down a wrong class",
                "a sure wrong class is pushed down",
                "no gradient on it",
                "compare all classes' logits with the one-hot truth",
                slot,
            )
        ]
    if bool((good.abs().amax(1) > 0.5 * base).any()):
        return [
            _class_finding(
                trial,
                "lcls still pulls hard where the class is surely right",
                "next to no gradient",
                f"{float((good.abs().amax(1) / base).max()):.2f} of the pull at zero logits",
                "hand the raw logits to the loss",
                slot,
            )
        ]
    return []


def _class_finding(trial: Trial, text: str, expected: str, got: str, fix: str, slot: int) -> Finding:
    return Finding(
        "error",
        "loss.classes",
        "loss",
        text,
        channels=("class",),
        expected=expected,
        got=got,
        fix=fix,
        cell=trial.cell(slot),
        term="lcls",
    )
