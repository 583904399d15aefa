"""The user's ``loss`` alone, from what it touches to what it amounts to; each probe where those before
passed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import torch

from ..calling import Called
from ..findings import Finding, Severity, Table
from ..inputs import every_anchor, given, noise, perfect, scene
from ..stage import GROUPS, Stage, columns
from ..subject import seed_everything
from .cancels import judge_cancelling
from .forms import box_form, judge_box_form, judge_confidence, judge_liou
from .ignored import judge_ignore, judge_other_image, judge_threshold
from .influence import judge_influence, judge_targets, pred_influence, target_sensitivity
from .maps import judge_maps
from .minima import judge_box, judge_classes, judge_negatives
from .narrowed import narrowed
from .objectness import judge_objectness
from .positives import judge_positives
from .pull import judge_pull
from .reduction import judge_reduction
from .run import OWN, TERMS, Trial, near
from .total import judge_total
from .weight import judge_parts, judge_size_weight, judge_weight

Results = Iterator[tuple[str, list[Finding]]]
LEAP = 0.3
"""Share by which a loss on the same inputs changes from call to call only by a mistake."""
CALLS = 12
EVEN, UNEVEN = 5e-3, 1e-3
"""Of the value: the least step that is believed to count calls (a slow average moves in nearly even steps
too); of the step: by how much the others may differ."""
SLOW = 0.06
"""Seconds a call: above it, the config's own heads are only looked at briefly (the uneven ones wholly)."""


def probe_loss(called: Called, stage: Stage, declared: frozenset[str], tables: list[Table]) -> Results:
    """``declared``: the ``[loss]`` keys that the config's text sets."""
    trial = Trial(called, stage, scene(stage, [2, 0, 3], seed=17, smallest=1.3))
    started = time.perf_counter()
    trial.values(near(trial, 1))
    slow = time.perf_counter() - started > SLOW
    yield "loss.call", []
    finite = _finite(trial)
    yield "loss.finite", finite
    if any(f.severity == "error" for f in finite):
        return
    remembered = _remembered(trial)
    yield "loss.state", remembered
    if remembered:
        return  # what moves by itself follows nothing
    yield "loss.inputs", _inputs(trial)
    table, got = pred_influence(trial)
    if stage.name == "own":
        tables.append(table)
    sensitive = target_sensitivity(trial)
    influence = judge_influence(trial, got, sensitive, "prior_pull" in declared)
    yield "loss.influence", influence
    bad = {f.term for f in influence if f.severity == "error"}
    targets = [f for f in judge_targets(trial, sensitive) if f.term not in bad]
    deaf = [f for f in targets if _only_deaf(f)] if stage.detector.profile.objectness == "iou" else []
    yield "loss.targets", [f for f in targets if f not in deaf]
    bad |= {f.term for f in targets if f not in deaf}
    left_out = judge_positives(trial, bad)
    yield "loss.positives", left_out
    if left_out:
        return  # what follows counts on every positive
    profile = stage.detector.profile

    def said(key: str, value: str) -> str | None:
        return value if key in declared else None

    if "lbox" not in bad:
        box = judge_box(trial) or judge_box(Trial(called, stage, every_anchor(stage)))
        yield "loss.minimum", narrowed(trial, box, judge_box)
        bad |= {f.term for f in box}
    if "lobj" not in bad:
        negatives = judge_negatives(trial)
        yield "loss.negatives", negatives
        objectness = (
            judge_objectness(trial, said("objectness", profile.objectness)) if not negatives else None
        )
        if objectness is not None:
            yield (
                "loss.objectness",
                narrowed(
                    trial,
                    objectness.findings,
                    lambda t: judge_objectness(t, said("objectness", profile.objectness)).findings,
                ),
            )
            bad |= {f.term for f in objectness.findings if f.severity == "error"}
        bad |= {f.term for f in negatives}
    if deaf:
        yield "loss.targets", [f for f in deaf if f.term not in bad and "lobj" not in bad]
        bad |= {f.term for f in deaf}
    if slow and stage.name == "own":
        return  # the uneven heads, which are small, get the rest
    if "lcls" not in bad:
        classes = judge_classes(trial)
        yield "loss.classes", classes
        bad |= {f.term for f in classes}
    yield "loss.total", judge_total(trial, "total" in declared, bad)
    if "lobj" not in bad:
        ignored = judge_ignore(trial, "ignore_iou" in declared)
        if not ignored:
            ignored = judge_threshold(trial) if "ignore_iou" in declared else judge_other_image(trial)
        yield "loss.ignore", ignored
        yield "loss.form", judge_confidence(trial, said("confidence", profile.confidence))
    if "lbox" not in bad and "prior_pull" in declared:
        pulled = judge_pull(trial)
        yield "loss.pull", pulled
        bad |= {f.term for f in pulled}
    if "lbox" not in bad:
        cancelling = judge_cancelling(trial)
        yield "loss.minimum", cancelling
        bad |= {f.term for f in cancelling}
    if "lbox" not in bad:
        form = box_form(trial, said("box", profile.box))
        judged = judge_box_form(trial, form, said("box", profile.box))
        yield "loss.form", judged
        weight = judge_weight(trial)
        if not weight and not judged and form in ("", "mse", "smooth-l1"):
            weight = judge_parts(trial)
        if not weight and form in ("mse", "smooth-l1"):
            weight = judge_size_weight(trial)
        yield "loss.weight", weight
    if "liou" not in bad:
        yield "loss.liou", judge_liou(trial)
    yield "loss.reduction", judge_reduction(trial, said("reduction", profile.reduction), bad)
    yield "loss.maps", judge_maps(trial)
    yield "loss.state", _random(trial)


def _only_deaf(finding: Finding) -> bool:
    """lobj and liou do not follow the mask where the IoU they are made of is 0 everywhere: then the probes of
    that IoU say more."""
    return finding.term in ("lobj", "liou") and finding.channels == ("mask",)


def _finite(trial: Trial) -> list[Finding]:
    """Moderate logits and an empty batch must give numbers; extreme ones should. What the loss merely tells
    beside its terms may be what it likes."""
    stage = trial.stage
    empty = given(stage, [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.int64)] * 2)
    cases = (
        ("on random logits", trial, noise(stage, 3, 21, 1.5), True),
        ("near the truth", trial, near(trial, 4), True),
        ("where every box is its truth", trial, perfect(stage, trial.scene, sure=3.0), True),
        ("on a batch without objects", Trial(trial.called, stage, empty), noise(stage, 2, 22), True),
        ("on confidences and classes of +-40", trial, _extreme(trial), False),
    )
    for text, run, preds, decisive in cases:
        leaves = [p.clone().requires_grad_() for p in preds]
        terms = run.terms(leaves)
        taught = {name: t for name, t in terms.items() if name in (*OWN, "total") or t.requires_grad}
        bad = tuple(name for name, value in taught.items() if not math.isfinite(float(value.detach())))
        channels: tuple[str, ...] = ()
        where = "the value"
        if not bad and terms["total"].requires_grad:
            parts = run.backward(terms["total"], leaves)
            rows = torch.cat([g.reshape(-1, g.shape[-1]) for g in parts if g is not None])
            channels = tuple(g for g in GROUPS if not bool(torch.isfinite(rows[:, columns(g)]).all()))
            where = "the gradient"
        if bad or channels:
            names = [n for n in bad if n in OWN] or list(bad)
            shown = channels or _culprits(run, preds, names)
            return [
                Finding(
                    "error" if decisive else "warning",
                    "loss.finite",
                    "loss",
                    f"{where} of {' '.join(names) or 'total'} is not finite {text}",
                    tensor="gradient" if channels else "pred",
                    channels=shown,
                    expected="finite numbers",
                    got="NaN or infinity",
                    fix=(
                        "clamp before log, sqrt and division; use the "
                        "..._with_logits losses; divide by max(1, positives)"
                    ),
                    term=names[0] if len(names) == 1 else "",
                )
            ]
    return []


def _culprits(trial: Trial, preds: list[torch.Tensor], names: list[str]) -> tuple[str, ...]:
    """The channels of these terms that alone make them not finite, all else standing at moderate values above
    0; all of the terms' where that cannot be told."""
    own = tuple(g for g in GROUPS if any(g in OWN.get(n, ()) for n in names))

    def breaks(group: str) -> bool:
        tried = [torch.full_like(p, 0.5) for p in preds]
        for calm, pred in zip(tried, preds, strict=True):
            if group:
                calm[..., columns(group)] = pred[..., columns(group)]
        values = trial.values(tried)
        return not all(math.isfinite(values[n]) for n in names)

    found = () if breaks("") else tuple(g for g in own if breaks(g))
    return found or own


def _extreme(trial: Trial) -> list[torch.Tensor]:
    preds = near(trial, 4)
    for pred in preds:
        pred[..., 0] = pred[..., 0].sign() * 40
        pred[..., 5:] = pred[..., 5:].sign() * 40
    return preds


def _inputs(trial: Trial) -> list[Finding]:
    """pred and targets stay as they were, but for the iou channel; what stands there is not relied on."""
    stage = trial.stage
    handed = stage.declared_pred(near(trial, 2))
    wanted = stage.declared_targets(trial.scene.targets)
    as_list = stage.detector.as_list
    before = [p.clone() for p in as_list(handed)], [t.clone() for t in as_list(wanted)]
    trial.called.call("loss", handed, wanted, stage.given_heads())
    if not all(torch.equal(p, q) for p, q in zip(as_list(handed), before[0], strict=True)):
        rows = [
            (stage.layout.read_pred(p, h) != stage.layout.read_pred(q, h)).flatten(0, 3).any(0)
            for p, q, h in zip(as_list(handed), before[0], stage.heads, strict=True)
        ]
        changed = torch.stack(rows).any(0)
        names = tuple(g for g in GROUPS if bool(changed[columns(g)].any()))
        return [_written("pred", names)]
    count = len(stage.layout.target)
    changed_names: set[str] = set()
    for now, was, head in zip(as_list(wanted), before[1], stage.heads, strict=True):
        differ = stage.layout.to_canonical_axes((now != was).float(), head, count)
        changed_names |= {n for c, n in enumerate(stage.layout.target) if bool(differ[..., c].any())}
    changed_names.discard("iou")
    if changed_names:
        return [_written("targets", tuple(n for n in stage.layout.target if n in changed_names))]
    return []


def _written(tensor: str, names: tuple[str, ...]) -> Finding:
    return Finding(
        "error",
        "loss.inputs",
        "loss",
        f"loss writes into {tensor} ({' '.join(names)})",
        tensor=tensor,  # type: ignore[arg-type]
        channels=names,
        expected="inputs as they were; only the iou channel of targets may be written",
        got="overwritten",
        fix=f"work on a copy: no assignment into {tensor}, no method that ends in _",
    )


def _remembered(trial: Trial) -> list[Finding]:
    """Whether a loss, of the same inputs and random numbers, holds what the call before was given."""
    preds = near(trial, 2)
    trial.values(perfect(trial.stage, trial.scene))
    values = []
    for _ in range(2):
        seed_everything()
        values.append(trial.values(preds))
    first, second = values
    # a normaliser averaged over the batches creeps (Detectron2's RetinaNet); what is added up leaps
    moved = [
        n
        for n in _moved(first, second)
        if abs(first[n] - second[n]) > LEAP * max(abs(first[n]), abs(second[n]))
    ]
    if moved:
        return [_state_finding("error", moved, first[moved[0]], second[moved[0]])]
    return _counting(trial, preds) if _moved(first, second) else []


def _counting(trial: Trial, preds: list[torch.Tensor]) -> list[Finding]:
    """Whether a term goes up or down by one and the same step in every call on the same inputs: a factor
    that counts the calls. What an average over the batches divides moves in steps of every size."""
    runs = []
    for _ in range(CALLS):
        seed_everything()
        runs.append(trial.values(preds))
    counting = [name for name in TERMS if name in runs[0] and _even_steps([run[name] for run in runs])]
    if not counting:
        return []
    name = counting[0]
    found = _state_finding("error", counting, runs[0][name], runs[1][name])
    text = f"{' '.join(counting)} depend on how often loss was called: every call adds the same step"
    return [
        replace(found, message=text, fix="no factor of loss counts its calls; the learning rate warms up")
    ]


def _even_steps(values: list[float]) -> bool:
    steps = [after - before for before, after in pairwise(values)]
    least = EVEN * max(abs(value) for value in values)
    return all(abs(step) > least and abs(step - steps[0]) < UNEVEN * abs(steps[0]) for step in steps)


def _random(trial: Trial) -> list[Finding]:
    """The same inputs give the same loss."""
    preds = near(trial, 2)
    first, second = trial.values(preds), trial.values(preds)
    moved = _moved(first, second)
    return [_state_finding("warning", moved, first[moved[0]], second[moved[0]])] if moved else []


def _moved(first: dict[str, float], second: dict[str, float]) -> list[str]:
    return [n for n in TERMS if n in first and abs(first[n] - second[n]) > 1e-5 * (1 + abs(first[n]))]


def _state_finding(severity: Severity, moved: list[str], first: float, second: float) -> Finding:
    return Finding(
        severity,
        "loss.state",
        "loss",
        f"{' '.join(moved)} differ between two calls on the same inputs",
        tensor="gradient",
        expected="the same value twice",
        got=f"{first:.4g}, then {second:.4g}",
        fix="keep no state between calls",
    )
