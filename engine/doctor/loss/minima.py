"""Where the terms pull: the minimum of each channel, found on the user's own loss, must be the truth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..findings import Finding
from ..inputs import perfect
from ..stage import BOX_NAMES
from .ignored import judge_ignored_cell
from .run import Trial, flat, near, unflat

FAR = 2.2
"""The same of w and h, in raw units: no clamp may cut the pull off so near."""
STEP = 0.1
"""In raw units: the pull must point inwards this far on either side of the truth."""


def judge_box(trial: Trial) -> list[Finding]:
    """lbox pulls tx, ty, tw, th of positives to the truth: its gradient changes sign there."""
    wrong: dict[str, int] = {}
    outward: set[str] = set()
    for c, name in enumerate(BOX_NAMES, start=1):
        low, high = (_box_gradient(trial, c, step) for step in (-STEP, STEP))
        bad = ~((low < 0) & (high > 0))
        if c > 2 and not bool(bad.any()):  # far from it too: sizes overlap however different they are
            low, high = (_box_gradient(trial, c, step) for step in (-FAR, FAR))
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
    return _dead(trial, preds, plain)


SURE = 4.0
"""A logit at which a network may be surely wrong; squared errors still pull there, if little."""


def _dead(trial: Trial, preds: list[Tensor], plain: Tensor) -> list[Finding]:
    """A confidence that is surely wrong is still pulled back, on negatives and positives."""
    for slots, at, kind in ((plain, SURE, "negatives"), (trial.positive, -SURE, "positives")):
        rows = flat(preds)
        rows[slots, 0] = at
        still = trial.grads(unflat(rows, preds), ["lobj"])["lobj"][slots, 0] == 0
        if bool(still.all()):
            return [
                Finding(
                    "error",
                    "loss.negatives",
                    "loss",
                    f"lobj has no gradient on {kind} whose confidence is surely wrong: they stay so",
                    channels=("conf",),
                    expected=f"a pull back from sigmoid({at:+.0f}) = {torch.tensor(at).sigmoid():.2f}",
                    got="gradient 0",
                    fix="no clamp of confidences before the loss, or one by far less than 0.01",
                    cell=trial.cell(int(slots.nonzero()[0])),
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

    def value(logits: Tensor) -> float:
        preds = near(trial, 7)
        each = flat(preds)
        each[trial.positive, 5:] = logits
        return trial.values(unflat(each, preds))["lcls"]

    level = torch.zeros(len(labels), classes)
    flatg = gradient(level)
    if classes == 1:  # a softmax over one class has no gradient at all
        if not bool((flatg > 0).any()):
            return []
        slot = int(trial.positive.nonzero()[0, 0])
        text = "lcls pushes the only class down where there is an object: its target is the id, 0, not 1"
        fix = "the target of binary cross-entropy is one-hot: 1 at the true class"
        return [_class_finding(trial, text, "a pull up", "a push down", fix, slot)]
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
    # a squared error of probabilities saturates too, and vanishes where the network is right, as it should
    vanishes = abs(value(right)) < 0.05 * abs(value(level))
    if least < 0.4 and not vanishes:
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
