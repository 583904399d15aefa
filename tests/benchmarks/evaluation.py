"""Scoring at COCO's size against the library alone: 5,000 images, 36,000 truths, 100 detections each.

    python tests/benchmarks/evaluation.py [--images 5000] [--rounds 3]

*library* is faster-coco-eval as its users call it: ``COCO``, ``loadRes``, ``evaluate``, ``accumulate`` and
``summarize`` on dictionaries that are ready. *ours* is ``engine.evaluate.evaluate`` from arrays: the same
twelve numbers, each class's, and VOC's two. The numbers are compared, the times taken in turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import typer

from engine.data.sample import Sample
from engine.evaluate import Detections, Scores, evaluate
from engine.evaluate_coco import NAMES

CLASSES = 80
SIDE = 640


def synthetic(images: int, truths: int, found: int, seed: int = 0) -> tuple[list[Sample], list[Detections]]:
    """Truths spread as in COCO, few a picture and of every size; detections that wander off from them."""
    from pathlib import Path

    rng = np.random.default_rng(seed)
    owners = np.sort(rng.integers(images, size=truths))
    counts = np.bincount(owners, minlength=images)
    samples, detections = [], []
    for number, count in enumerate(counts):
        size = np.exp(rng.uniform(np.log(8), np.log(400), (count, 2)))
        corner = rng.uniform(0, 1, (count, 2)) * (SIDE - size)
        boxes = np.concatenate((corner, corner + size), 1).astype(np.float32)
        labels = rng.integers(CLASSES, size=count)
        name, none = str(number), np.zeros(count, np.bool_)
        samples.append(Sample(Path(name), name, SIDE, SIDE, boxes, labels, none, rng.random(count) < 0.01))
        near = rng.integers(count, size=found) if count else np.zeros(found, int)
        lost = rng.random(found) < 0.6 if count else np.ones(found, bool)
        size = np.exp(rng.uniform(np.log(8), np.log(400), (found, 2)))
        corner = rng.uniform(0, 1, (found, 2)) * (SIDE - size)
        guess = np.concatenate((corner, corner + size), 1)
        kinds = rng.integers(CLASSES, size=found)
        if count:
            side = np.tile(boxes[near][:, 2:] - boxes[near][:, :2], 2)
            guess = np.where(lost[:, None], guess, boxes[near] + rng.normal(0, 0.1, (found, 4)) * side)
            kinds = np.where(lost, kinds, labels[near])
        guess = np.concatenate(
            (np.minimum(guess[:, :2], guess[:, 2:]), np.maximum(guess[:, :2], guess[:, 2:])), 1
        )
        detections.append(Detections(name, guess.astype(np.float32), rng.random(found), kinds))
    return samples, detections


def as_files(
    samples: list[Sample], detections: list[Detections]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    annotations, results = [], []
    for number, sample in enumerate(samples, 1):
        for (x1, y1, x2, y2), label, crowd in zip(
            sample.boxes.astype(np.float64).tolist(),
            sample.labels.tolist(),
            sample.crowd.tolist(),
            strict=True,
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(crowd),
                }
            )
    for number, one in enumerate(detections, 1):
        boxes = np.asarray(one.boxes, np.float64)
        for (x1, y1, x2, y2), label, score in zip(
            boxes.tolist(), np.asarray(one.labels).tolist(), np.asarray(one.scores).tolist(), strict=True
        ):
            box = [x1, y1, x2 - x1, y2 - y1]
            results.append({"image_id": number, "category_id": label + 1, "bbox": box, "score": score})
    dataset = {
        "images": [{"id": number} for number in range(1, len(samples) + 1)],
        "annotations": annotations,
        "categories": [{"id": label + 1, "name": str(label)} for label in range(CLASSES)],
    }
    return dataset, results


def library(dataset: dict[str, Any], results: list[dict[str, Any]]) -> list[float]:
    from faster_coco_eval import COCO, COCOeval_faster

    def silent(*_: object) -> None:
        pass

    truth = COCO(dataset, print_function=silent)
    scored = COCOeval_faster(truth, truth.loadRes(results), "bbox", print_function=silent)
    scored.evaluate()
    scored.accumulate()
    scored.summarize()
    return [float(value) for value in scored.stats[: len(NAMES)]]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def main(
    images: int = 5000,
    truths: Annotated[int, typer.Option(help="0: as many an image as COCO has.")] = 0,
    found: int = 100,
    rounds: int = 3,
) -> None:
    samples, detections = synthetic(images, truths or round(images * 7.2), found)
    dataset, results = as_files(samples, detections)
    names = [str(label) for label in range(CLASSES)]
    import faster_coco_eval  # noqa: F401  (its import is nobody's)

    rows: list[tuple[float, float]] = []
    for number in range(rounds):
        # the library writes into what it is given: fresh dictionaries each time, not counted
        given = (
            {**dataset, "annotations": [dict(one) for one in dataset["annotations"]]},
            [dict(r) for r in results],
        )
        work: dict[str, Callable[[], Any]] = {
            "library": lambda given=given: library(*given),  # type: ignore[misc]
            "ours": lambda: evaluate(samples, detections, names),
        }
        done = {name: timed(work[name]) for name in (work if number % 2 else reversed(list(work)))}
        scores: Scores = done["ours"][1]
        worst = max(
            abs(value - scores.coco[name]) for name, value in zip(NAMES, done["library"][1], strict=True)
        )
        rows.append((done["library"][0], done["ours"][0]))
        print(f"round {number + 1}: library {rows[-1][0]:.2f} s, ours {rows[-1][1]:.2f} s, apart {worst:.0e}")
        if worst > 1e-9:
            raise SystemExit("the numbers differ")
    plain, ours = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = statistics.median(b / a for a, b in rows)
    print(f"{images} images, {len(dataset['annotations'])} truths, {len(results)} detections")
    print(f"library {plain:.2f} s, ours {ours:.2f} s; ratio {ratio:.3f}, median of {rounds} pairs")


if __name__ == "__main__":
    typer.run(main)
