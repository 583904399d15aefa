"""A second data set for the training recipe: digits drawn onto photographs, unlike blood cells in everything.

    python tests/benchmarks/characters.py FOLDER --photographs VOC/JPEGImages
    yolotui train tests/benchmarks/characters.toml --set data.root=FOLDER --set train.minutes=10
    yolotui eval tests/benchmarks/characters.toml --set data.root=FOLDER --split test --weights RUN

Ten classes; pictures of five shapes, landscape to portrait; 1 to 12 objects of 20 to 280 pixels, stretched to
between half and twice their width, turned by up to 20 degrees, in any colour, some translucent, some cut by
the border. Every split has photographs of its own. Written as Ultralytics lays sets out, so that others can
train on the same files. The same on every machine with the same libraries and photographs.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
import yaml
from numpy.typing import NDArray

from engine.boxes import pairwise_iou

CLASSES = tuple("0123456789")
SPLITS = {"train": 600, "val": 150, "test": 250}
SHAPES = ((640, 480), (640, 360), (480, 640), (512, 512), (800, 600))
FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SIMPLEX | cv2.FONT_ITALIC,
)
SMALLEST, LARGEST = 20, 280
CROWDED = 0.1
"""IoU above which a place is taken."""

Mask = NDArray[np.uint8]


def glyph(label: int, rng: np.random.Generator) -> Mask:
    """One digit, white on black, tight."""
    room = np.zeros((400, 400), np.uint8)
    weight = int(rng.integers(8, 30))
    cv2.putText(room, CLASSES[label], (110, 290), int(rng.choice(FONTS)), 8.0, 255, weight, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((200, 200), float(rng.uniform(-20, 20)), 1.0)
    turned = _tight(cv2.warpAffine(room, turn, (400, 400)))
    height = math.exp(rng.uniform(math.log(SMALLEST), math.log(LARGEST)))
    width = turned.shape[1] * height / turned.shape[0] * 2 ** rng.uniform(-1, 1)
    size = (max(8, min(LARGEST, round(width))), max(8, round(height)))
    return _tight(cv2.resize(turned, size, interpolation=cv2.INTER_AREA))


def _tight(mask: np.ndarray) -> Mask:
    rows, columns = np.flatnonzero(mask.max(1) > 64), np.flatnonzero(mask.max(0) > 64)
    return np.ascontiguousarray(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def background(photograph: Path, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random window of a photograph, filling the picture."""
    image = cv2.imread(str(photograph))
    assert image is not None, photograph
    width, height = size
    fit = max(width / image.shape[1], height / image.shape[0]) * rng.uniform(1, 1.5)
    image = cv2.resize(image, (math.ceil(image.shape[1] * fit), math.ceil(image.shape[0] * fit)))
    x = int(rng.integers(image.shape[1] - width + 1))
    y = int(rng.integers(image.shape[0] - height + 1))
    window = image[y : y + height, x : x + width]
    return np.ascontiguousarray(window[:, ::-1] if rng.random() < 0.5 else window, dtype=np.uint8)


def scene(photograph: Path, rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[str]]:
    """A picture and its lines ``class cx cy w h``."""
    width, height = SHAPES[int(rng.integers(len(SHAPES)))]
    image = background(photograph, (width, height), rng)
    placed: list[tuple[int, int, int, int]] = []
    lines = []
    for _ in range(int(rng.integers(1, 13))):
        label = int(rng.integers(len(CLASSES)))
        mask = glyph(label, rng)
        h, w = mask.shape
        left = int(rng.integers(-w // 4, max(width - 3 * w // 4, 1 - w // 4)))
        top = int(rng.integers(-h // 4, max(height - 3 * h // 4, 1 - h // 4)))
        box = (max(left, 0), max(top, 0), min(left + w, width), min(top + h, height))
        if placed and pairwise_iou(torch.tensor([box]), torch.tensor(placed)).max() > CROWDED:
            continue
        placed.append(box)
        x1, y1, x2, y2 = box
        alpha = mask[y1 - top : y2 - top, x1 - left : x2 - left, None] / 255 * rng.uniform(0.6, 1)
        part = image[y1:y2, x1:x2]
        part[:] = np.round(part + (rng.integers(0, 256, 3) - part) * alpha).astype(np.uint8)
        values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        lines.append(" ".join([str(label), *(f"{value:.6f}" for value in values)]))
    return image, lines


def main(
    folder: Path, photographs: Annotated[Path, typer.Option(help="A folder of JPEGs.")], seed: int = 0
) -> None:
    files = sorted(photographs.glob("*.jpg"))
    total, number, first = sum(SPLITS.values()), 0, 0
    for split, count in SPLITS.items():
        last = first + len(files) * count // total
        own, first = files[first:last], last
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for place in range(count):
            image, lines = scene(own[place % len(own)], np.random.default_rng((seed, number)))
            cv2.imwrite(str(folder / "images" / split / f"{number:04d}.jpg"), image)
            (folder / "labels" / split / f"{number:04d}.txt").write_text("\n".join(lines) + "\n")
            number += 1
    table = {"path": str(folder.resolve()), "names": dict(enumerate(CLASSES))}
    splits = {split: f"images/{split}" for split in SPLITS}
    (folder / "data.yaml").write_text(yaml.safe_dump({**table, **splits}, sort_keys=False))
    print(f"{number} pictures in {folder}")


if __name__ == "__main__":
    typer.run(main)
