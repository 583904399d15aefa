"""Anchors fitted to a data set: k-means under the IoU distance (Redmon & Farhadi 2017, section 2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UserError
from .fitted import fitted_sizes
from .sample import Dataset, Ints

Sizes = NDArray[np.float64]

RESTARTS = 10
MOST_SIZES = 10_000
"""More objects than this change the third digit of an anchor at most; a random part of them is used."""


def fit_anchors(
    dataset: Dataset, input_wh: tuple[int, int], count: int, seed: int = 0, stretch: bool = False
) -> Sizes:
    """``[count, 2]`` widths and heights in input pixels, smallest area first.

    Every object's size is scaled through the letterbox first (``stretch``: with the picture's sides). Objects
    weigh 1 / sqrt(their class's count): the mean of AP counts each class alike, and unweighted k-means spends
    every anchor on the commonest class (on BCCD three anchors leave out the white cells, one object in
    thirteen and a third of the score).
    Raises ``UserError`` where the split has no objects.
    """
    sizes, labels = fitted_sizes(dataset, input_wh, stretch), _labels(dataset)
    if not len(sizes):
        raise UserError(
            f"split {dataset.name!r} has no objects to fit anchors to",
            where="model.anchors",
            fix="list the anchors, or train on a split with objects",
        )
    rng = np.random.default_rng(seed)
    if len(sizes) > MOST_SIZES:
        some = rng.choice(len(sizes), MOST_SIZES, replace=False)
        sizes, labels = sizes[some], labels[some]
    weights = 1 / np.sqrt(np.bincount(labels)[labels])
    tries = [_refined(sizes, weights, _spread_out(sizes, weights, count, rng)) for _ in range(RESTARTS)]
    best = max(tries, key=lambda anchors: float(weights @ _shape_iou(sizes, anchors).max(axis=1)))
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
    common: Sizes = np.minimum(sizes[:, None], anchors[None]).prod(axis=2)
    overlap: Sizes = common / (sizes.prod(axis=1)[:, None] + anchors.prod(axis=1)[None] - common)
    return overlap


def _parts(sizes: Sizes, rows: int = 100_000) -> Sequence[Sizes]:
    return [sizes[start : start + rows] for start in range(0, len(sizes), rows)]


def _spread_out(sizes: Sizes, weights: Sizes, count: int, rng: np.random.Generator) -> Sizes:
    """k-means++ (Arthur & Vassilvitskii 2007): far sizes are likelier to be the next start."""
    chosen = [sizes[rng.integers(len(sizes))]]
    while len(chosen) < count:
        distance = weights * (1 - _shape_iou(sizes, np.array(chosen)).max(axis=1)).clip(0) ** 2
        if distance.sum() > 1e-12:
            chosen.append(sizes[rng.choice(len(sizes), p=distance / distance.sum())])
        else:  # fewer different sizes than anchors: neighbours of those there are
            chosen.append(sizes[rng.integers(len(sizes))] * rng.uniform(0.7, 1.4))
    return np.array(chosen)


def _refined(sizes: Sizes, weights: Sizes, anchors: Sizes, rounds: int = 100) -> Sizes:
    """Lloyd's rounds. The median of a cluster is nearer in IoU than its mean, which large boxes pull up."""
    owner = np.full(len(sizes), -1)
    for _ in range(rounds):
        nearest = _shape_iou(sizes, anchors).argmax(axis=1)
        if (nearest == owner).all():
            break
        owner = nearest
        groups = [owner == row for row in range(len(anchors))]
        anchors = np.array(
            [
                _median(sizes[group], weights[group]) if group.any() else anchor
                for group, anchor in zip(groups, anchors, strict=True)
            ]
        )
    return anchors


def _median(sizes: Sizes, weights: Sizes) -> Sizes:
    """The weighted median of each column of ``[N, 2]``."""
    columns = []
    for column in sizes.T:
        order = np.argsort(column, kind="stable")
        passed = np.cumsum(weights[order])
        columns.append(column[order[np.searchsorted(passed, passed[-1] / 2)]])
    return np.array(columns)


def _labels(dataset: Dataset) -> Ints:
    """The classes of the objects of ``fitted_sizes``, in its order."""
    labels = [sample.labels[~(sample.crowd | sample.difficult)] for sample in dataset.samples]
    return np.concatenate([np.zeros(0, np.int64), *labels])
