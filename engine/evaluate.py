"""How good detections are: average precision, VOC's and COCO's, of a data set or of COCO-format files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .coco_files import read_coco_files
from .evaluate_coco import CocoImage, coco_numbers, corners
from .evaluate_errors import ErrorCosts, error_costs
from .evaluate_voc import ImageBoxes, area_under, eleven_points, voc_curves


class Truth(Protocol):
    """What is read of a truth; ``data.sample.Sample`` is one."""

    @property
    def image_id(self) -> str: ...
    @property
    def boxes(self) -> NDArray[np.float32]: ...
    @property
    def labels(self) -> NDArray[np.int64]: ...
    @property
    def difficult(self) -> NDArray[np.bool_]: ...
    @property
    def crowd(self) -> NDArray[np.bool_]: ...


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found on one image: boxes ``[M, 4]`` as x1, y1, x2, y2 in pixels of the stored image,
    ``scores`` ``[M]``, ``labels`` ``[M]`` integers."""

    image_id: str
    boxes: ArrayLike
    scores: ArrayLike
    labels: ArrayLike


@dataclass(frozen=True)
class ClassScores:
    """One class; NaN where it has no truth that counts."""

    ap50: float
    """COCO's AP at IoU 0.5 (101 points)."""
    ap50_95: float
    """COCO's AP, mean over IoU 0.5 to 0.95."""
    voc07_ap50: float
    """VOC 2007's, 11 points."""
    voc_ap50: float
    """VOC 2010's, all points."""
    objects: int
    """Truths that count: neither difficult nor crowds."""


@dataclass(frozen=True)
class Scores:
    """What ``yolotui eval`` reports. A mean is over the classes that have a truth; NaN where none has."""

    map50: float
    map50_95: float
    voc07_map50: float
    voc_map50: float
    coco: dict[str, float]
    """COCO's twelve: AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl."""
    per_class: dict[str, ClassScores]
    images: int
    objects: int
    errors: ErrorCosts | None = None
    """Where asked for."""

    def to_json(self) -> dict[str, Any]:
        """What ``eval --json`` prints, in plain dictionaries; NaN becomes None."""
        plain: dict[str, Any] = _without_nan(asdict(self))
        return plain if self.errors else {key: value for key, value in plain.items() if key != "errors"}


def evaluate(
    truths: Sequence[Truth],
    detections: Sequence[Detections],
    classes: Sequence[str],
    *,
    errors: bool = False,
    names: Sequence[str] = (),
) -> Scores:
    """Score detections against truths, matched by ``image_id``; an image without detections found nothing.
    ``errors``: and say what each kind of error costs, the images called by their ``names`` (one for each
    truth), or else by their ids.

    Difficult truths and crowds count neither as found nor as missed, in VOC's numbers and in COCO's.
    Raises ``ValueError`` where an image id stands twice or has no truth, or a label is no class.
    """
    found = {one.image_id: one for one in detections}
    ids = {truth.image_id for truth in truths}
    if len(found) != len(detections) or len(ids) != len(truths):
        raise ValueError("an image id stands twice")
    if found.keys() - ids:
        raise ValueError(f"detections of an image without truth: {sorted(found.keys() - ids)[0]!r}")
    nothing = Detections("", [], [], [])
    images = [_image(truth, found.get(truth.image_id, nothing)) for truth in truths]
    for image in images:
        for labels in (image.truth_labels, image.labels):
            if labels.size and (labels.min() < 0 or labels.max() >= len(classes)):
                raise ValueError(f"labels {labels.tolist()} of {len(classes)} classes")
    called = names or [truth.image_id for truth in truths]
    return _score(images, classes, called if errors else None)


def evaluate_coco_files(truth: str | Path, detections: str | Path, *, errors: bool = False) -> Scores:
    """Score any detector's results, both files in COCO's format.

    Raises ``UserError`` naming the file and the key where one is not.
    """
    images, classes, names = read_coco_files(Path(truth), Path(detections))
    return _score(images, classes, names if errors else None)


def _image(truth: Truth, found: Detections) -> CocoImage:
    corners = np.asarray(truth.boxes, np.float64).reshape(-1, 4)
    boxes = np.asarray(found.boxes, np.float64).reshape(-1, 4)
    sizes = corners[:, 2:] - corners[:, :2]
    return CocoImage(
        truths=np.concatenate((corners[:, :2], sizes), axis=1),
        truth_labels=np.asarray(truth.labels, np.int64),
        areas=sizes.prod(axis=1),
        crowd=np.asarray(truth.crowd, np.bool_),
        difficult=np.asarray(truth.difficult, np.bool_),
        boxes=np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1),
        labels=np.asarray(found.labels, np.int64).reshape(-1),
        scores=np.asarray(found.scores, np.float64).reshape(-1),
    )


def _score(images: Sequence[CocoImage], classes: Sequence[str], names: Sequence[str] | None = None) -> Scores:
    """``names`` of the images: where the errors are asked for."""
    coco = coco_numbers(images, len(classes))
    curves = voc_curves([_corners(image) for image in images], len(classes))
    per_class = {
        name: ClassScores(
            float(coco.ap50[k]), float(coco.ap[k]), eleven_points(curve), area_under(curve), curve.positives
        )
        for k, (name, curve) in enumerate(zip(classes, curves, strict=True))
    }
    return Scores(
        map50=coco.summary["AP50"],
        map50_95=coco.summary["AP"],
        voc07_map50=_mean([one.voc07_ap50 for one in per_class.values()]),
        voc_map50=_mean([one.voc_ap50 for one in per_class.values()]),
        coco=coco.summary,
        per_class=per_class,
        images=len(images),
        objects=sum(one.objects for one in per_class.values()),
        errors=None if names is None else error_costs(images, names, classes),
    )


def _corners(image: CocoImage) -> ImageBoxes:
    return ImageBoxes(
        truths=corners(image.truths),
        truth_labels=image.truth_labels,
        ignored=image.difficult | image.crowd,
        boxes=corners(image.boxes),
        labels=image.labels,
        scores=image.scores,
    )


def _mean(values: Sequence[float]) -> float:
    present = [value for value in values if not math.isnan(value)]
    return sum(present) / len(present) if present else float("nan")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
