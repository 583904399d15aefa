"""What AP at IoU 0.5 is lost to, by kind of error: TIDE (Bolya et al. 2020, arXiv 2008.08115).

Each detection that is wrong is so in one way, and the cost of a kind is what AP would gain if an oracle
mended all errors of that kind and nothing else:

- ``classification``: on a truth of another class. Mended: it gets that class.
- ``localization``: its class's truth is met with an overlap of 0.1 to 0.5. Mended: it lies on it.
- ``both``: met so, and of another class. Mended: gone.
- ``duplicate``: on a truth that a stronger one has found. Mended: gone.
- ``background``: meets no truth (an overlap of at most 0.1). Mended: gone.
- ``missed``: a truth that nothing found and no mended class or place would find. Mended: not counted.

Where several would be right of one truth once mended, the strongest is and the others are gone. Costs do not
add up: mending one kind changes what the others cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from .evaluate_coco import CocoImage, corners
from .evaluate_voc import pairwise_iou

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

KINDS = ("classification", "localization", "both", "duplicate", "background", "missed")
CLASSIFICATION, LOCALIZATION, BOTH, DUPLICATE, BACKGROUND, MISSED = range(6)
RIGHT, NEUTRAL = -1, -2

FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.1
MOST = 100
"""Detections an image and class, as in COCO's AP."""
SURE = 0.5
"""Score from which a detection on nothing is worth a look at the labels."""
SHOWN = 5


@dataclass(frozen=True)
class ErrorCosts:
    """AP at IoU 0.5 (COCO's, 101 points) that each kind of error costs, by ``KINDS``."""

    mean: dict[str, float]
    """Of the mean over classes."""
    per_class: dict[str, dict[str, float]]
    unlabelled: dict[str, int]
    """Images with the most detections scored ``sure`` and above where nothing is labelled, most first: a
    detector's errors, or the labels'."""
    sure: float = SURE


@dataclass(frozen=True, eq=False)
class _Judged:
    """One image's detections, strongest first, or those of all images."""

    labels: Ints
    scores: Floats
    kind: Ints
    """Of ``KINDS``, ``RIGHT`` or ``NEUTRAL`` (on a crowd or a difficult truth)."""
    mended_label: Ints
    """The label under which it would be right if its kind were mended; -1: it would be gone."""
    missed: Ints
    """``[M]`` labels of missed truths."""


def error_costs(images: Sequence[CocoImage], names: Sequence[str], classes: Sequence[str]) -> ErrorCosts:
    """``names``: one an image. A class without a truth costs and gains nothing."""
    parts = [_judge(image) for image in images]
    judged = _together([*parts, _judge(_EMPTY)])
    counted = [image.truth_labels[~(image.crowd | image.difficult)] for image in images]
    positives = np.bincount(np.concatenate([*counted, _NONE]), minlength=len(classes))
    before = _ap_of_classes(
        judged.labels, judged.scores, judged.kind == RIGHT, judged.kind != NEUTRAL, positives
    )
    gains = np.stack([_gain(judged, kind, positives, before) for kind in range(len(KINDS))], axis=1)
    present = positives > 0
    mean = gains[present].mean(axis=0) if present.any() else np.zeros(len(KINDS))
    rows = {name: _by_kind(gains[k]) for k, name in enumerate(classes) if present[k]}
    return ErrorCosts(_by_kind(mean), rows, _unlabelled(parts, names))


def _judge(image: CocoImage) -> _Judged:
    order = np.argsort(-image.scores, kind="stable")
    order = order[_rank_in_class(image.labels[order]) < MOST]
    boxes, labels, scores = corners(image.boxes[order]), image.labels[order], image.scores[order]
    counted = ~(image.crowd | image.difficult)
    truths, truth_labels = corners(image.truths[counted]), image.truth_labels[counted]
    # a last column for "no truth", so that a maximum is always there
    overlap = np.concatenate((pairwise_iou(boxes, truths), np.full((len(boxes), 1), -1.0)), axis=1)
    same = labels[:, None] == np.concatenate((truth_labels, [-1]))
    own, other = np.where(same, overlap, -1), np.where(same, -1, overlap)

    found_by = _matches(own)
    taken = found_by >= 0
    right = np.zeros(len(boxes), np.bool_)
    right[found_by[taken]] = True
    kind = np.select(
        [
            right,
            _on_ignored(image, boxes, labels),
            (own.max(1) >= BACKGROUND_IOU) & (own.max(1) < FOREGROUND_IOU),
            other.max(1) >= FOREGROUND_IOU,
            own.max(1) >= FOREGROUND_IOU,
            overlap.max(1) <= BACKGROUND_IOU,
        ],
        [RIGHT, NEUTRAL, LOCALIZATION, CLASSIFICATION, DUPLICATE, BACKGROUND],
        BOTH,
    )
    meant = np.select([kind == LOCALIZATION, kind == CLASSIFICATION], [own.argmax(1), other.argmax(1)], -1)
    able = np.flatnonzero((meant >= 0) & ~taken[meant])
    truth, first = np.unique(meant[able], return_index=True)
    mended_label = np.full(len(boxes), -1)
    mended_label[able[first]] = truth_labels[truth]
    missed = ~taken[:-1]
    missed[truth] = False
    return _Judged(labels, scores, kind, mended_label, truth_labels[missed])


def _matches(own: Floats) -> Ints:
    """For each column of overlaps, rows strongest first, the row that finds it or -1: each takes, of those
    still free, the one it overlaps most."""
    free = own.copy()
    found_by = np.full(own.shape[1], -1)
    for row in np.flatnonzero(own.max(1) >= FOREGROUND_IOU):
        column = free[row].argmax()
        if free[row, column] >= FOREGROUND_IOU:
            found_by[column] = row
            free[:, column] = -1
    return found_by


def _on_ignored(image: CocoImage, boxes: Floats, labels: Ints) -> Bools:
    """Those that fall to a crowd, by the share of their own area, or to a difficult truth, by IoU."""
    area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), np.finfo(np.float64).tiny)
    ignored = np.zeros(len(boxes), np.bool_)
    for place in np.flatnonzero(image.crowd | image.difficult):
        truth = corners(image.truths[place : place + 1])
        if image.crowd[place]:
            low, high = np.maximum(boxes[:, :2], truth[:, :2]), np.minimum(boxes[:, 2:], truth[:, 2:])
            covered = np.clip(high - low, 0, None).prod(1) / area
        else:
            covered = pairwise_iou(boxes, truth)[:, 0]
        ignored |= (covered >= FOREGROUND_IOU) & (labels == image.truth_labels[place])
    return ignored


def _gain(judged: _Judged, kind: int, positives: Ints, before: Floats) -> Floats:
    """``[classes]``: by how much AP rises where one kind is mended; where it would fall, by nothing."""
    labels, right, stays = judged.labels, judged.kind == RIGHT, judged.kind != NEUTRAL
    if kind == MISSED:
        positives = positives - np.bincount(judged.missed, minlength=len(positives))
    else:
        mended = (judged.kind == kind) & (judged.mended_label >= 0)
        labels = np.where(mended, judged.mended_label, labels)
        right = right | mended
        stays = stays & ((judged.kind != kind) | mended)
    return np.maximum(_ap_of_classes(labels, judged.scores, right, stays, positives) - before, 0)


def _ap_of_classes(labels: Ints, scores: Floats, right: Bools, stays: Bools, positives: Ints) -> Floats:
    """COCO's AP at one overlap, 101 points. Where nothing is to be found: 1 if nothing was, else 0."""
    order = np.argsort(-scores, kind="stable")
    order = order[stays[order]]
    labels, right = labels[order], right[order]
    marks = np.linspace(0, 1, 101)
    aps = np.zeros(len(positives))
    for label, count in enumerate(positives.tolist()):
        hits = right[labels == label]
        if count == 0:
            aps[label] = float(not len(hits))
            continue
        recall = np.cumsum(hits) / count
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        aps[label] = envelope[np.searchsorted(recall, marks, side="left")].mean()
    return aps


def _unlabelled(parts: Sequence[_Judged], names: Sequence[str]) -> dict[str, int]:
    counts = [int(((part.kind == BACKGROUND) & (part.scores >= SURE)).sum()) for part in parts]
    worst = sorted(zip(counts, names, strict=True), key=lambda pair: -pair[0])[:SHOWN]
    return {name: count for count, name in worst if count}


def _together(parts: Sequence[_Judged]) -> _Judged:
    joined = {field.name: [getattr(part, field.name) for part in parts] for field in fields(_Judged)}
    return _Judged(**{name: np.concatenate(values) for name, values in joined.items()})


def _rank_in_class(labels: Ints) -> Ints:
    """How many of its class come before each."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order], side="left")
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - starts
    return rank


def _by_kind(values: Floats) -> dict[str, float]:
    return {name: float(value) for name, value in zip(KINDS, values, strict=True)}


_NOWHERE, _NONE = np.zeros((0, 4)), np.zeros(0, np.int64)
_EMPTY = CocoImage(_NOWHERE, _NONE, np.zeros(0), _NONE > 0, _NONE > 0, _NOWHERE, _NONE, np.zeros(0))
