"""YOLOv2's pull of negatives to their priors, where it is declared: its rest is the prior itself."""

from __future__ import annotations

import torch

from ..findings import Finding
from ..inputs import noise
from ..stage import BOX_NAMES
from .run import Trial, flat, unflat

RESTS = 0.2
"""Of the gradient one raw unit away: what may be left of it at the prior."""


def judge_pull(trial: Trial) -> list[Finding]:
    """tx, ty, tw, th = 0 decode to the middle of the cell and the size of the anchor: no gradient there, and
    one towards it from either side. A channel that is not pulled at all is let be."""
    if not trial.stage.detector.profile.prior_pull:
        return []
    wrong: list[str] = []
    for c, name in enumerate(BOX_NAMES, start=1):
        low, rest, high = (_gradient(trial, c, at) for at in (-1.0, 0.0, 1.0))
        if not bool((low != 0).any() or (high != 0).any()):
            continue
        inwards = bool(((low <= 0) & (high >= 0)).all())  # those that overlap a truth may be let be
        if not inwards or float(rest.abs().max()) > RESTS * float(torch.minimum(low.abs(), high.abs()).max()):
            wrong.append(name)
    if not wrong:
        return []
    return [
        Finding(
            "error",
            "loss.pull",
            "loss",
            f"lbox pulls {' '.join(wrong)} of negatives elsewhere than to their priors",
            channels=tuple(wrong),
            expected="at rest where the decoded box is the middle of its cell, of its anchor's size",
            got="a gradient there, or one that leads away from it",
            fix="compare sigmoid(tx), sigmoid(ty) with 0.5, and tw, th with 0",
            term="lbox",
        )
    ]


def _gradient(trial: Trial, channel: int, at: float) -> torch.Tensor:
    """``[N]``: of lbox by this channel on the negatives, the other box channels at their prior."""
    preds = noise(trial.stage, trial.scene.batch, 31, 0.1)
    rows = flat(preds)
    negative = ~trial.positive
    rows[negative, 1:5] = 0.0
    rows[negative, channel] = at
    return trial.grads(unflat(rows, preds), ["lbox"])["lbox"][negative, channel]
