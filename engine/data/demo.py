"""The demo set: about 600 drawn pictures in VOC layout, the same on every machine with the same libraries.

It goes through the VOC reader, with VOC's own pixel convention (``first_pixel = 1``).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import platformdirs
import psutil

from ..errors import UserError
from .shapes import CLASSES, HEIGHT, WIDTH, Shape, draw_scene

__all__ = ["CLASSES", "demo_root", "draw_demo"]

FOLDER = "yolotui-demo-1"
"""The number goes up whenever the pictures change: an older set is never taken for the new one."""
SPLITS = {"train": 440, "val": 80, "test": 80}
SEED = 20

Progress = Callable[[int, int], None]


def demo_root(config_root: str) -> Path:
    """Where the demo set lies or will lie: below ``data.root``, or in the user's cache."""
    folder = Path(config_root) if config_root else Path(platformdirs.user_cache_dir("yolotui"))
    return folder / FOLDER


def draw_demo(root: Path, progress: Progress | None = None) -> Path:
    """Draw the set into the folder ``root`` unless it is there already, and return ``root``.

    ``progress(done, all)`` is called for each picture. The folder appears whole or not at all. Raises
    ``UserError`` where it cannot be written.
    """
    if root.is_dir():
        return root
    temporary = root.with_name(f".{root.name}.{os.getpid()}")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        _sweep(root)
        temporary.mkdir()
        _draw_all(temporary, progress)
        try:
            temporary.rename(root)
        except OSError:
            if not root.is_dir():  # else another process was faster, with the same pictures
                raise
    except OSError as error:
        raise UserError(
            f"the demo set cannot be drawn: {error.strerror or error}",
            where=root,
            fix="set data.root to a folder that can be written",
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return root


def _sweep(root: Path) -> None:
    """Remove what a killed process left of its drawing."""
    for left in root.parent.glob(f".{root.name}.*"):
        owner = left.name.rpartition(".")[2]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def _draw_all(root: Path, progress: Progress | None) -> None:
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    total, done = sum(SPLITS.values()), 0
    for split, count in SPLITS.items():
        names = [f"{split}_{number:04d}" for number in range(count)]
        for name in names:
            image, shapes = draw_scene(np.random.default_rng((SEED, done)))
            _write_picture(root / "JPEGImages" / f"{name}.jpg", image)
            (root / "Annotations" / f"{name}.xml").write_text(_annotation(name, shapes), encoding="utf-8")
            done += 1
            if progress is not None:
                progress(done, total)
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


def _write_picture(path: Path, image: np.ndarray) -> None:
    """Through memory: imwrite would return False on a full disk without saying why."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    path.write_bytes(data.tobytes())


def _annotation(name: str, shapes: list[Shape]) -> str:
    objects = "".join(_object(shape) for shape in shapes)
    return (
        f"<annotation>\n\t<folder>{FOLDER}</folder>\n\t<filename>{name}.jpg</filename>\n"
        f"\t<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>\n"
        f"{objects}</annotation>\n"
    )


def _object(shape: Shape) -> str:
    x1, y1, x2, y2 = (round(value) for value in shape.box)
    corners = f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
    flags = f"<truncated>{int(shape.cut)}</truncated><occluded>{int(shape.hidden)}</occluded>"
    return (
        f"\t<object><name>{shape.name}</name>{flags}<difficult>0</difficult>\n"
        f"\t\t<bndbox>{corners}</bndbox></object>\n"
    )
