"""Batches that come twice: what workers with one random seed, or a list not shared out, give a loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..findings import Finding
from .saying import finding

BATCHES = 24
"""Looked at, from the first."""
GROUPS = 3
"""Runs of equal batches before it is said."""
VALUES = 4096
"""Of each image, evenly spaced."""
WITHIN = 3
"""Batches in a row that hold an image twice and more."""


class Pictures:
    def __init__(self) -> None:
        self._prints: list[list[int]] = []
        self._within = 0

    @property
    def wanted(self) -> bool:
        return len(self._prints) < BATCHES

    def add(self, images: Any) -> list[Finding]:
        """``images``: ``[B, ...]``, a tensor or an array, or a list of them."""
        prints = _fingerprints(images)
        if prints is None:
            return []
        self._prints.append(prints)
        return self._across() or self._inside(prints)

    def _across(self) -> list[Finding]:
        """Runs of equal batches; one batch all along is somebody's test of overfitting."""
        lengths = _runs([tuple(sorted(each)) for each in self._prints])[:-1]
        if len(lengths) < GROUPS or min(lengths) < 2:
            return []
        size = min(lengths)
        return [
            finding(
                "batches.twice",
                "warning",
                "data",
                f"each batch comes {size} times in a row: {size} workers draw the same samples",
                expected="batches that differ",
                got=f"{len(lengths)} different batches in {sum(lengths)} iterations",
                fix="seed each worker by torch.initial_seed() (worker_init_fn), share an iterable data set "
                "out by get_worker_info(); or is each batch used more than once on purpose?",
                tensor="image",
            )
        ]

    def _inside(self, prints: list[int]) -> list[Finding]:
        repeated = len(prints) - len(set(prints))
        # where every image of the batch is one, it is a picture or two learnt by heart
        some = len(set(prints)) > 1 and repeated >= max(2, len(prints) // 4)
        self._within = self._within + 1 if some and prints != self._before() else 0
        if self._within < WITHIN:
            return []
        return [
            finding(
                "images.twice",
                "warning",
                "data",
                f"{repeated} of {len(prints)} images of a batch stand in it twice, {WITHIN} batches in a row",
                expected="images that differ, augmented or not",
                got=f"{len(set(prints))} different images in a batch of {len(prints)}",
                fix="look at the sampler and at the seeds of what draws the images",
                tensor="image",
            )
        ]

    def _before(self) -> list[int] | None:
        return self._prints[-2] if len(self._prints) > 1 else None


def _runs(values: Sequence[object]) -> list[int]:
    lengths: list[int] = []
    for k, value in enumerate(values):
        if k and value == values[k - 1]:
            lengths[-1] += 1
        else:
            lengths.append(1)
    return lengths


def _fingerprints(images: Any) -> list[int] | None:
    if isinstance(images, (list, tuple)):
        parts = [_fingerprints(each[None]) for each in images if isinstance(each, (Tensor, np.ndarray))]
        return [p[0] for p in parts if p] if len(parts) == len(images) and parts else None
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(images)
    if not isinstance(images, Tensor) or images.ndim < 3 or not len(images):
        return None
    flat = images.detach().reshape(len(images), -1)
    step = max(1, flat.shape[1] // VALUES)
    picked = flat[:, :: step + (step % 2 == 0 and step > 1)].cpu().contiguous()
    return [hash(row.numpy().tobytes()) for row in picked.view(torch.uint8)]
