"""The audit of a data set, for ``yolotui data check``: every label and picture of train and val is read."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..config import Config, DataConfig
from .anchors import best_possible_recall, fit_anchors
from .fitted import fitted_sizes
from .image_header import read_header
from .images import UnreadableImage, decode_image, read_bytes
from .opening import open_splits
from .sample import Dataset, Problem, Sample
from .yolo_txt import without_labels

DOUBLE_IOU = 0.9
"""Two boxes of one class above this overlap are taken for one object marked twice."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SplitAudit:
    """What one split holds."""

    name: str
    images: int
    objects: int
    empty_images: int
    """Images without any object: legitimate, as background."""
    difficult: int
    crowd: int
    per_class: dict[str, int]
    exif_rotated: int
    """Files whose EXIF block asks for a rotation, which is applied."""
    smaller_than_cell: int
    """Objects that in the network's input are less wide and less high than the finest head's cell."""


@dataclass(frozen=True)
class AnchorAudit:
    """How well the configured anchors meet the training objects' sizes."""

    pixels: tuple[tuple[float, float], ...]
    fitted: bool
    """Found by k-means here, because the config says so."""
    recall: float
    """Share of objects that some anchor meets at IoU 0.5 or more, laid on one centre."""
    mean_iou: float


@dataclass(frozen=True)
class Audit:
    root: str
    format: str
    classes: tuple[str, ...]
    splits: tuple[SplitAudit, ...]
    anchors: AnchorAudit
    problems: tuple[Problem, ...]
    """A line each, in the order of the splits."""

    @property
    def counts(self) -> dict[str, int]:
        """Problems by kind, the commonest first."""
        return dict(Counter(problem.kind for problem in self.problems).most_common())

    @property
    def ok(self) -> bool:
        """Nothing that is an error: pictures and labels that cannot be read, images in train and in val."""
        return all(problem.severity != "error" for problem in self.problems)

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self), "counts": self.counts}


def audit(config: Config, strides: Sequence[int] = (32,), progress: Progress | None = None) -> Audit:
    """Read and decode all of ``data.train`` and ``data.val``.

    ``strides``: of the network's heads, finest first, as the anchors are listed. ``progress(done, all)``
    is called for each picture. Raises ``UserError`` where a split cannot be opened at all.
    """
    datasets = open_splits(config.data)
    total, done = sum(map(len, datasets)), 0
    splits: list[SplitAudit] = []
    problems: list[Problem] = []
    places: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for dataset in datasets:
        problems += dataset.problems
        rotated = 0
        for sample, look in zip(dataset.samples, _looks(dataset), strict=True):
            problems += look.problems
            problems += _doubles(sample, dataset.classes)
            rotated += look.rotated
            if look.digest:
                places[look.digest].append((dataset.name, str(sample.path)))
            done += 1
            if progress is not None:
                progress(done, total)
        splits.append(_split(dataset, config, min(strides), rotated))
        problems += _absent_classes(splits[-1], config.data)
        problems += _without_labels(dataset, config.data)
    problems += _repeats(places)
    anchors = _anchors(config, datasets[0], strides)
    classes = datasets[0].classes
    return Audit(config.data.root, config.data.format, classes, tuple(splits), anchors, tuple(problems))


@dataclass(frozen=True)
class _Look:
    """What reading one file showed."""

    digest: str = ""
    rotated: bool = False
    problems: tuple[Problem, ...] = ()


def _looks(dataset: Dataset) -> Iterator[_Look]:
    """One for each sample, in order; decoding runs beside the interpreter, on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(_look, dataset.samples)


def _look(sample: Sample) -> _Look:
    try:
        data = read_bytes(sample.path)
        image = decode_image(data, sample.path)
    except UnreadableImage as error:
        return _Look(problems=(Problem("unreadable image", str(sample.path), error.reason, "error"),))
    header = read_header(data)
    found: list[Problem] = []
    if image.shape[:2] != (sample.height, sample.width):
        detail = (
            f"decodes to {image.shape[1]}x{image.shape[0]}, its header says {sample.width}x{sample.height}"
        )
        found.append(Problem("wrong size", str(sample.path), detail, "error"))
    rotated = header is not None and header.orientation != 1
    if rotated and header is not None:
        detail = f"orientation {header.orientation}: labels must be those of the upright picture"
        found.append(Problem("EXIF rotation", str(sample.path), detail, "info"))
    return _Look(hashlib.sha256(data).hexdigest(), rotated, tuple(found))


def double_pairs(sample: Sample) -> list[tuple[int, int, float]]:
    """Rows of two boxes of one class that overlap more than two objects do, and their IoU: one object,
    marked twice."""
    low = np.maximum(sample.boxes[:, None, :2], sample.boxes[None, :, :2])
    high = np.minimum(sample.boxes[:, None, 2:], sample.boxes[None, :, 2:])
    common = (high - low).clip(0).prod(axis=2)
    areas = (sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(axis=1)
    overlap = common / np.maximum(areas[:, None] + areas[None] - common, 1e-9)
    same = (sample.labels[:, None] == sample.labels[None]) & ~(sample.crowd[:, None] | sample.crowd[None])
    pairs = np.argwhere(np.triu((overlap >= DOUBLE_IOU) & same, 1)).tolist()
    return [(first, second, float(overlap[first, second])) for first, second in pairs]


def _doubles(sample: Sample, classes: Sequence[str]) -> list[Problem]:
    return [
        Problem("double annotation", str(sample.path), _pair(sample, classes, first, second, overlap))
        for first, second, overlap in double_pairs(sample)
    ]


def _pair(sample: Sample, classes: Sequence[str], first: int, second: int, overlap: float) -> str:
    boxes = " and ".join(str(sample.boxes[row].round().astype(int).tolist()) for row in (first, second))
    return f"{classes[sample.labels[first]]} at {boxes}, IoU {overlap:.2f}"


def _split(dataset: Dataset, config: Config, stride: int, rotated: int) -> SplitAudit:
    labels = np.concatenate([sample.labels for sample in dataset.samples])
    counts = np.bincount(labels, minlength=len(dataset.classes)).tolist()
    small = (fitted_sizes(dataset, config.model.input_wh, config.model.stretched) < stride).all(axis=1)
    return SplitAudit(
        name=dataset.name,
        images=len(dataset),
        objects=dataset.objects,
        empty_images=sum(not len(sample.boxes) for sample in dataset.samples),
        difficult=sum(int(sample.difficult.sum()) for sample in dataset.samples),
        crowd=sum(int(sample.crowd.sum()) for sample in dataset.samples),
        per_class=dict(zip(dataset.classes, counts, strict=True)),
        exif_rotated=rotated,
        smaller_than_cell=int(small.sum()),
    )


def _absent_classes(split: SplitAudit, config: DataConfig) -> list[Problem]:
    return [
        Problem("class without objects", config.root, f"{name} in {split.name}")
        for name, count in split.per_class.items()
        if not count
    ]


def _repeats(places: dict[str, list[tuple[str, str]]]) -> list[Problem]:
    """The same file content more than once: across splits it spoils the validation."""
    found: list[Problem] = []
    for repeated in places.values():
        (split, path), *others = repeated
        for other_split, other in others:
            if other_split != split:
                detail = f"in {split} too, as {path}"
                found.append(Problem("image in two splits", other, f"in {other_split}, {detail}", "error"))
            else:
                found.append(Problem("image twice in a split", other, f"in {split}, the same as {path}"))
    return found


def _without_labels(dataset: Dataset, data: DataConfig) -> list[Problem]:
    """Where some have a label file: those that have none, in one line."""
    without = without_labels(dataset.samples) if data.format == "yolo" else []
    if not 0 < len(without) < len(dataset):
        return []
    detail = (
        f"{len(without):,} of {len(dataset):,} pictures of {dataset.name}: background, if nothing is on them"
    )
    return [Problem("without a label file", str(without[0]), detail, "info")]


def _anchors(config: Config, train: Dataset, strides: Sequence[int]) -> AnchorAudit:
    model = config.model
    sizes = fitted_sizes(train, model.input_wh, model.stretched)
    if isinstance(model.anchors, str):
        count = model.anchor_count * len(strides)
        fitted = (
            fit_anchors(train, model.input_wh, count, config.train.seed, model.stretched)
            if len(sizes)
            else np.zeros((0, 2))
        )
        pixels = [(float(w), float(h)) for w, h in fitted]
    else:
        # one list for all heads, or a list a head
        heads: list[Any] = model.anchors if isinstance(model.anchors[0][0], list) else [model.anchors]
        pixels = [
            (w * stride, h * stride)
            for stride, anchors in zip(strides, heads, strict=False)
            for w, h in anchors
        ]
    recall, mean = best_possible_recall(sizes, pixels)
    shown = tuple((round(w, 2), round(h, 2)) for w, h in pixels)
    return AnchorAudit(shown, model.anchors == "kmeans", round(recall, 4), round(mean, 4))
