"""By what a term is divided: batches duplicated, padded with empty images, grids widened, truths added."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...layout import Head
from ..findings import Finding
from ..inputs import Scene, given, in_slots, perfect, scene
from ..stage import Stage
from .minima import judge_box
from .run import OWN, Trial, flat, profile_seen, unflat

SILENT = -25.0
"""A confidence so low that a negative costs nothing."""


@dataclass(frozen=True)
class Ratios:
    """A part of the loss under the four changes; 1 is unchanged.

    ``dup``: every image twice. ``pad``: as many empty images added. ``count``: three truths of one cost
    instead of one. ``grid``: twice the columns, the same truths. What is not finite was not measured.
    """

    dup: float
    pad: float
    count: float
    grid: float

    @property
    def measured(self) -> bool:
        """Whether the batch could be changed at all: what is not finite then is no evidence of a divisor."""
        return math.isfinite(self.dup) and math.isfinite(self.pad)

    @property
    def told(self) -> str:
        grid = f", x{self.grid:.2g} on twice the cells" if math.isfinite(self.grid) else ""
        return f"x{self.dup:.2g} for the batch twice, x{self.pad:.2g} with as many empty images{grid}"

    def kinds(self, dense: bool) -> list[str]:
        """Those of ``batch``, ``positives`` and ``slots`` that all measured ratios allow; else what is wrong.
        ``dense``: it grows with the slots."""
        expected = {
            "batch": (1, 1, 1, 2) if dense else (1, 0.5, 3, 1),
            "positives": (1, 2, 1, 2) if dense else (1, 1, 1, 1),
            "slots": (1, 1, 1, 1) if dense else (1, 0.5, 3, 0.5),
        }
        got = (self.dup, self.pad, self.count, self.grid)
        room = 0.2 if dense else 0.06
        fitting = [
            kind
            for kind, wanted in expected.items()
            if all(abs(g - w) <= room * w for g, w in zip(got, wanted, strict=True) if math.isfinite(g))
        ]
        if fitting:
            return fitting
        return ["sum"] if abs(self.dup - 2) < 0.1 else ["other"]


def measure(trial: Trial) -> dict[str, Ratios]:
    """``lcls``, ``lbox``, ``lobj`` (positives' part), ``noobj`` (negatives' part) and ``total``."""
    stage = trial.stage
    base = scene(stage, [2, 2], seed=41, smallest=1.2)
    double = given(stage, base.boxes * 2, base.labels * 2)
    none = [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.int64)] * 2
    padded = given(stage, base.boxes + none[0], base.labels + none[1])
    wide = _widened(stage)
    spread = given(wide, base.boxes, base.labels)
    found = {
        name: _values(trial, stage, made) for name, made in (("base", base), ("dup", double), ("pad", padded))
    }
    follows = not judge_box(Trial(trial.called, wide, spread))  # else its own constants are to blame
    found["grid"] = _values(trial, wide, spread) if follows else dict.fromkeys(found["base"], float("nan"))
    counted = [(_values(trial, stage, one), _values(trial, stage, three)) for one, three in _counted(stage)]
    result = {}
    for part in ("lcls", "lbox", "lobj", "noobj"):
        now = found["base"][part]
        if abs(now) < 1e-12:
            continue
        count = _count_ratio([(one[part], three[part]) for one, three in counted], part)
        result[part] = Ratios(
            found["dup"][part] / now, found["pad"][part] / now, count, found["grid"][part] / now
        )
    return result


def _count_ratio(pairs: list[tuple[float, float]], part: str) -> float:
    """Of three slots to one, in each head; NaN where it was not measured, 0 where the heads differ."""
    if part not in ("lcls", "lobj"):
        return float("nan")
    ratios = [three / one for one, three in pairs if abs(one) > 1e-12]
    ratios = [ratio for ratio in ratios if math.isfinite(ratio)]
    if not ratios:
        return float("nan")
    return ratios[0] if max(ratios) - min(ratios) < 0.06 * max(ratios) else 0.0


def _counted(stage: Stage) -> list[tuple[Scene, Scene]]:
    """For each head one image with one truth, and one with three positive slots, apart and two of them in one
    cell. Every slot costs the same class and confidence loss."""
    found = []
    for k, head in enumerate(stage.heads):
        if head.grid_h < 3 or head.grid_w < 3:
            continue
        smallest = int(head.anchors.float().prod(1).argmin())
        low, right = max(head.grid_h - 2, 2), max(head.grid_w - 2, 2)
        slots = [(k, y, x, smallest) for y, x in ((1, 1), (1, right), (low, 1))]
        one = in_slots(stage, [slots[:1]])
        found.append((one, in_slots(stage, [slots])))
        if head.anchor_count > 1:
            found.append((one, _two_in_a_cell(stage, slots)))
    return found


def _two_in_a_cell(stage: Stage, slots: list[tuple[int, int, int, int]]) -> Scene:
    """Two anchors of one cell answer for one truth, a third slot stands apart: slots are counted, not
    cells."""
    k, y, x, a = slots[0]
    other = (a + 1) % stage.heads[k].anchor_count
    made = in_slots(stage, [[slots[0], (k, y, x, other), slots[2]]])
    target = made.assigned.targets[k][0, y, x]
    target[other] = target[a]
    return made


def _values(trial: Trial, stage: Stage, made: Scene) -> dict[str, float]:
    """Class logits 0, only th off by a constant, conf 0 on positives: every positive costs the same in every
    unit. ``noobj``: positives perfect, conf 0 on negatives."""
    run = Trial(trial.called, stage, made)
    preds = perfect(stage, made, sure=30.0)
    rows = flat(preds)
    positive = run.positive
    rows[~positive, 0] = SILENT
    rows[positive, 0] = 0.0
    rows[positive, 5:] = 0.0
    boxed = rows.clone()
    boxed[positive, 4] += 0.3
    exact = run.values(unflat(rows, preds))
    moved = run.values(unflat(boxed, preds))
    rows[positive, 0] = 30.0
    rows[~positive, 0] = SILENT
    quiet = run.values(unflat(rows, preds))
    rows[~positive, 0] = 0.0
    loud = run.values(unflat(rows, preds))
    return {
        "lcls": exact["lcls"],
        "lbox": moved["lbox"] - exact["lbox"],
        "lobj": exact["lobj"] - quiet["lobj"],
        "noobj": loud["lobj"] - quiet["lobj"],
    }


def _widened(stage: Stage) -> Stage:
    """Twice the columns over the same picture: truths and anchors twice as wide in cells."""
    heads = tuple(_wide(head) for head in stage.heads)
    return replace(stage, detector=replace(stage.detector, heads=heads))


def _wide(head: Head) -> Head:
    anchors = head.anchors.clone().float()
    anchors[:, 0] *= 2
    return replace(head, grid_w=head.grid_w * 2, anchors=anchors)


def judge_reduction(trial: Trial, declared: str | None, skip: set[str]) -> list[Finding]:
    """``declared``: the profile's reduction, None where the config's text does not set it; ``skip``: terms
    that are known to be wrong already."""
    measured = {
        n: r for n, r in measure(trial).items() if r.measured and {"noobj": "lobj"}.get(n, n) not in skip
    }
    possible = {name: ratios.kinds(dense=name == "noobj") for name, ratios in measured.items()}
    kinds = {name: each[0] for name, each in possible.items()}
    sums = [name for name, kind in kinds.items() if kind == "sum"]
    if sums:
        terms = list(dict.fromkeys("lobj" if n == "noobj" else n for n in sums))
        channels = tuple(c for c in ("conf", "x", "y", "w", "h", "class") if any(c in OWN[t] for t in terms))
        text = (
            f"{' '.join(terms)} double when every image stands twice in the batch: a sum that nothing divides"
        )
        return [
            _finding(
                text,
                channels,
                terms,
                "the same value for the same images twice",
                "twice the value",
                _fix(declared),
            )
        ]
    wanted = {
        "batch": {"lcls": "batch", "lbox": "batch", "lobj": "batch", "noobj": "batch"},
        "positives": {"lcls": "positives", "lbox": "positives", "lobj": "positives", "noobj": "positives"},
        "mean": {"lcls": "positives", "lbox": "positives", "lobj": "slots", "noobj": "slots"},
    }
    fits = [name for name, each in wanted.items() if all(each[part] in possible[part] for part in kinds)]
    if declared in fits or (declared is None and fits):
        return [] if declared is not None or "batch" in fits else [profile_seen("reduction", fits[0])]
    if declared is None and all(_natural(part, kind) for part, kind in kinds.items()):
        seen = profile_seen("reduction", ", ".join(f"{part} by {kind}" for part, kind in kinds.items()))
        # negatives by their own number are a habit of their own
        unlike = len({kind for part, kind in kinds.items() if part != "noobj"}) > 1
        return [replace(seen, severity="warning") if unlike else seen]
    against = wanted[declared or "batch"]
    wrong = [part for part in kinds if against[part] not in possible[part]]
    terms = list(dict.fromkeys("lobj" if part == "noobj" else part for part in wrong))
    channels = tuple(c for c in ("conf", "x", "y", "w", "h", "class") if any(c in OWN[t] for t in terms))
    parts = []
    for part in wrong:
        name = {"noobj": "the no-object part of lobj", "lobj": "the object part of lobj"}.get(part, part)
        parts.append(f"{name} {_said(kinds[part], measured[part])}")
    text = "; ".join(parts) + (f", where reduction = {declared!r} is declared" if declared else "")
    got = ", ".join(f"{part}: {measured[part].told}" for part in wrong)
    return [_finding(text, channels, terms, _expected(declared), got, _fix(declared))]


def _natural(part: str, kind: str) -> bool:
    """Undeclared: each part by one of the divisors that a profile can name."""
    return kind in ("batch", "positives") or (kind == "slots" and part in ("lobj", "noobj"))


def _said(kind: str, ratios: Ratios) -> str:
    if kind == "slots":
        return "is divided by the number of all slots"
    if kind in ("batch", "positives"):
        return f"is divided by the number of {'images' if kind == 'batch' else 'positives'}"
    if abs(ratios.dup - 0.5) < 0.05:
        return "is divided by the batch once too often"
    if abs(ratios.grid - 0.5) < 0.05:
        return "is divided by the number of cells"
    return "has a scale that changes with the data, the batch size or the grid"


def _expected(declared: str | None) -> str:
    return {
        "batch": "sums divided by the number of images",
        "positives": "every term divided by the number of positives",
        "mean": "box and class averaged over positives, confidence over all slots",
    }[declared or "batch"]


def _fix(declared: str | None) -> str:
    return {
        "batch": "term = sum / batch size",
        "positives": "term = sum / max(1, number of positives)",
        "mean": "lbox, lcls = sum / positives, lobj = sum / slots",
    }[declared or "batch"]


def _finding(
    text: str, channels: tuple[str, ...], terms: list[str], expected: str, got: str, fix: str
) -> Finding:
    return Finding(
        "error",
        "loss.reduction",
        "loss",
        text,
        channels=channels,
        expected=expected,
        got=got,
        fix=fix,
        term=terms[0],
    )


__all__ = ["Tensor", "judge_reduction", "measure"]
