"""COCO's twelve numbers, computed by faster-coco-eval, and each class's part in two of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


@dataclass(frozen=True, eq=False)
class CocoImage:
    """One image's truths and detections, boxes ``[N, 4]`` as x, y, w, h in pixels, as in COCO's files."""

    truths: Floats
    truth_labels: Ints
    areas: Floats
    """``[N]``: what sorts a truth into small (< 32 * 32), medium and large (> 96 * 96)."""
    crowd: Bools
    difficult: Bools
    boxes: Floats
    labels: Ints
    scores: Floats


def corners(boxes: Floats) -> Floats:
    """``[N, 4]`` x, y, w, h -> x1, y1, x2, y2."""
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)


@dataclass(frozen=True, eq=False)
class CocoNumbers:
    """NaN where there is no truth to be found."""

    summary: dict[str, float]
    """The twelve, by ``NAMES``."""
    ap: Floats
    """``[classes]``, mean over IoU 0.5 to 0.95."""
    ap50: Floats


def coco_numbers(images: Sequence[CocoImage], classes: int) -> CocoNumbers:
    """Score the images' detections, at most 100 an image and class.

    Crowds are ignored as COCO does it: any number of detections may fall to one, by the share of *their own*
    area inside it. Difficult truths, which COCO does not know, are ignored as VOC does it: any number of
    detections may fall to one, by ordinary IoU.
    """
    # faster-coco-eval takes a while to load, and only this function needs it.
    from faster_coco_eval import COCO, COCOeval_faster
    from faster_coco_eval import mask as boxes_of_coco

    class Evaluation(COCOeval_faster):  # type: ignore[misc]
        """COCO's own measure for truths and crowds; for difficult truths, crowds to it, ordinary IoU."""

        def computeIoU(self, image: int, category: int) -> Any:
            truths = self.gt_dataset.get_instances([image], [category], True)[0][0]
            found = self.dt_dataset.get_instances([image], [category], True)[0][0]
            if not truths or not found:
                return []
            order = np.argsort([-one["score"] for one in found], kind="mergesort")[: self.params.maxDets[-1]]
            crowd = [int(one["iscrowd"] and one["id"] not in difficult) for one in truths]
            return boxes_of_coco.iou(
                [found[k]["bbox"] for k in order], [one["bbox"] for one in truths], crowd
            )

    with _no_collections():
        dataset, results, difficult = _as_coco(images, classes)
        truth, found = (COCO(each, print_function=_say_nothing) for each in (dataset, results))
        scored = Evaluation(truth, found, "bbox", print_function=_say_nothing)
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    precision = np.asarray(scored.eval["precision"])[:, :, :, 0, -1]  # [IoU, recall, class], all sizes, 100
    return CocoNumbers(
        {name: _nan_if_absent(value) for name, value in zip(NAMES, scored.stats, strict=False)},
        np.array([_mean_of_present(precision[:, :, k]) for k in range(classes)]),
        np.array([_mean_of_present(precision[0, :, k]) for k in range(classes)]),
    )


def _as_coco(images: Sequence[CocoImage], classes: int) -> tuple[dict[str, Any], dict[str, Any], set[int]]:
    """Truths and detections as COCO's datasets, ids from 1 (0 means "unmatched" in there), and the ids of
    difficult truths. The detections are what ``loadRes`` would make of results, without the outlines that it
    adds and nobody reads."""
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    difficult: set[int] = set()
    for number, image in enumerate(images, 1):
        rows = zip(
            image.truths.tolist(),
            image.truth_labels.tolist(),
            image.areas.tolist(),
            image.crowd.tolist(),
            image.difficult.tolist(),
            strict=True,
        )
        for box, label, area, crowd, hard in rows:
            annotation = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": label + 1,
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd or hard),
            }
            annotations.append(annotation)
            if hard and not crowd:
                difficult.add(annotation["id"])
        areas = image.boxes[:, 2] * image.boxes[:, 3]
        found = zip(
            image.boxes.tolist(),
            (image.labels + 1).tolist(),
            image.scores.tolist(),
            areas.tolist(),
            strict=True,
        )
        results += [
            {
                "id": identity,
                "image_id": number,
                "category_id": category,
                "bbox": box,
                "score": score,
                "area": area,
                "iscrowd": 0,
            }
            for identity, (box, category, score, area) in enumerate(found, len(results) + 1)
        ]
    common = {
        "images": [{"id": number} for number in range(1, len(images) + 1)],
        "categories": [{"id": label + 1, "name": str(label)} for label in range(classes)],
    }
    return {**common, "annotations": annotations}, {**common, "annotations": results}, difficult


@contextmanager
def _no_collections() -> Iterator[None]:
    """Half a million dictionaries, none of them garbage: the collector would go through all of them again
    and again while they are made."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _say_nothing(*_: object) -> None:
    """The library prints its progress; standard output belongs to the caller."""


def _nan_if_absent(value: float) -> float:
    return float("nan") if value < 0 else float(value)


def _mean_of_present(values: Floats) -> float:
    present = values[values > -1]
    return float(present.mean()) if present.size else float("nan")
