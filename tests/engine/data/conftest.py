"""Small data sets made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

Objects = Sequence[tuple[str, tuple[float, float, float, float]]]
MakeVoc = Callable[..., Path]


@pytest.fixture
def make_voc(tmp_path: Path) -> MakeVoc:
    """``make_voc({"a": [("cat", (xmin, ymin, xmax, ymax))]}, size=(64, 48))``: VOC, split ``train``."""

    def make(
        images: dict[str, Objects], size: tuple[int, int] = (64, 48), root: Path = tmp_path / "voc"
    ) -> Path:
        for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        for name, objects in images.items():
            picture = rng.integers(0, 255, (size[1], size[0], 3), np.uint8)
            cv2.imwrite(str(root / "JPEGImages" / f"{name}.jpg"), picture)
            (root / "Annotations" / f"{name}.xml").write_text(annotation(objects, size))
        (root / "ImageSets" / "Main" / "train.txt").write_text("\n".join(images) + "\n")
        return root

    return make


def annotation(objects: Objects, size: tuple[int, int] | None) -> str:
    stated = (
        f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    )
    items = "".join(
        f"<object><name>{name}</name><bndbox><xmax>{x2}</xmax><xmin>{x1}</xmin><ymax>{y2}</ymax>"
        f"<ymin>{y1}</ymin></bndbox></object>"
        for name, (x1, y1, x2, y2) in objects
    )
    return f"<annotation>{stated}{items}</annotation>"
