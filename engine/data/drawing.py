"""Boxes drawn on pictures: a frame and a label a detection or truth, in a colour of the class's own."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from .sample import Floats, Image, Ints

GOLDEN = 0.61803398875
"""Steps of the golden ratio around the colour circle keep any number of hues apart."""


def class_colour(label: int) -> tuple[int, int, int]:
    """BGR, the same for a class on every picture."""
    red, green, blue = colorsys.hsv_to_rgb((0.55 + label * GOLDEN) % 1, 0.75, 1.0)
    return round(blue * 255), round(green * 255), round(red * 255)


def text_colour(background: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever reads better on a BGR colour (Rec. 601 luma)."""
    blue, green, red = background
    return (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else (255, 255, 255)


def draw_detections(image: Image, found: Floats, classes: Sequence[str]) -> Image:
    """A copy of a BGR picture with ``found`` ``[M, 6]`` drawn in: x1, y1, x2, y2 in pixels, score, class.

    The weakest are drawn first, so that the strongest stay readable. Line and text grow with the picture.
    """
    rows = sorted(found.tolist(), key=lambda row: row[4])
    texts = [f"{classes[int(row[5])]} {row[4]:.2f}" for row in rows]
    return _framed(image, [row[:4] for row in rows], [int(row[5]) for row in rows], texts)


def draw_truths(image: Image, boxes: Floats, labels: Ints, classes: Sequence[str]) -> Image:
    """A copy of a BGR picture with truths drawn in: ``boxes`` ``[N, 4]`` x1, y1, x2, y2 in pixels,
    ``labels`` ``[N]``."""
    ids = labels.tolist()
    return _framed(image, boxes.tolist(), ids, [classes[label] for label in ids])


def _framed(
    image: Image, boxes: Sequence[Sequence[float]], labels: Sequence[int], texts: Sequence[str]
) -> Image:
    drawn = np.ascontiguousarray(image).copy()
    height, width = drawn.shape[:2]
    thickness = max(1, round(max(height, width) / 400))
    scale = max(0.35, max(height, width) / 1200)
    for (x1, y1, x2, y2), label, text in zip(boxes, labels, texts, strict=True):
        colour = class_colour(label)
        first, second = (round(x1), round(y1)), (round(x2), round(y2))
        cv2.rectangle(drawn, first, second, colour, thickness)
        _label(drawn, text, first, colour, scale)
    return drawn


def _label(
    image: Image, text: str, corner: tuple[int, int], colour: tuple[int, int, int], scale: float
) -> None:
    """Above the box's upper left corner, or inside it where there is no room above."""
    font, weight = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(scale * 1.5))
    (width, height), below = cv2.getTextSize(text, font, scale, weight)
    pad = max(1, height // 4)
    x = min(max(0, corner[0]), max(0, image.shape[1] - width - 2 * pad))
    top = corner[1] - height - below - 2 * pad
    top = top if top >= 0 else max(0, corner[1])
    bottom = top + height + below + 2 * pad
    cv2.rectangle(image, (x, top), (x + width + 2 * pad, bottom), colour, cv2.FILLED)
    origin = (x + pad, top + height + pad)
    cv2.putText(image, text, origin, font, scale, text_colour(colour), weight, cv2.LINE_AA)
