"""Who moves what: loss term x channel, on positive, negative and ignored cells; and term x target channel."""

from __future__ import annotations

import torch
from torch import Tensor

from ..findings import Finding, Table
from ..inputs import perfect
from ..stage import GROUPS, Stage, columns
from .run import OWN, TERMS, Trial, flat, near

SAME = 1e-5
"""Below this share of the largest, a gradient or a change counts as none."""


def pred_influence(trial: Trial) -> tuple[Table, dict[str, dict[str, Tensor]]]:
    """Largest absolute gradient a term, cell kind and channel group, over two random predictions; over more
    where a box channel has none: a box that lies wholly within the other may move there at no cost."""
    kinds = ("positive", "negative", "ignored")
    got = {name: {kind: torch.zeros(len(GROUPS)) for kind in kinds} for name in TERMS}
    told: set[str] = set()
    threshold = trial.stage.detector.profile.ignore_iou or 0.6
    for seed, xy in ((1, 0.9), (2, 0.9), (11, 1.7), (12, 1.2), (14, 2.4), (15, 1.7)):
        if seed > 2 and all(bool((got[t]["positive"][1:5] > 0).all()) for t in ("lbox", "liou") if t in told):
            break
        preds = near(trial, seed, xy=xy)
        best = trial.best_overlaps(preds)
        masks = {
            "positive": trial.positive,
            "negative": ~trial.positive & (best < min(0.3, threshold / 2)),
            "ignored": ~trial.positive & (best > min(0.97, threshold + 0.1)),
        }
        grads = trial.grads(preds, TERMS)
        told = set(grads)
        for name, moved in grads.items():
            for kind, mask in masks.items():
                if bool(mask.any()):
                    sizes = torch.stack(
                        [moved[mask][:, columns(g)].abs().nan_to_num(1).amax() for g in GROUPS]
                    )
                    got[name][kind] = torch.maximum(got[name][kind], sizes)
    rows, values, expected = [], [], []
    for name in TERMS:
        for kind in kinds:
            rows.append(f"{name} {kind}")
            values.append(tuple(got[name][kind].tolist()))
            expected.append(tuple(_wanted(trial.stage, name, kind, group) for group in GROUPS))
    title = "loss: gradient of each term by channel of pred"
    return Table(title, tuple(rows), GROUPS, tuple(values), tuple(expected)), got


def _wanted(stage: Stage, term: str, kind: str, group: str) -> bool | None:
    """None: free."""
    profile = stage.detector.profile
    own = group in OWN[term]
    if term == "lcls" and stage.classes == 1 and own and kind == "positive":
        return None
    if term == "liou":
        return (True if "liou" in profile.total else None) if own and kind == "positive" else False
    if kind == "positive":
        return own
    if term == "lbox":
        return None if own and profile.prior_pull else False
    if term == "lobj" and own:
        return True if kind == "negative" else None
    return False


def moved_groups(sizes: Tensor, scale: float) -> set[str]:
    return {g for g, size in zip(GROUPS, sizes.tolist(), strict=True) if size > max(SAME * scale, 1e-12)}


def judge_influence(
    trial: Trial,
    got: dict[str, dict[str, Tensor]],
    sensitive: dict[str, dict[str, float]],
    pull_declared: bool,
) -> list[Finding]:
    """Channels that a term moves and should not, or should and does not."""
    findings: list[Finding] = []
    for term in TERMS:
        scale = max(float(sizes.max()) for sizes in got[term].values())
        for kind in ("positive", "negative"):
            moved = moved_groups(got[term][kind], scale)
            wanted = {g for g in GROUPS if _wanted(trial.stage, term, kind, g) is True}
            free = {g for g in GROUPS if _wanted(trial.stage, term, kind, g) is None}
            extra, missing = moved - wanted - free, wanted - moved
            if missing and kind == "positive" and term in ("lbox", "liou"):
                moved |= _moved_elsewhere(trial, term) & missing
                missing -= moved
            if kind == "negative" and term == "lbox" and not pull_declared and _pulls_to_priors(trial):
                findings.append(_prior_pull_seen())
                break
            if extra or missing:
                findings.append(_finding(trial, term, kind, extra, missing, moved, sensitive.get(term, {})))
                break
    return findings


def _moved_elsewhere(trial: Trial, term: str) -> set[str]:
    """What the term moves where boxes stick out of their truths on either axis: one that lies wholly inside
    (or around) its truth may be moved there at no cost to their IoU."""
    found: set[str] = set()
    for seed, xy, wh in ((11, 1.2, 0.03), (12, 1.7, 0.03), (13, 1.7, 0.25)):
        moved = trial.grads(near(trial, seed, xy, wh), [term]).get(term)
        if moved is None:
            continue
        rows = moved[trial.positive]
        sizes = torch.stack([rows[:, columns(g)].abs().nan_to_num(1).amax() for g in GROUPS])
        found |= moved_groups(sizes, float(sizes.max()))
    return found


def _pulls_to_priors(trial: Trial) -> bool:
    """Whether lbox leaves negatives alone that stand at their prior, and moves the others."""
    at_prior = perfect(trial.stage, trial.scene)
    moved = trial.grads(at_prior, ["lbox"])["lbox"][~trial.positive]
    away = trial.grads(near(trial, 1), ["lbox"])["lbox"][~trial.positive]
    return float(away.abs().max()) > 0 and float(moved.abs().max()) < 1e-4 * float(away.abs().max())


def _prior_pull_seen() -> Finding:
    return Finding(
        "info",
        "loss.profile",
        "loss",
        "lbox pulls negatives to their priors; [loss] prior_pull is not set, so it is checked with that",
        fix="set loss.prior_pull to the number of images for which it does",
    )


def _finding(
    trial: Trial,
    term: str,
    kind: str,
    extra: set[str],
    missing: set[str],
    moved: set[str],
    sensitive: dict[str, float],
) -> Finding:
    stage = trial.stage
    channels = tuple(g for g in GROUPS if g in extra | missing)
    own = " ".join(OWN[term])
    shown = " ".join(g for g in GROUPS if g in moved) or "nothing"
    tensor = "pred"
    if kind == "negative" and missing:
        message, fix = (
            f"{term} gives negative cells no gradient: the no-object part is left out",
            f"add the term that pulls {stage.raw(['conf'])} to 0 where targets' mask is 0",
        )
    elif kind == "negative":
        message = f"{term} moves {' '.join(sorted(extra))} of negative cells, which hold no truth"
        fix = f"take positives alone: mask = {stage.raw(['mask'], 'targets')} > 0"
    elif extra and not missing:
        message = f"{term} moves {' '.join(g for g in GROUPS if g in extra)} besides {own}"
        if term == "lobj" and extra <= {"x", "y", "w", "h"}:
            message += ": the IoU it is trained towards is not detached"
        fix = (
            "detach the IoU target"
            if term == "lobj" and extra <= set("xywh")
            else f"{term} is about {stage.raw(list(OWN[term]))}"
        )
    elif moved:
        message = f"{term} moves {shown}, where {own} is meant"
        fix = f"{term} reads {stage.raw(list(OWN[term]))}"
    else:
        message = f"{term} moves nothing on positive cells: it is detached, zero, or finds no positive"
        fix = (
            f"keep the graph from {stage.raw(list(OWN[term]))} to {term}; "
            f"positives are where {stage.raw(['mask'], 'targets')} > 0"
        )
        wrong = tuple(
            name for name in stage.layout.target if sensitive.get(name) and name not in _about(term)
        )
        if wrong:
            tensor, channels = "targets", tuple(n for n in stage.layout.target if n in {"mask", *wrong})
            message += f"; it follows targets' {' '.join(wrong)} instead of the mask"
    return Finding(
        "error",
        "loss.influence",
        "loss",
        message,
        tensor=tensor,  # type: ignore[arg-type]
        channels=channels,
        expected=f"{term} moves {own} of {'positive' if kind == 'positive' else 'the declared'} cells",
        got=f"on {kind} cells it moves {shown}",
        fix=fix,
        term=term,
    )


def _about(term: str) -> set[str]:
    """The target channels that a term may depend on."""
    box = {"x", "y", "w", "h"}
    return {
        "lcls": {"mask", "class"},
        "lbox": {"mask", "weight", *box},
        "lobj": {"mask", *box},
        "liou": {"mask", *box},
    }[term]


def _needed(trial: Trial, term: str) -> set[str]:
    needed = {
        "lcls": {"mask", "class"},
        "lbox": {"mask", "x", "y", "w", "h"},
        "lobj": {"mask"},
        "liou": {"mask"},
    }
    wanted = set(needed[term])
    if trial.stage.classes == 1 and term == "lcls":
        wanted = set()
    return wanted


def target_sensitivity(trial: Trial, seed: int = 3, xy: float = 0.9) -> dict[str, dict[str, float]]:
    """Term -> target channel -> relative change of the term when that channel of the positives is moved.

    ``mask`` empties every other positive slot as a whole; ``mask only`` its mask alone. A term that moves by
    itself, from call to call, is left out: its changes are no channel's.
    """
    preds = near(trial, seed, xy=xy)
    base = trial.values(preds)
    found: dict[str, dict[str, float]] = {term: {} for term in TERMS if term in base}
    for name in (*trial.stage.layout.target, "mask only"):
        if name == "class" and trial.stage.classes == 1:
            continue
        after = trial.values(preds, _moved_targets(trial, name))
        for term, value in found.items():
            change = abs(after[term] - base[term])
            value[name] = 1.0 if change != change else change / (abs(base[term]) + 1e-9)
    again = trial.values(preds)
    return {
        term: {name: change for name, change in value.items() if change > SAME}
        for term, value in found.items()
        if not abs(again[term] - base[term]) > SAME * (abs(base[term]) + 1e-9)
    }


def _moved_targets(trial: Trial, name: str) -> list[Tensor]:
    targets = trial.scene.targets
    for head, target in zip(trial.stage.heads, targets, strict=True):
        b, y, x, a = (target[..., 0] > 0).nonzero(as_tuple=True)
        slot = target[b, y, x, a]
        if name == "mask":
            slot[::2] = 0
        elif name == "mask only":
            slot[::2, 0] = 0
        elif name == "class":
            slot[:, 1] = (slot[:, 1] + 1) % trial.stage.classes
        elif name in ("x", "y"):
            side, grid, cell = (2, head.grid_w, x) if name == "x" else (3, head.grid_h, y)
            fraction = slot[:, side] * grid - cell
            slot[:, side] += torch.where(fraction > 0.5, -0.13, 0.13) / grid
        elif name in ("w", "h"):
            slot[:, 4 if name == "w" else 5] *= 1.17
        elif name == "weight":
            slot[:, 6] *= 1.3
        else:
            slot[:, 7] = 0.37
        target[b, y, x, a] = slot
    return targets


def judge_targets(trial: Trial, sensitive: dict[str, dict[str, float]]) -> list[Finding]:
    """Target channels that a term follows and should not, or should and does not."""
    findings = []
    for term, moved in sensitive.items():
        follows = {name for name in moved if name != "mask only"}
        extra, missing = follows - _about(term), _needed(trial, term) - follows
        if "weight" in extra and term in ("lcls", "lobj") and "mask only" in moved:
            extra.discard("weight")  # a scale of its parts beside the mask: only odd
        if missing and not extra:
            # a box wholly inside the other may be moved there at no cost: others are tried before it is said
            missing -= set(target_sensitivity(trial, seed=13, xy=1.7).get(term, {}))
        if not (extra or missing):
            continue
        if missing and not extra:
            extra |= _read_instead(trial, term)
        wrong = extra | missing | ({"mask"} if extra and "mask only" not in moved else set())
        channels = tuple(name for name in trial.stage.layout.target if name in wrong)
        parts = []
        if extra:
            parts.append(f"follows {' '.join(n for n in channels if n in extra)}")
        if missing:
            parts.append(f"does not follow {' '.join(n for n in channels if n in missing)}")
        wanted = [n for n in trial.stage.layout.target if n in _about(term)]
        findings.append(
            Finding(
                "error",
                "loss.targets",
                "loss",
                f"{term} {' and '.join(parts)} of targets",
                tensor="targets",
                channels=channels,
                expected=f"{term} depends on targets' {' '.join(wanted)}",
                got=(
                    "it depends on "
                    f"{' '.join(n for n in trial.stage.layout.target if n in follows) or 'none'}"
                ),
                fix=_target_fix(trial.stage, term),
                term=term,
            )
        )
    return findings


def _read_instead(trial: Trial, term: str) -> set[str]:
    """Channels of targets that move a term only as whole numbers: an id or a flag is read there."""
    layout, preds = trial.stage.layout, near(trial, 3)
    found = set()
    for place, name in enumerate(layout.target):
        if name in _about(term) or name == "iou":
            continue
        values = []
        for number in (0.0, 1.0):
            targets = trial.stage.detector.as_list(trial.stage.declared_targets(trial.scene.targets))
            for target, head, positive in zip(targets, trial.stage.heads, trial.scene.positive, strict=True):
                layout.to_canonical_axes(target, head, len(layout.target))[..., place][positive] = number
            handed = trial.stage.detector.one_or_list(targets)
            got = trial.called.call(
                "loss", trial.stage.declared_pred(preds), handed, trial.stage.given_heads()
            )
            values.append(float(got[term]))
        if abs(values[1] - values[0]) > SAME * (abs(values[0]) + 1e-9):
            found.add(name)
    return found


def _target_fix(stage: Stage, term: str) -> str:
    if term == "lcls":
        return f"the class is {stage.raw(['class'], 'targets')}"
    if term == "lbox":
        return f"the true box is {stage.raw(['x', 'y', 'w', 'h'], 'targets')}"
    return (
        f"positives are where {stage.raw(['mask'], 'targets')} "
        "> 0; the iou channel is the loss's own to write"
    )


__all__ = ["flat", "judge_influence", "judge_targets", "pred_influence", "target_sensitivity"]
