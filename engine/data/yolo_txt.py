"""YOLO's text labels, as Ultralytics lays them out: ``data.yaml``, ``images/`` and ``labels/``.

A label file holds a line an object, ``class cx cy w h``, in 0..1 of the picture (after its EXIF rotation). A
row of more numbers is a polygon, ``class x1 y1 x2 y2 ...``, of which the enclosing box is taken. A picture
without a label file has no objects.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..errors import UserError
from .clipping import clip_boxes
from .images import IMAGE_SUFFIXES, UnreadableImage, image_size
from .sample import Dataset, Ints, Problem, Sample, spread


def read_yolo(root: Path, split: str, classes: Sequence[str] = (), most: int = 0) -> Dataset:
    """One split (a key of ``data.yaml``) or several joined by ``+``.

    ``root`` is the folder of ``data.yaml``, or the file itself. ``classes`` may be empty: the file's names
    are used. ``most``: so many pictures at most, 0: all. A bad row is a ``Problem`` of that row and keeps
    the picture. Raises ``UserError`` where the yaml, the split or its folder is missing, or where
    ``classes`` are not those of the file.
    """
    path = root if root.is_file() else _yaml_in(root)
    table = _load(path)
    names = _names(table, path)
    if classes and list(classes) != names:
        raise UserError(
            f"its names are {', '.join(names)}, data.classes are {', '.join(classes)}",
            where=path,
            fix="leave data.classes empty, or make it the same names in the same order",
        )
    base = path.parent / str(table.get("path") or "")
    if not base.is_dir():  # the path of the machine it was exported on
        base = path.parent
    samples: list[Sample] = []
    problems: list[Problem] = []
    for image in spread(_images(table, split, base, path), most):
        try:
            size = image_size(image)
        except UnreadableImage as error:
            kind = "missing image" if not image.exists() else "unreadable image"
            problems.append(Problem(kind, str(image), f"{error.reason}, image dropped", "error"))
            continue
        sample = _sample(image, size, names)
        samples.append(sample)
        problems.extend(sample.problems)
    without = without_labels(samples)
    if samples and len(without) == len(samples):
        detail = f"none of {len(samples):,} pictures has one; the first was looked for there"
        problems.append(Problem("no label files", str(label_path(without[0])), detail, "error"))
    return Dataset(split, tuple(names), tuple(samples), tuple(problems))


def without_labels(samples: Sequence[Sample]) -> list[Path]:
    """The pictures that have no label file: background, unless it was forgotten or lies elsewhere."""
    return [sample.path for sample in samples if not label_path(sample.path).exists()]


def label_path(image: Path) -> Path:
    """The label file of a picture: its last folder named ``images`` becomes ``labels``."""
    parts = list(image.with_suffix(".txt").parts)
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    return Path(*parts)


def _sample(image: Path, size: tuple[int, int], names: Sequence[str]) -> Sample:
    labels_file = label_path(image)
    boxes, labels, problems = _rows(labels_file, size, len(names))
    clipped, keep, faults = clip_boxes(boxes, size, str(labels_file), [names[label] for label in labels])
    count = int(keep.sum())
    return Sample(
        path=image,
        image_id=image.stem,
        width=size[0],
        height=size[1],
        boxes=clipped[keep],
        labels=labels[keep],
        difficult=np.zeros(count, np.bool_),
        crowd=np.zeros(count, np.bool_),
        problems=(*problems, *faults),
    )


def _rows(path: Path, size: tuple[int, int], classes: int) -> tuple[np.ndarray, Ints, list[Problem]]:
    """The good rows of a label file: boxes ``[N, 4]`` x1, y1, x2, y2 in pixels, and class ids."""
    boxes: list[np.ndarray] = []
    labels: list[int] = []
    problems: list[Problem] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem("unreadable labels", str(path), str(error), "error"))
        lines = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        fault, label, box = _row(line.split(), classes)
        if fault:
            problems.append(Problem(fault, str(path), f"line {number}: {line.strip()[:80]}", "error"))
        else:
            labels.append(label)
            boxes.append(box)
    scale = np.array([*size, *size], np.float64)
    return np.array(boxes, np.float64).reshape(-1, 4) * scale, np.array(labels, np.int64), problems


def _row(words: Sequence[str], classes: int) -> tuple[str, int, np.ndarray]:
    """(fault or empty, class id, x1 y1 x2 y2 in 0..1)."""
    nothing = np.zeros(4)
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        return "bad label row", 0, nothing
    polygon = len(numbers) >= 7 and len(numbers) % 2 == 1
    if not (len(numbers) == 5 or polygon) or not np.isfinite(numbers).all() or numbers[0] % 1:
        return "bad label row", 0, nothing
    if not 0 <= numbers[0] < classes:
        return "class id out of range", 0, nothing
    # one way to tell pixels from fractions: no fraction is far above 1
    if numbers[1:].max() > 2 or numbers[1:].min() < -1:
        return "label not in 0..1", 0, nothing
    if polygon:
        x, y = numbers[1::2], numbers[2::2]
        return "", int(numbers[0]), np.array([x.min(), y.min(), x.max(), y.max()])
    cx, cy, w, h = numbers[1:]
    return "", int(numbers[0]), np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])


def _yaml_in(root: Path) -> Path:
    for name in ("data.yaml", "data.yml", "dataset.yaml"):
        if (root / name).is_file():
            return root / name
    found = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    if len(found) == 1:
        return found[0]
    raise UserError("no data.yaml", where=root, fix="data.root must be its folder, or the yaml file itself")


def _load(path: Path) -> dict[str, Any]:
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"cannot be read: {error}", where=path, fix="mend the file") from None
    if not isinstance(table, dict):
        raise UserError("is no table of keys", where=path, fix="it needs train, val and names")
    return table


def _names(table: dict[str, Any], path: Path) -> list[str]:
    names, count = table.get("names"), table.get("nc")
    if isinstance(names, dict):
        try:
            ids = {int(key): str(value) for key, value in names.items()}
        except (TypeError, ValueError):
            ids = {}
        if sorted(ids) != list(range(len(ids))) or not ids:
            raise UserError("names do not count 0, 1, 2 ...", where=path, fix="number the names without gaps")
        names = [ids[key] for key in sorted(ids)]
    elif isinstance(names, list) and names:
        names = [str(name) for name in names]
    elif names is None and isinstance(count, int) and count > 0:
        names = [f"class{number}" for number in range(count)]
    else:
        raise UserError("has no names", where=path, fix="add names: a list of class names")
    if isinstance(count, int) and count != len(names):
        raise UserError(f"nc is {count}, but there are {len(names)} names", where=path, fix="mend nc")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"names: {twice!r} stands twice", where=path, fix="give each class its own name")
    return names


def _images(table: dict[str, Any], split: str, base: Path, path: Path) -> list[Path]:
    """The pictures of a split, each once: of a folder in name order, of a list in its order."""
    found: dict[Path, None] = {}
    for key in (part.strip() for part in split.split("+")):
        places = table.get(key)
        if not places or not isinstance(places, (str, list)):
            known = [name for name in ("train", "val", "test") if table.get(name)]
            raise UserError(f"no split {key!r}", where=path, fix=f"there are {', '.join(known) or 'none'}")
        for place in [places] if isinstance(places, str) else places:
            found.update((image, None) for image in _images_at(_placed(base, str(place)), key, path))
    return list(found)


def _placed(base: Path, place: str) -> Path:
    """Roboflow writes ``../train/images`` for what lies beside the yaml: tried without the dots too."""
    direct = base / place
    beside = base / place.removeprefix("../")
    return beside if not direct.exists() and beside.exists() else direct


def _images_at(place: Path, key: str, path: Path) -> list[Path]:
    if place.is_dir():
        files = (Path(folder) / name for folder, _, names in os.walk(place) for name in names)
        return sorted(file for file in files if file.suffix.lower() in IMAGE_SUFFIXES)
    try:
        lines = place.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UserError(
            f"{key} names {place}, which is neither a folder nor a list",
            where=path,
            fix=f"mend path or {key}",
        ) from None
    return [(place.parent / line.strip()) for line in lines if line.strip()]
