"""Errors of two channels that cancel each other: lbox least along a whole line through the truth, which no
channel moved alone can show."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from ..findings import Finding
from ..inputs import perfect
from ..stage import BOX_NAMES
from .run import Trial, flat, unflat

STEP = 0.1
"""In raw units."""
COUPLED = 0.5
"""Of the two channels' own curvature: below it a pair cannot cancel."""
FREE = 0.05
"""Share of what the channels cost apart, below which a move of both costs nothing."""


def judge_cancelling(trial: Trial) -> list[Finding]:
    """The line along which a pair might cancel is read off the gradients; then it is gone."""
    curves = [_curvature(trial, c) for c in range(1, 5)]
    truth = _cost(trial, torch.zeros(len(curves[0]), 4))
    for a, b in combinations(range(4), 2):
        own_a, own_b, both = curves[a][:, a], curves[b][:, b], curves[a][:, b]
        if not bool((both.abs() > COUPLED * (own_a * own_b).clamp(min=0).sqrt()).all()):
            continue
        line = torch.zeros(len(both), 4)
        line[:, a], line[:, b] = -both, own_a
        line = STEP * line / line.norm(dim=1, keepdim=True).clamp(min=1e-12)
        alone = [_cost(trial, line * torch.eye(4)[c]) - truth for c in (a, b)]
        together = _cost(trial, line) - truth
        if together < FREE * sum(alone):
            names = (BOX_NAMES[a], BOX_NAMES[b])
            return [_finding(trial, names, together, sum(alone))]
    return []


def _curvature(trial: Trial, channel: int) -> Tensor:
    """``[P, 4]``: by how much lbox's gradient changes between either side of the truth."""
    either = []
    for step in (STEP, -STEP):
        preds = perfect(trial.stage, trial.scene, sure=2.0)
        rows = flat(preds)
        rows[trial.positive, channel] += step
        either.append(trial.grads(unflat(rows, preds), ["lbox"])["lbox"][trial.positive, 1:5])
    return (either[0] - either[1]) / 2


def _cost(trial: Trial, moved: Tensor) -> float:
    preds = perfect(trial.stage, trial.scene, sure=2.0)
    rows = flat(preds)
    rows[trial.positive, 1:5] += moved
    return trial.values(unflat(rows, preds))["lbox"]


def _finding(trial: Trial, names: tuple[str, str], together: float, alone: float) -> Finding:
    return Finding(
        "error",
        "loss.minimum",
        "loss",
        f"errors of {names[0]} and {names[1]} cancel in lbox: moved together, they cost next to nothing",
        channels=names,
        expected=f"about {alone:.3g}, what the two cost apart",
        got=f"{together:.3g}",
        fix=f"square each channel's difference, then sum: {trial.stage.raw(BOX_NAMES)}",
        term="lbox",
    )
