"""One labelled image, whatever format it was read from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Image = NDArray[np.uint8]
"""H x W x 3, BGR."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a label or an image: a line in ``data check``, a count in the run's log."""

    kind: str
    """Short and countable: ``zero-area box``, ``box outside the image``, ``missing image`` ..."""
    path: str
    detail: str
    severity: str = "warning"
    """``error`` where a picture, or an object somebody labelled, is lost to the training."""
    cut: float = 0.0
    """Of a clipped box: the share of its area that lay outside the picture."""


@dataclass(frozen=True, eq=False)
class Sample:
    """An image's path and its truths: boxes ``[N, 4]`` as x1, y1, x2, y2 in pixels of the stored image
    after its EXIF rotation, 0-based and continuous (the image spans 0..width)."""

    path: Path
    image_id: str
    width: int
    height: int
    boxes: Floats
    labels: Ints
    difficult: Bools
    crowd: Bools
    problems: tuple[Problem, ...] = field(default=())


@dataclass(frozen=True, eq=False)
class Dataset:
    """A split: its samples, its class names, and everything found wrong while reading it."""

    name: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...]

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def objects(self) -> int:
        return sum(len(sample.boxes) for sample in self.samples)

    @cached_property
    def digest(self) -> str:
        """Of which images there are, their sizes and truths, in their order: not of any pixel."""
        made = hashlib.sha256()
        for sample in self.samples:
            made.update(f"{sample.image_id} {sample.width} {sample.height} ".encode())
            for part in (sample.boxes, sample.labels, sample.difficult, sample.crowd):
                made.update(part.tobytes())
        return made.hexdigest()


def spread(items: Sequence[Item], most: int) -> Sequence[Item]:
    """At most ``most`` of them, evenly spaced over the whole; all where ``most`` is 0."""
    return items if not most or len(items) <= most else [items[k * len(items) // most] for k in range(most)]


def told_apart(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """The same with an ``image_id`` each: the second of those that share one gets ``#2`` behind it, and so
    on. Files joined into one split, and folders of one, may well use the same."""
    taken: dict[str, int] = {}
    return tuple(_told_apart(sample, taken) for sample in samples)


def _told_apart(sample: Sample, taken: dict[str, int]) -> Sample:
    name = sample.image_id
    while name in taken:
        taken[sample.image_id] += 1
        name = f"{sample.image_id}#{taken[sample.image_id]}"
    taken[name] = 1
    return sample if name == sample.image_id else replace(sample, image_id=name)
