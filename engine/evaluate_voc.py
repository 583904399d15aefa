"""Average precision as PASCAL VOC's development kit defines it (Everingham et al. 2010, section 4.2).

Detections of a class are taken strongest first. Each one looks for the truth of its class with which it
overlaps most in its image; at an IoU of at least the threshold it is right the first time and wrong every
further time; where that truth is ``difficult`` the detection counts neither way. Difficult truths are not
counted as missed either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ImageBoxes:
    """One image's truths and detections, boxes ``[N, 4]`` as x1, y1, x2, y2 in pixels."""

    truths: Floats
    truth_labels: Ints
    ignored: Bools
    """``[N]``: truths that count neither as found nor as missed."""
    boxes: Floats
    labels: Ints
    scores: Floats


@dataclass(frozen=True, eq=False)
class Curve:
    """One class: precision and recall after each of its detections, strongest first.

    Detections that count neither way keep their place, as in the development kit. NaN where nothing has
    counted yet, and recall is NaN throughout where there is no truth to be found.
    """

    precision: Floats
    recall: Floats
    positives: int
    """Truths that count."""


def voc_curves(
    images: Sequence[ImageBoxes], classes: int, iou: float = 0.5, plus_one: bool = False
) -> list[Curve]:
    """A curve a class.

    ``plus_one``: boxes hold the indices of their first and last pixel, so a width is ``x2 - x1 + 1``: the
    development kit's convention for its own files. Boxes with continuous corners (all of this project's)
    have none to add. Equal scores keep the order of ``images``.
    """
    parts = [_matches(image, plus_one) for image in images]
    offsets = np.cumsum([0, *(len(image.truths) for image in images)])
    best = np.concatenate(
        [found + offset for (found, _), offset in zip(parts, offsets, strict=False)] or [_NONE]
    )
    overlap = np.concatenate([value for _, value in parts] or [_NO_FLOATS])
    labels = np.concatenate([image.labels for image in images] or [_NONE])
    scores = np.concatenate([image.scores for image in images] or [_NO_FLOATS])
    truth_labels = np.concatenate([image.truth_labels for image in images] or [_NONE])
    ignored = np.concatenate([image.ignored for image in images] or [np.zeros(0, np.bool_)])

    order = np.argsort(-scores, kind="stable")
    best, overlap, labels = best[order], overlap[order], labels[order]
    matched = overlap >= iou
    neutral = np.zeros(len(best), np.bool_)
    neutral[matched] = ignored[best[matched]]
    right = np.zeros(len(best), np.bool_)
    candidates = np.flatnonzero(matched & ~neutral)
    # The first, so the strongest, of those that chose the same truth.
    right[candidates[np.unique(best[candidates], return_index=True)[1]]] = True

    curves = []
    for label in range(classes):
        mine = labels == label
        hits = np.cumsum(right[mine]).astype(np.float64)
        misses = np.cumsum(~right[mine] & ~neutral[mine])
        positives = int(np.sum((truth_labels == label) & ~ignored))
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = hits / (hits + misses)
            recall = hits / positives if positives else np.full(len(hits), np.nan)
        curves.append(Curve(precision, recall, positives))
    return curves


def area_under(curve: Curve) -> float:
    """AP over all points: the area under precision made monotonous (VOC 2010 and later).

    NaN for a class without a truth that counts.
    """
    if curve.positives == 0:
        return float("nan")
    recall = np.concatenate(([0.0], curve.recall, [1.0]))
    precision = np.concatenate(([0.0], np.nan_to_num(curve.precision), [0.0]))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))


def eleven_points(curve: Curve) -> float:
    """AP as the mean of the best precision at recall 0, 0.1 ... 1 or above (VOC 2007).

    NaN for a class without a truth that counts.
    """
    if curve.positives == 0:
        return float("nan")
    precision = np.nan_to_num(curve.precision)
    # The development kit's own marks, its rounding included: 3 * 0.1 is a little above 0.3.
    marks = np.arange(0, 1.1, 0.1)
    return float(np.mean([np.max(precision[curve.recall >= mark], initial=0.0) for mark in marks]))


_NONE = np.zeros(0, np.int64)
_NO_FLOATS = np.zeros(0, np.float64)


def _matches(image: ImageBoxes, plus_one: bool) -> tuple[Ints, Floats]:
    """For each detection the truth of its class it overlaps most, and by how much (-1: there is none)."""
    count = len(image.boxes)
    if len(image.truths) == 0 or count == 0:
        return np.zeros(count, np.int64), np.full(count, -1.0)
    overlaps = pairwise_iou(image.boxes, image.truths, 1.0 if plus_one else 0.0)
    overlaps[image.labels[:, None] != image.truth_labels[None, :]] = -1
    best = overlaps.argmax(axis=1).astype(np.int64)
    return best, overlaps[np.arange(count), best]


def pairwise_iou(a: Floats, b: Floats, added: float = 0.0) -> Floats:
    """``[N, 4], [M, 4]`` x1, y1, x2, y2 -> ``[N, M]``; ``added`` to every width and height."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(high - low + added, 0, None).prod(-1)
    area_a = (a[:, 2:] - a[:, :2] + added).prod(-1)
    area_b = (b[:, 2:] - b[:, :2] + added).prod(-1)
    union = area_a[:, None] + area_b[None, :] - common
    return np.where(union > 0, common / np.where(union > 0, union, 1), 0.0)
