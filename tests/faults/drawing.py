"""A small VOC set for the bench: coloured rectangles, pictures of several shapes, one without an object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

COLOURS = {
    "red": (30, 30, 220),
    "blue": (220, 60, 30),
    "green": (40, 200, 40),
    "yellow": (30, 220, 220),
    "white": (245, 245, 245),
}
SHAPES = ((96, 64), (120, 64), (72, 80), (97, 65))


def draw(root: Path, classes: Sequence[str], images: int = 10, seed: int = 0) -> None:
    """``root`` in VOC layout with a split train (all but two) and val. The first image has no object."""
    rng = np.random.default_rng(seed)
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for k in range(images):
        width, height = SHAPES[k % len(SHAPES)]
        picture = rng.integers(90, 110, (height, width, 3), dtype=np.uint8)
        objects = []
        for n in range(0 if k == 0 else int(rng.integers(2, 4))):
            w, h = (int(side) for side in rng.integers(9, 34, 2))
            x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            name = classes[(k + n) % len(classes)]
            picture[y : y + h, x : x + w] = COLOURS[name]
            objects.append((name, x + 1, y + 1, x + w, y + h))
        cv2.imwrite(str(root / "JPEGImages" / f"{k:03d}.jpg"), picture)
        write_annotation(root, f"{k:03d}", (width, height), objects)
    names = [f"{k:03d}" for k in range(images)]
    (root / "ImageSets/Main/train.txt").write_text("\n".join(names[:-2]) + "\n", encoding="utf-8")
    (root / "ImageSets/Main/val.txt").write_text("\n".join(names[-2:]) + "\n", encoding="utf-8")


def write_annotation(
    root: Path, image_id: str, size: tuple[int, int], objects: Sequence[tuple[str, int, int, int, int]]
) -> None:
    """``size``: (width, height); ``objects``: name, xmin, ymin, xmax, ymax as they stand in the file."""
    rows = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2 in objects
    )
    (root / "Annotations" / f"{image_id}.xml").write_text(
        f"<annotation><filename>{image_id}.jpg</filename><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height><depth>3</depth></size>{rows}</annotation>",
        encoding="utf-8",
    )
