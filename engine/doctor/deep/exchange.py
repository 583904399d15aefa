"""One of the user's functions at a time given up for the reference: does the whole work then?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from ...boxes import iou as corner_iou
from ...boxes import to_xyxy
from ...yolo.detector import Detector
from ..calling import Called, swapped
from ..inputs import Scene
from ..stage import Stage, references

ENOUGH = 0.7
"""Recall at IoU 0.5 of a batch learnt by heart."""


@contextmanager
def exchanged(called: Called, stage: Stage, names: Sequence[str] = ()) -> Iterator[Detector]:
    """The stage's detector with the user's functions, but for these: there the reference stands, also for
    those of the user's functions that call them by name."""
    kept = {name: f for name, f in called.user.functions.items() if name not in names}
    inside = {name: f for name, f in references(stage).items() if name in names}
    with swapped(called.user, inside):
        yield replace(stage.detector, user=replace(called.user, functions=kept))


def recall(stage: Stage, made: Scene, found: Sequence[Tensor]) -> float:
    """Share of the scene's truths that are found, in their class, at IoU 0.5. ``found``: ``[M, 6]`` an image,
    in pixels of the input."""
    width, height = stage.input_wh
    hit = count = 0
    for boxes, labels, rows in zip(made.boxes, made.labels, found, strict=True):
        corners = to_xyxy(boxes) * torch.tensor([width, height, width, height], dtype=torch.float32)
        for box, label in zip(corners, labels.tolist(), strict=True):
            same = rows[rows[:, 5].long() == label][:, :4] if len(rows) else torch.zeros(0, 4)
            hit += bool(len(same)) and float(corner_iou(same.float().cpu(), box).max()) >= 0.5
            count += 1
    return hit / max(1, count)


def sizes(stage: Stage, made: Scene) -> list[tuple[int, int]]:
    """(height, width) of the scene's pictures: those of the input."""
    width, height = stage.input_wh
    return [(height, width)] * made.batch
