"""Painted pictures for ``transform``, and what one call of it made of such a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..inputs import DRAW

HUES = (0, 60, 120, 25, 95)
"""OpenCV's hue (0..180) of the paints: red, green, blue, orange, cyan; no turn of the circle maps many of
them upon each other."""
GOOD, BAD = 0.6, 0.4
"""IoU of label and paint: framed, not framed."""


@dataclass(frozen=True)
class Shot:
    """One call: what came back, and where the paint of each box lies now."""

    image: Any
    original: np.ndarray
    boxes: np.ndarray
    paint: list[np.ndarray | None]


def picture(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A grey, textured picture with five painted rectangles, none of them placed symmetrically."""
    rng = np.random.default_rng(seed + 100_003 * DRAW.get())
    height, width = ((300, 420), (410, 290), (360, 360))[seed % 3]
    image = rng.integers(95, 130, (height // 6 + 1, width // 6 + 1, 1), dtype=np.uint8)
    grey = cv2.resize(np.repeat(image, 3, 2), (width, height), interpolation=cv2.INTER_LINEAR)
    spots = ((0.08, 0.10), (0.55, 0.06), (0.13, 0.55), (0.40, 0.36), (0.66, 0.50))
    shapes = ((0.22, 0.16), (0.20, 0.24), (0.17, 0.33), (0.19, 0.14), (0.25, 0.38))
    boxes = []
    for hue, (x, y), (w, h) in zip(HUES, spots, shapes, strict=True):
        x1, y1 = round((x + rng.uniform(0, 0.03)) * width), round((y + rng.uniform(0, 0.03)) * height)
        x2, y2 = x1 + round(w * width), y1 + round(h * height)
        colour = cv2.cvtColor(np.array([[[hue, 240, 225]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
        grey[y1:y2, x1:x2] = colour
        boxes.append([x1, y1, x2, y2])
    return np.ascontiguousarray(grey), np.array(boxes, np.float32)


def visible(box: np.ndarray, image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    cut: np.ndarray = np.clip(box, 0, [width, height, width, height])
    return cut


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    side = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    if (side <= 0).any():
        return 0.0
    common = float(side.prod())
    whole = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - common
    return common / whole if whole > 0 else 0.0
