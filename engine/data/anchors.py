"""Anchors fitted to a data set: k-means under the IoU distance (Redmon & Farhadi 2017, section 2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UserError
from .fitted import fitted_sizes
from .sample import Dataset

Sizes = NDArray[np.float64]

RESTARTS = 10
MOST_SIZES = 10_000
"""More objects than this change the third digit of an anchor at most; a random part of them is used."""


def fit_anchors(dataset: Dataset, input_wh: tuple[int, int], count: int, seed: int = 0) -> Sizes:
    """``[count, 2]`` widths and heights in input pixels, smallest area first.

    Every object's size is scaled through the letterbox first. Raises ``UserError`` where the split has no
    objects.
    """
    sizes = fitted_sizes(dataset, input_wh)
    if not len(sizes):
        raise UserError(
            f"split {dataset.name!r} has no objects to fit anchors to",
            where="model.anchors",
            fix="list the anchors, or train on a split with objects",
        )
    rng = np.random.default_rng(seed)
    if len(sizes) > MOST_SIZES:
        sizes = sizes[rng.choice(len(sizes), MOST_SIZES, replace=False)]
    tries = [_refined(sizes, _spread_out(sizes, count, rng)) for _ in range(RESTARTS)]
    best = max(tries, key=lambda anchors: best_possible_recall(sizes, anchors)[1])
    return best[np.argsort(best.prod(axis=1), kind="stable")]


def best_possible_recall(sizes: ArrayLike, anchors: ArrayLike) -> tuple[float, float]:
    """Share of sizes ``[N, 2]`` that some anchor ``[A, 2]`` meets at IoU 0.5 or more, and the mean best IoU.

    Both laid on one centre, in the same unit. (0, 0) where there is nothing to meet.
    """
    truths = np.asarray(sizes, np.float64).reshape(-1, 2)
    priors = np.asarray(anchors, np.float64).reshape(-1, 2)
    if not len(truths) or not len(priors):
        return 0.0, 0.0
    best = np.concatenate([_shape_iou(part, priors).max(axis=1) for part in _parts(truths)])
    return float((best >= 0.5).mean()), float(best.mean())


def _shape_iou(sizes: Sizes, anchors: Sizes) -> Sizes:
    """``[N, 2], [A, 2] -> [N, A]``."""
    common = np.minimum(sizes[:, None], anchors[None]).prod(axis=2)
    return common / (sizes.prod(axis=1)[:, None] + anchors.prod(axis=1)[None] - common)


def _parts(sizes: Sizes, rows: int = 100_000) -> Sequence[Sizes]:
    return [sizes[start : start + rows] for start in range(0, len(sizes), rows)]


def _spread_out(sizes: Sizes, count: int, rng: np.random.Generator) -> Sizes:
    """k-means++ (Arthur & Vassilvitskii 2007): far sizes are likelier to be the next start."""
    chosen = [sizes[rng.integers(len(sizes))]]
    while len(chosen) < count:
        distance = (1 - _shape_iou(sizes, np.array(chosen)).max(axis=1)).clip(0) ** 2
        if distance.sum() > 1e-12:
            chosen.append(sizes[rng.choice(len(sizes), p=distance / distance.sum())])
        else:  # fewer different sizes than anchors: neighbours of those there are
            chosen.append(sizes[rng.integers(len(sizes))] * rng.uniform(0.7, 1.4))
    return np.array(chosen)


def _refined(sizes: Sizes, anchors: Sizes, rounds: int = 100) -> Sizes:
    """Lloyd's rounds. The median of a cluster is nearer in IoU than its mean, which large boxes pull up."""
    owner = np.full(len(sizes), -1)
    for _ in range(rounds):
        nearest = _shape_iou(sizes, anchors).argmax(axis=1)
        if (nearest == owner).all():
            break
        owner = nearest
        members = [sizes[owner == row] for row in range(len(anchors))]
        anchors = np.array(
            [
                np.median(group, axis=0) if len(group) else anchor
                for group, anchor in zip(members, anchors, strict=True)
            ]
        )
    return anchors
