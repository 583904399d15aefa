"""The truths of both splits: one object marked twice, objects below a cell, slots that two truths want."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...boxes import shape_iou
from ...data.audit import double_pairs
from ...data.fitted import fitted_sizes
from ...data.sample import Dataset
from ...layout import Head
from ...letterbox import Letterbox
from ..findings import Finding

CROWDED = 0.1
"""Share of contested truths from which a warning is due; of those that a slot for one of them loses, too."""


@dataclass(frozen=True)
class Contest:
    """``contested`` of ``truths`` want a slot (cell, best anchor) that another truth of the image wants;
    ``lost``: those left without one where a slot keeps one of them and the others get no other."""

    contested: int = 0
    truths: int = 0
    lost: int = 0

    @property
    def share(self) -> float:
        return self.contested / self.truths if self.truths else 0.0


def doubles(datasets: Sequence[Dataset]) -> list[Finding]:
    found = []
    for dataset in datasets:
        cases = [(s, pair) for s in dataset.samples for pair in double_pairs(s)]
        if not cases:
            continue
        sample, (first, second, overlap) = cases[0]
        box = sample.boxes[first].round().astype(int).tolist()
        found.append(
            Finding(
                "warning",
                "data.doubles",
                "data",
                f"{dataset.name}: {len(cases)} objects are marked twice",
                tensor="boxes",
                channels=("x", "y", "w", "h"),
                expected="one box an object",
                got=f"{sample.path.name}: {dataset.classes[sample.labels[first]]} at {box}, "
                f"rows {first} and {second}, IoU {overlap:.2f}",
                fix="remove one of each pair; `yolotui data check` lists every case",
                file=str(sample.path),
            )
        )
    return found


def small(train: Dataset, heads: Sequence[Head], stretch: bool) -> list[Finding]:
    stride = min(head.stride for head in heads)
    sizes = fitted_sizes(train, (heads[0].input_w, heads[0].input_h), stretch)
    count = int((sizes < stride).all(axis=1).sum())
    if not count:
        return []
    return [
        Finding(
            "info",
            "data.small",
            "data",
            f"{count} of {len(sizes)} objects of {train.name} ({count / len(sizes):.1%}) are smaller than "
            f"a cell of {stride} px in the network's input",
            tensor="boxes",
            channels=("w", "h"),
            expected="objects of about a cell or more",
            got=f"the median object is {np.median(sizes[:, 0]):.0f}x{np.median(sizes[:, 1]):.0f} px",
            fix="a larger model.input_size, or a network with a finer head",
        )
    ]


def contest(train: Dataset, heads: Sequence[Head], stretch: bool) -> Contest:
    """Counted on the letterboxed (``stretch``: stretched) pictures, before augmentation; crowds and difficult
    ones left out."""
    width, height = heads[0].input_w, heads[0].input_h
    rows: list[NDArray[np.float64]] = []
    for number, sample in enumerate(train.samples):
        boxes = sample.boxes[~(sample.crowd | sample.difficult)]
        if len(boxes) < 1:
            continue
        box = Letterbox.fit((sample.width, sample.height), (width, height), stretch)
        placed = box.boxes_to_input(boxes)
        centre, size = (placed[:, :2] + placed[:, 2:]) / 2, placed[:, 2:] - placed[:, :2]
        rows.append(np.concatenate((np.full((len(boxes), 1), number), centre, size), axis=1))
    if not rows:
        return Contest()
    image, x, y, w, h = np.concatenate(rows).T
    anchors = torch.cat([head.anchors.float().cpu() * head.stride for head in heads])
    best = shape_iou(torch.tensor(np.stack((w, h), 1), dtype=torch.float32), anchors).argmax(1).numpy()
    stride = np.concatenate([np.full(head.anchor_count, head.stride) for head in heads])[best]
    column = np.minimum(x // stride, width // stride - 1)
    row = np.minimum(y // stride, height // stride - 1)
    _, place, counts = np.unique(
        np.stack((image, best, row, column), 1), axis=0, return_inverse=True, return_counts=True
    )
    return Contest(int((counts[place.ravel()] > 1).sum()), len(image), int((counts - 1).sum()))


def crowded(train: Dataset, found: Contest) -> list[Finding]:
    if not found.contested:
        return []
    return [
        Finding(
            "warning" if found.share > CROWDED else "info",
            "data.contested",
            "data",
            f"{found.contested} of {found.truths} objects of {train.name} ({found.share:.1%}) want a slot "
            "(cell and best anchor) that another object of the picture wants",
            tensor="targets",
            channels=("mask",),
            expected=f"next to none: at most {CROWDED:.0%}",
            got=f"{found.share:.1%}",
            fix="a larger model.input_size, a finer head, more anchors of different shapes, or "
            'model.assign = "multi"',
        )
    ]
