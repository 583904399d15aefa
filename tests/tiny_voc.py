"""A very small VOC set, drawn in a moment: bright rectangles on grey, two classes by colour."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

CONFIG = """
[data]
root = "{root}"
train = "train"
val = "{val}"
classes = ["red", "blue"]

[model]
name = "compact"
width = 4
input_size = [96, 64]
anchors = [[2, 2], [4, 3]]
assign = "multi"
assign_ratio = 3.0

[layout]
decode = "linear"

[loss]
confidence = "bce"
box = "ciou"
classes = "bce"
reduction = "positives"
ignore_iou = 0
box_scale = 5.0
object_scale = 1.0

[train]
epochs = 3
batch_size = 4
optimizer = "adamw"
lr = 2e-3
warmup_epochs = 0.5
schedule = "cosine"
ema = 0.9
clip = 10

[augment]
flip_x = 0.5
scale = 0.2
mosaic = 0.5
"""


def draw(root: Path, images: int = 18, seed: int = 0) -> Path:
    """A VOC folder with splits train (all but six) and val (six)."""
    rng = np.random.default_rng(seed)
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for k in range(images):
        picture = np.full((64, 96, 3), 90, np.uint8) + rng.integers(0, 20, (64, 96, 3), dtype=np.uint8)
        objects = []
        for _ in range(int(rng.integers(1, 4))):
            w, h = rng.integers(10, 36, 2)
            x, y = int(rng.integers(0, 96 - w)), int(rng.integers(0, 64 - h))
            label = int(rng.integers(2))
            picture[y : y + h, x : x + w] = (30, 30, 220) if label == 0 else (220, 60, 30)
            objects.append(
                f"<object><name>{('red', 'blue')[label]}</name><difficult>0</difficult><bndbox>"
                f"<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
                "</bndbox></object>"
            )
        cv2.imwrite(str(root / "JPEGImages" / f"{k:03d}.jpg"), picture)
        (root / "Annotations" / f"{k:03d}.xml").write_text(
            f"<annotation><filename>{k:03d}.jpg</filename><size><width>96</width><height>64</height>"
            f"<depth>3</depth></size>{''.join(objects)}</annotation>"
        )
    names = [f"{k:03d}" for k in range(images)]
    (root / "ImageSets/Main/train.txt").write_text("\n".join(names[:-6]) + "\n")
    (root / "ImageSets/Main/val.txt").write_text("\n".join(names[-6:]) + "\n")
    return root


def write_config(folder: Path, val: str = "val") -> Path:
    """The set below ``folder/voc`` and a config beside it."""
    draw(folder / "voc")
    path = folder / "tiny.toml"
    path.write_text(CONFIG.format(root="voc", val=val))
    return path
