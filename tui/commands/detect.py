"""``yolotui detect``: pictures in, boxes out: a table, saved pictures, one JSON document."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.data.drawing import draw_detections
from engine.data.images import IMAGE_SUFFIXES, UnreadableImage, read_image
from engine.errors import UserError

from ..console import USAGE, complain, print_json
from ..table import table

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")


@dataclass(frozen=True)
class Found:
    """One picture's detections and where the drawn picture lies."""

    path: Path
    width: int
    height: int
    rows: NDArray[np.float32]
    """``[M, 6]``: x1, y1, x2, y2, score, class."""
    saved: Path

    def to_json(self, classes: tuple[str, ...]) -> dict[str, Any]:
        return {
            "image": str(self.path),
            "width": self.width,
            "height": self.height,
            "detections": [
                {
                    "class": classes[int(row[5])],
                    "class_id": int(row[5]),
                    "score": round(float(row[4]), 5),
                    "box": [round(float(value), 2) for value in row[:4]],
                }
                for row in self.rows
            ],
            "saved": str(self.saved),
        }


def detect(
    named: list[Path],
    weights: str | None,
    code: Path | None,
    conf: float,
    iou: float,
    out: Path,
    as_json: bool,
) -> int:
    """Returns the exit code: 2 where a file could not be read, the others are done all the same."""
    paths = list(_pictures(named))
    from engine.predictor import load_predictor

    predictor = load_predictor(weights, code)
    if not as_json:
        print(f"weights {predictor.source}")
    names = _saved_names(paths, out)
    results: list[dict[str, Any]] = []
    unread = 0
    for path in paths:
        try:
            image = read_image(path)
        except UnreadableImage as error:
            complain(f"{error}; name a JPEG, PNG, BMP, WebP or TIFF file")
            unread += 1
            continue
        rows = predictor.detect([image], conf, iou)[0]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        found = Found(path, image.shape[1], image.shape[0], rows, names[path])
        _save(found.saved, draw_detections(image, rows, predictor.classes))
        if as_json:
            results.append(found.to_json(predictor.classes))
        else:
            _show(found, image, predictor.classes)
    if as_json:
        print_json({"weights": predictor.source, "classes": list(predictor.classes), "images": results})
    return USAGE if unread else 0


def _pictures(named: list[Path]) -> Iterator[Path]:
    for path in named:
        if path.is_dir():
            inside = sorted(each for each in path.iterdir() if each.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise UserError("holds no image", where=path, fix=f"looked for {' '.join(IMAGE_SUFFIXES)}")
            yield from inside
        elif not path.exists():
            raise UserError("no such file or folder", where=path, fix="name an image or a folder of images")
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            raise UserError("is a video, not an image", where=path, fix="give its frames as images")
        else:
            yield path


def _saved_names(paths: list[Path], out: Path) -> dict[Path, Path]:
    """``out/name.jpg``; of two pictures of one name the later get a number. PNG stays PNG."""
    taken: set[str] = set()
    names: dict[Path, Path] = {}
    for path in paths:
        suffix = ".png" if path.suffix.lower() == ".png" else ".jpg"
        name, count = f"{path.stem}{suffix}", 1
        while name in taken:
            count += 1
            name = f"{path.stem}-{count}{suffix}"
        taken.add(name)
        names[path] = out / name
    return names


def _save(path: Path, image: NDArray[np.uint8]) -> None:
    ok, data = cv2.imencode(path.suffix, image)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not ok:
            raise OSError("the picture cannot be encoded")
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_bytes(data.tobytes())
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot be written: {error.strerror or error}", where=path, fix="name another --out"
        ) from None


def _show(found: Found, image: NDArray[np.uint8], classes: tuple[str, ...]) -> None:
    count = len(found.rows)
    print(f"\n{found.path}  {found.width} x {found.height}  {count} object{'' if count == 1 else 's'}")
    if count:
        rows = [
            [classes[int(row[5])], f"{row[4]:.3f}", *(f"{value:.1f}" for value in row[:4])]
            for row in found.rows
        ]
        print("\n".join(table(["class", "score", "x1", "y1", "x2", "y2"], rows)))
    if sys.stdout.isatty():
        _picture(found, image, classes)
    print(f"saved {found.saved}")


def _picture(found: Found, image: NDArray[np.uint8], classes: tuple[str, ...]) -> None:
    from rich.console import Console

    from ..halfblock import detections_picture

    console = Console()
    if console.color_system is None:
        return
    columns, rows = shutil.get_terminal_size()
    console.print(detections_picture(image, found.rows, classes, columns - 1, max(8, rows - 4)))
