"""Every positive slot is trained: none is left out by a mask that is taken from somewhere else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..findings import Finding
from ..inputs import Scene, every_anchor, given, noise, scene
from ..stage import Stage, columns
from .run import OWN, Trial, near

SEEDS = (1, 2, 3)
OVERLAPS = 0.1
"""Below this IoU a box may be without a gradient where lbox is 1 - IoU."""


def judge_positives(trial: Trial, skip: set[str]) -> list[Finding]:
    """``skip``: terms known to be wrong already."""
    trial = Trial(trial.called, trial.stage, _varied(trial.stage))
    terms = [t for t in ("lcls", "lbox", "lobj") if t not in skip]
    if trial.stage.classes == 1 and "lcls" in terms:
        terms.remove("lcls")
    found: dict[str, tuple[Tensor, Tensor]] = {}
    near_truth = _overlapping(trial)
    for term, sizes in _sizes(trial, terms, trial.scene.targets).items():
        left, kept = (sizes == 0) & near_truth, sizes > 0
        if bool(left.any()) and bool(kept.any()):
            found[term] = left, kept
    everywhere = len(found) == len(terms)
    return [
        _finding(trial, term, *each, alone=not everywhere and not _shared(found, term))
        for term, each in found.items()
    ]


def _shared(found: dict[str, tuple[Tensor, Tensor]], term: str) -> bool:
    """Whether another term leaves out the very same slots (conf has the no-object part's gradient there)."""
    return any(torch.equal(left, found[term][0]) for other, (left, _) in found.items() if other != term)


def _varied(stage: Stage) -> Scene:
    """The first and the last class, a truth of most of the picture, one of half a cell, one of each
    anchor."""
    base = scene(stage, [2, 2], seed=61)
    head = stage.heads[-1]
    centre = [(head.grid_w // 2 + 0.4) / head.grid_w, (head.grid_h // 2 + 0.55) / head.grid_h]
    each = every_anchor(stage)
    large = torch.tensor([[*centre, 0.8, 0.75]])
    tiny = torch.tensor([[*centre, 0.5 / head.grid_w, 0.6 / head.grid_h]])
    last = stage.classes - 1
    labels = [[0, last], [last // 2, 0], [last], [0]]
    boxes = [*base.boxes, large, tiny]
    ids = [torch.tensor(own[: len(b)]) for own, b in zip(labels, boxes, strict=True)]
    return given(stage, [*boxes, *each.boxes], [*ids, *each.labels])


def _sizes(trial: Trial, terms: Sequence[str], targets: Sequence[Tensor]) -> dict[str, Tensor]:
    """``[P]`` a term: its largest gradient on its own channels of each positive."""
    largest = {term: torch.zeros(int(trial.positive.sum())) for term in terms}
    tried = [(near(trial, seed), terms) for seed in SEEDS]
    # of boxes that lie anywhere too: a good box may be why a positive is left out
    tried.append((noise(trial.stage, trial.scene.batch, 5), [term for term in terms if term != "lbox"]))
    for preds, asked in tried:
        for term, moved in trial.grads(preds, asked, targets).items():
            own = torch.cat([moved[trial.positive][:, columns(group)] for group in OWN[term]], 1)
            largest[term] = torch.maximum(largest[term], own.abs().amax(1))
    return largest


def _overlapping(trial: Trial) -> Tensor:
    """``[P]``: whether the box overlaps its truth in any of the predictions."""
    each = [trial.overlaps(near(trial, seed))[trial.positive] > OVERLAPS for seed in SEEDS]
    return torch.stack(each).any(0)


def _finding(trial: Trial, term: str, left: Tensor, kept: Tensor, alone: bool) -> Finding:
    """``alone``: other terms train these slots, so the mask itself is right."""
    decided = _decided_by(trial, term, left, kept)
    text = f"{term} leaves out {int(left.sum())} of {len(left)} positive slots"
    if decided:
        text += f": targets' {' '.join(decided)} decides about it, not the mask"
    slots = trial.positive.nonzero()[:, 0]
    names = ("mask", *decided)
    channels = tuple(n for n in trial.stage.layout.target if n in names)
    own = alone and not decided
    return Finding(
        "error",
        "loss.positives",
        "loss",
        text,
        tensor="pred" if own else "targets",
        channels=OWN[term] if own else channels,
        expected=f"a gradient on {' '.join(OWN[term])} of every slot whose mask is set",
        got="gradient 0",
        fix=f"positives are where {trial.stage.raw(['mask'], 'targets')} > 0",
        cell=trial.cell(int(slots[int(left.nonzero()[0])])),
        term="positives",
    )


def _decided_by(trial: Trial, term: str, left: Tensor, kept: Tensor) -> tuple[str, ...]:
    """Channels that bring a slot back when they are set to what a slot that was not left out has there."""
    flat = torch.cat([t.reshape(-1, t.shape[-1]) for t in trial.scene.targets])[trial.positive]
    found = []
    # not x and y: those of another slot would lie outside this one's cell
    for name, place in (("class", 1), ("w", 4), ("h", 5), ("weight", 6)):
        if name not in trial.stage.layout.target:
            continue
        donor = flat[kept][:, place]
        for value in (float(donor.max()), float(donor.min())):
            targets, first = [], 0
            for target in trial.scene.targets:
                rows = target[target[..., 0] > 0]
                mine = left[first : first + len(rows)]
                first += len(rows)
                rows[mine, place] = value
                changed = target.clone()
                changed[target[..., 0] > 0] = rows
                targets.append(changed)
            if bool((_sizes(trial, [term], targets)[term][left] > 0).all()):
                found.append(name)
                break
    return tuple(found)
