"""Pascal VOC: ``Annotations/*.xml``, ``JPEGImages/``, ``ImageSets/Main/<split>.txt``.

Which pixel is the first: with ``first_pixel = 1`` (VOC's own convention, the default) coordinates count
pixels from 1 and the maximum is the last pixel *inside* the box, so in our continuous coordinates
``x1 = xmin - 1, y1 = ymin - 1, x2 = xmax, y2 = ymax``. With ``first_pixel = 0`` the numbers are taken as
written: ``x1 = xmin ... y2 = ymax``. In both, a box written with ``xmin = xmax`` or ``ymin = ymax`` has no
area: no annotator means an object of one pixel.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree as SafeXML
import numpy as np
from defusedxml import DefusedXmlException

from ..errors import UserError
from .clipping import clip_boxes
from .images import IMAGE_SUFFIXES, UnreadableImage, image_size
from .sample import Dataset, Problem, Sample, spread


@dataclass(frozen=True, eq=False)
class Annotation:
    """One XML file: sizes in pixels as written, boxes ``[N, 4]`` x1, y1, x2, y2 after ``first_pixel``."""

    filename: str
    width: int
    height: int
    names: tuple[str, ...]
    boxes: np.ndarray
    difficult: tuple[bool, ...]
    problems: tuple[Problem, ...]


def read_annotation(path: Path, first_pixel: int = 1) -> Annotation:
    """Read one VOC XML file. Corners may stand in any order and be floats.

    An object without a name or a complete bndbox is left out with a ``Problem``. Raises ``UserError`` where
    the file is no VOC annotation, has no size, or declares entities (which are never expanded).
    """
    root = _parse(path)
    if root.tag != "annotation":
        raise UserError(
            f"not a VOC annotation: its root is <{root.tag}>", where=path, fix="its root must be <annotation>"
        )
    width, height = _number(root, "size/width"), _number(root, "size/height")
    if width is None or height is None:
        raise UserError(
            "no <size> with <width> and <height>",
            where=path,
            fix="add it, or take the image out of the split",
        )
    names: list[str] = []
    boxes: list[list[float]] = []
    difficult: list[bool] = []
    problems: list[Problem] = []
    for number, item in enumerate(root.findall("object"), 1):
        name = (item.findtext("name") or "").strip()
        corners = [_number(item, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
        if not name:
            problems.append(Problem("object without a name", str(path), f"object {number}", "error"))
        elif any(corner is None for corner in corners):
            problems.append(Problem("object without a box", str(path), f"object {number}, {name}", "error"))
        else:
            names.append(name)
            boxes.append(_corners([corner for corner in corners if corner is not None], first_pixel))
            difficult.append((item.findtext("difficult") or "0").strip().lower() in ("1", "true"))
    return Annotation(
        (root.findtext("filename") or "").strip(),
        int(width),
        int(height),
        tuple(names),
        np.array(boxes, np.float64).reshape(-1, 4),
        tuple(difficult),
        tuple(problems),
    )


def read_voc(root: Path, split: str, classes: Sequence[str], first_pixel: int = 1, most: int = 0) -> Dataset:
    """One split (or several joined by ``+``) of a VOC folder. Pictures are stat'ed and their headers read.

    ``most``: so many images at most, evenly spaced over the split; 0: all.

    Raises ``UserError`` for a missing folder or split, an unknown class, an annotation that cannot be read.
    """
    annotations, pictures = root / "Annotations", root / "JPEGImages"
    for folder in (annotations, pictures):
        if not folder.is_dir():
            raise UserError(
                f"no folder {folder.name}/",
                where=root,
                fix="data.root must hold Annotations/ and JPEGImages/",
            )
    files = _files_by_stem(pictures)
    ids = {name: row for row, name in enumerate(classes)}
    samples: list[Sample] = []
    problems: list[Problem] = []
    for image_id in spread(_split_ids(root, split), most):
        xml = annotations / f"{image_id}.xml"
        if not xml.is_file():
            problems.append(
                Problem("missing annotation", str(xml), f"of {image_id} in split {split}", "error")
            )
            continue
        annotation = read_annotation(xml, first_pixel)
        if not classes:
            raise UserError(
                "data.classes is empty",
                where=root,
                fix=f"name them in the order of their ids: {_found_classes(annotations)}",
            )
        image = files.get(image_id) or files.get(Path(annotation.filename).stem)
        if image is None:
            problems.append(
                Problem(
                    "missing image",
                    str(pictures / f"{image_id}.jpg"),
                    f"in split {split}, image dropped",
                    "error",
                )
            )
            continue
        sample = _sample(xml, image, image_id, annotation, ids, first_pixel)
        samples.append(sample)
        problems.extend(sample.problems)
    return Dataset(split, tuple(classes), tuple(samples), tuple(problems))


def _sample(
    xml: Path, image: Path, image_id: str, annotation: Annotation, ids: dict[str, int], first_pixel: int
) -> Sample:
    problems = list(annotation.problems)
    stated = (annotation.width, annotation.height)
    try:
        size = image_size(image)
    except UnreadableImage:
        size = stated  # loading it will say why and skip it
    if size != stated:
        detail = f"<size> says {stated[0]}x{stated[1]}, the picture is {size[0]}x{size[1]}"
        problems.append(Problem("wrong size", str(xml), detail))
    labels = [_class_id(name, ids, xml) for name in annotation.names]
    boxes, keep, faults = clip_boxes(annotation.boxes, size, str(xml), annotation.names)
    problems.extend(_hinted(fault, first_pixel, annotation.boxes) for fault in faults)
    return Sample(
        path=image,
        image_id=image_id,
        width=size[0],
        height=size[1],
        boxes=boxes[keep],
        labels=np.array(labels, np.int64)[keep],
        difficult=np.array(annotation.difficult, np.bool_)[keep],
        crowd=np.zeros(int(keep.sum()), np.bool_),
        problems=tuple(problems),
    )


def _hinted(fault: Problem, first_pixel: int, boxes: np.ndarray) -> Problem:
    """A coordinate of 0 where the first pixel is 1 tells of another convention."""
    if fault.kind != "box clipped" or first_pixel == 0 or boxes[:, :2].min() != -1:
        return fault
    return replace(fault, detail=f"{fault.detail}: counted from 0? then set data.first_pixel = 0")


def _corners(written: Sequence[float], first_pixel: int) -> list[float]:
    x_low, x_high = sorted(written[0::2])
    y_low, y_high = sorted(written[1::2])
    # the minimum moves only where there is an area: see the module's docstring
    return [
        x_low - first_pixel if x_low != x_high else x_low,
        y_low - first_pixel if y_low != y_high else y_low,
        x_high,
        y_high,
    ]


def _parse(path: Path) -> Element:
    try:
        root = SafeXML.parse(path).getroot()
    except DefusedXmlException:
        raise UserError(
            "declares XML entities", where=path, fix="entities are refused: take them out"
        ) from None
    except (ParseError, UnicodeError, ValueError, LookupError) as error:
        raise UserError(f"not XML: {error}", where=path, fix="mend or remove the file") from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=path) from None
    if root is None:
        raise UserError("an empty XML file", where=path, fix="mend or remove the file")
    return root


def _number(parent: Element, tag: str) -> float | None:
    text = parent.findtext(tag)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _class_id(name: str, ids: dict[str, int], xml: Path) -> int:
    row = ids.get(name)
    if row is not None:
        return row
    close = difflib.get_close_matches(name, ids, 1, 0.5)
    nearest = f" (the nearest there is {close[0]!r})" if close else ""
    raise UserError(
        f"class {name!r} is not in data.classes", where=xml, fix=f"add it to data.classes{nearest}"
    )


def _split_ids(root: Path, split: str) -> list[str]:
    """Image ids in order, each once. Lines of per-class lists (``name -1``) count by their first word."""
    folder = root / "ImageSets" / "Main"
    ids: dict[str, None] = {}
    for part in split.split("+"):
        path = folder / f"{part.strip()}.txt"
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (FileNotFoundError, NotADirectoryError):
            known = sorted(item.stem for item in folder.glob("*.txt"))
            remedy = f"there are {', '.join(known[:12])}" if known else f"{folder} holds no split at all"
            raise UserError(f"no split {part.strip()!r}", where=path, fix=remedy) from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot be read: {error}", where=path) from None
        ids.update((_without_suffix(line.split()[0]), None) for line in lines if line.strip())
    return list(ids)


def _without_suffix(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


def _files_by_stem(folder: Path) -> dict[str, Path]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    # .jpg is VOC's own: it wins over another format of the same stem
    names.sort(key=lambda name: name.lower().endswith(".jpg"))
    return {_without_suffix(name): folder / name for name in names if name.lower().endswith(IMAGE_SUFFIXES)}


def _found_classes(annotations: Path) -> str:
    found: set[str] = set()
    for path in _some(sorted(annotations.glob("*.xml"))):
        found.update(read_annotation(path).names)
    return ", ".join(sorted(found))


def _some(paths: Iterable[Path], count: int = 200) -> list[Path]:
    return list(paths)[:count]
