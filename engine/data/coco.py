"""COCO json: ``images``, ``annotations`` and ``categories`` in one file.

Boxes are ``x, y, w, h`` in pixels, 0-based and continuous, of the picture after its EXIF rotation. Categories
in the order of their ids become classes 0, 1, 2 ...; those of one name are one class. ``iscrowd`` marks a
region and not an object: it is kept, marked, and not trained on.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from .clipping import clip_boxes
from .images import UnreadableImage, image_size
from .sample import Dataset, Problem, Sample, spread


def read_coco(
    root: Path, split: str, classes: Sequence[str] = (), most: int = 0, trained: Sequence[str] | None = None
) -> Dataset:
    """One json file of ``root`` (``split`` with or without ``.json``), or several joined by ``+``.

    It is looked for in ``root`` and in ``root/annotations``; pictures, by ``file_name``, in a folder named
    like the split, in ``images/`` (and a folder of the split in there) and in ``root``. ``classes`` may be
    empty, or choose and order some of the files' categories. ``trained``: of a split that is not trained
    on, the classes that were; categories are matched to them by name, whatever their ids and order.
    ``most``: so many of a file's images, 0: all. Raises ``UserError`` where the file is missing or no COCO
    json, where an image id stands twice in one, or where a class of a training split (of another: all of
    them) is none of its categories.
    """
    paths = dict.fromkeys(_json_of(root, part.strip()) for part in split.split("+"))
    files = {path: _load(path) for path in paths}
    categories = {path: _categories(table, path) for path, table in files.items()}
    there = tuple(dict.fromkeys(name for each in categories.values() for name in each.values()))
    names = tuple(classes) or tuple(trained or ()) or there
    absent = [name for name in names if name not in there]
    if absent and (trained is None or len(absent) == len(names)):
        remedy = f"there are {', '.join(sorted(there))}"
        raise UserError(f"class {absent[0]!r} is none of its categories", where=next(iter(paths)), fix=remedy)
    samples: list[Sample] = []
    problems: list[Problem] = []
    for path, table in files.items():
        _refuse_doubled_ids(table, path)
        problems += _left_out(table, categories[path], path, names, chosen=bool(classes))
        problems += _orphans(table, path)
        ids = {key: names.index(name) for key, name in categories[path].items() if name in names}
        known = frozenset(categories[path])
        truths = _by_image(table)
        folders = _folders(root, path)
        for entry in spread(table["images"], most):
            sample = _sample(
                entry, truths.get(entry.get("id"), []), ids, known, names, folders, path, problems
            )
            if sample is not None:
                samples.append(sample)
                problems.extend(sample.problems)
    return Dataset(split, names, tuple(samples), tuple(problems))


def _refuse_doubled_ids(table: dict[str, Any], path: Path) -> None:
    """Raises ``UserError``: of two pictures with one id nobody knows which one an annotation means."""
    first: dict[Any, str] = {}
    for entry in table["images"]:
        key, name = entry.get("id"), str(entry.get("file_name", ""))
        if not isinstance(key, int | str):
            raise UserError(f"the image {name} has no id", where=path, fix="give each image an id of its own")
        if key in first:
            what = f"image id {key} stands twice, for {first[key]} and for {name}"
            raise UserError(what, where=path, fix="give each image an id of its own, and its annotations too")
        first[key] = name


def _orphans(table: dict[str, Any], path: Path) -> list[Problem]:
    """The annotations of images that the file does not list, in one line."""
    listed = {entry["id"] for entry in table["images"]}
    lost = [truth for truth in table["annotations"] if truth.get("image_id") not in listed]
    if not lost:
        return []
    first = f"the first is annotation {lost[0].get('id')} with image_id {lost[0].get('image_id')}"
    return [Problem("annotations of no image", str(path), f"{len(lost):,} left out, {first}", "error")]


def _left_out(
    table: dict[str, Any], categories: dict[int, str], path: Path, names: Sequence[str], *, chosen: bool
) -> list[Problem]:
    """The categories of a file that are no classes, in one line. ``chosen``: the user named the classes, so
    that no label is lost against anybody's will."""
    others = {key: name for key, name in categories.items() if name not in names}
    if not others:
        return []
    count = sum(truth.get("category_id") in others for truth in table["annotations"])
    whose = "data.classes" if chosen else "the training split's classes"
    detail = f"{', '.join(dict.fromkeys(others.values()))}: not of {whose}; annotations left out: {count:,}"
    return [Problem("category left out", str(path), detail, "info" if chosen or not count else "error")]


def _sample(
    entry: dict[str, Any],
    truths: Sequence[dict[str, Any]],
    ids: dict[Any, int],
    known: frozenset[Any],
    names: Sequence[str],
    folders: Sequence[Path],
    path: Path,
    dropped: list[Problem],
) -> Sample | None:
    """None, with a line in ``dropped``, where the picture is not there."""
    file_name = str(entry.get("file_name", ""))
    image = next((folder / file_name for folder in folders if (folder / file_name).is_file()), None)
    if image is None:
        dropped.append(
            Problem("missing image", str(folders[0] / file_name), f"of {path.name}, image dropped", "error")
        )
        return None
    problems: list[Problem] = []
    stated = (entry.get("width"), entry.get("height"))
    try:
        size = image_size(image)
    except UnreadableImage as error:
        if not all(isinstance(side, int) and side > 0 for side in stated):
            dropped.append(Problem("unreadable image", str(image), f"{error.reason}, image dropped", "error"))
            return None
        size = (int(stated[0] or 0), int(stated[1] or 0))
    if None not in stated and size != stated:
        detail = f"{path.name} says {stated[0]}x{stated[1]}, the picture is {size[0]}x{size[1]}"
        problems.append(Problem("wrong size", str(image), detail))
    boxes: list[list[float]] = []
    labels: list[int] = []
    crowd: list[bool] = []
    for truth in truths:
        category = truth.get("category_id")
        if category in ids:
            box = _box(truth.get("bbox"))
            if box is None:
                problems.append(
                    Problem("object without a box", str(image), f"annotation {truth.get('id')}", "error")
                )
                continue
            boxes.append(box)
            labels.append(ids[category])
            crowd.append(bool(truth.get("iscrowd", 0)))
        elif category not in known:
            detail = f"annotation {truth.get('id')}: category {category}"
            problems.append(Problem("class id out of range", str(image), detail, "error"))
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    clipped, keep, faults = clip_boxes(corners, size, str(image), [names[label] for label in labels])
    return Sample(
        path=image,
        image_id=str(entry.get("id")),
        width=size[0],
        height=size[1],
        boxes=clipped[keep],
        labels=np.array(labels, np.int64)[keep],
        difficult=np.zeros(int(keep.sum()), np.bool_),
        crowd=np.array(crowd, np.bool_)[keep],
        problems=(*problems, *faults),
    )


def _box(value: Any) -> list[float] | None:
    """x, y, w, h -> x1, y1, x2, y2."""
    try:
        x, y, w, h = (float(number) for number in value)
    except (TypeError, ValueError):
        return None
    return [x, y, x + w, y + h]


def _json_of(root: Path, part: str) -> Path:
    name = part if part.endswith(".json") else f"{part}.json"
    for folder in (root, root / "annotations"):
        if (folder / name).is_file():
            return folder / name
    found = sorted(item.stem for folder in (root, root / "annotations") for item in folder.glob("*.json"))
    remedy = f"there are {', '.join(found[:12])}" if found else "data.root must hold the json files"
    raise UserError(f"no split {part!r}", where=root / name, fix=remedy)


def _load(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read as JSON: {error}", where=path, fix="mend the file") from None
    keys = ("images", "annotations", "categories")
    missing = [key for key in keys if not isinstance(table, dict) or not _is_list_of_tables(table.get(key))]
    if missing:
        raise UserError(
            f"no COCO file: {missing[0]} is not a list of objects", where=path, fix="export it anew"
        )
    result: dict[str, Any] = table
    return result


def _is_list_of_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _categories(table: dict[str, Any], path: Path) -> dict[int, str]:
    """Names by id, in the order of the ids. Raises ``UserError``."""
    try:
        found = {int(item["id"]): str(item["name"]) for item in table["categories"]}
    except (KeyError, TypeError, ValueError):
        raise UserError("a category has no id or no name", where=path, fix="export it anew") from None
    if len(found) != len(table["categories"]):
        raise UserError("a category id stands twice", where=path, fix="give each category an id of its own")
    if not found:
        raise UserError("has no categories", where=path, fix="export it with its categories")
    return dict(sorted(found.items()))


def _by_image(table: dict[str, Any]) -> dict[Any, list[dict[str, Any]]]:
    grouped: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for truth in table["annotations"]:
        grouped[truth.get("image_id")].append(truth)
    return grouped


def _folders(root: Path, path: Path) -> list[Path]:
    """Where pictures may lie, the likeliest first. ``instances_val2017`` means the folder ``val2017``."""
    stem = path.stem
    names = dict.fromkeys((stem, stem.removeprefix("instances_"), stem.removesuffix("_annotations.coco")))
    guesses = [root / name for name in names] + [root / "images" / name for name in names]
    guesses += [root / "images", root, path.parent]
    return [folder for folder in guesses if folder.is_dir()]
