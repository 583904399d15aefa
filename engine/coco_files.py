"""COCO's truth and result files, read for scoring: every fault named with its file and key."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError
from .evaluate_coco import CocoImage

Row = dict[str, Any]
Boxes = list[tuple[list[float], int, float, bool]]
"""box x, y, w, h; label; area or score; crowd"""


def read_coco_files(truth: Path, detections: Path) -> tuple[list[CocoImage], list[str], list[str]]:
    """The images in the order of their ids, the names of the categories in the order of theirs, and those of
    the images (``file_name``, or else the id).

    Raises ``UserError`` naming the file and the key.
    """
    document = _load(truth)
    if not isinstance(document, dict):
        fix = "it holds images, annotations and categories"
        raise UserError("is not a COCO truth file", where=truth, fix=fix)
    results = _load(detections)
    if not isinstance(results, list):
        fix = "it is a list of {image_id, category_id, bbox, score}"
        raise UserError("is not a COCO results file", where=detections, fix=fix)

    images = _names(document, "images", "file_name", truth)
    categories = _names(document, "categories", "name", truth)
    label_of = {number: label for label, number in enumerate(sorted(categories))}
    truths: dict[int, Boxes] = {number: [] for number in images}
    for key, row in _rows(document.get("annotations"), "annotations", truth):
        image, label, box = _place(row, key, truth, images, label_of)
        area = _number(row["area"], f"{key}.area", truth) if "area" in row else box[2] * box[3]
        truths[image].append((box, label, area, bool(row.get("iscrowd", 0))))
    found: dict[int, Boxes] = {number: [] for number in images}
    for key, row in _rows(results, "", detections):
        image, label, box = _place(row, key, detections, images, label_of)
        found[image].append((box, label, _number(row.get("score"), f"{key}.score", detections), False))

    names = Counter(categories.values())
    classes = [
        name if names[name] == 1 else f"{name} {number}" for number, name in sorted(categories.items())
    ]
    numbers = sorted(images)
    rows = [_image(truths[number], found[number]) for number in numbers]
    return rows, classes, [images[number] for number in numbers]


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError("no such file", where=path, fix="name a .json file in COCO's format") from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=path, fix="name a .json file") from None
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"is not JSON: {error}", where=path, fix="name a .json file in COCO's format"
        ) from None


def _names(document: Row, part: str, name: str, path: Path) -> dict[int, str]:
    """The ids in one of the truth file's lists, and their names where they have one."""
    found: dict[int, str] = {}
    for key, row in _rows(document.get(part), part, path):
        number = _id(row.get("id"), f"{key}.id", path)
        if number in found:
            raise UserError(f"{key}.id = {number} stands twice", where=path, fix="give each its own id")
        found[number] = str(row.get(name, number))
    return found


def _rows(rows: object, name: str, path: Path) -> Iterator[tuple[str, Row]]:
    if not isinstance(rows, list):
        what = "is missing" if rows is None else "is not a list"
        fix = "a truth file holds images, annotations and categories"
        raise UserError(f"{name!r} {what}", where=path, fix=fix)
    for k, row in enumerate(rows):
        if not isinstance(row, dict):
            raise UserError(f"{name}[{k}] is {_short(row)}, not an object", where=path, fix="mend that entry")
        yield f"{name}[{k}]", row


def _place(
    row: Row, key: str, path: Path, images: dict[int, str], label_of: dict[int, int]
) -> tuple[int, int, list[float]]:
    image = _id(row.get("image_id"), f"{key}.image_id", path)
    if image not in images:
        what = f"{key}.image_id = {image} is none of the truth's images"
        raise UserError(what, where=path, fix="the two files must be of the same images")
    category = _id(row.get("category_id"), f"{key}.category_id", path)
    if category not in label_of:
        known = sorted(label_of)
        shown = ", ".join(map(str, known[:12])) + (f" ... {known[-1]}" if len(known) > 12 else "")
        what = f"{key}.category_id = {category} is none of the truth's categories"
        raise UserError(what, where=path, fix=f"they are {shown}")
    box = row.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        what = f"{key}.bbox = {_short(box)} is not [x, y, width, height]"
        raise UserError(what, where=path, fix="mend that entry")
    numbers = [_number(value, f"{key}.bbox", path) for value in box]
    if min(numbers[2:]) < 0:
        what = f"{key}.bbox = {_short(box)} has a negative size"
        raise UserError(what, where=path, fix="write it as [x, y, width, height]")
    return image, label_of[category], numbers


def _id(value: object, key: str, path: Path) -> int:
    if isinstance(value, int):
        return value
    what = f"{key} is missing" if value is None else f"{key} = {_short(value)} is not a whole number"
    raise UserError(what, where=path, fix="mend that entry")


def _number(value: object, key: str, path: Path) -> float:
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    what = f"{key} is missing" if value is None else f"{key} = {_short(value)} is not a finite number"
    raise UserError(what, where=path, fix="mend that entry")


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _image(truths: Boxes, found: Boxes) -> CocoImage:
    return CocoImage(
        truths=np.array([box for box, _, _, _ in truths], np.float64).reshape(-1, 4),
        truth_labels=np.array([label for _, label, _, _ in truths], np.int64),
        areas=np.array([area for _, _, area, _ in truths], np.float64),
        crowd=np.array([crowd for _, _, _, crowd in truths], np.bool_),
        difficult=np.zeros(len(truths), np.bool_),
        boxes=np.array([box for box, _, _, _ in found], np.float64).reshape(-1, 4),
        labels=np.array([label for _, label, _, _ in found], np.int64),
        scores=np.array([score for _, _, score, _ in found], np.float64),
    )
