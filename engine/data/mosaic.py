"""Four images in one, as crops at the objects' own scale.

A mosaic that shrinks four whole images to a quarter trains on objects of half their size; this one cuts a
window out of each, so that anchors and small objects keep their meaning.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..config import AugmentConfig
from .augment import Colour, Placement, draw_flips_and_zoom, visible_part
from .letterbox import GREY
from .sample import Floats, Image, Ints

CENTRE = (0.25, 0.75)
"""The tiles meet in the middle half of the input, on each axis."""


def tile_indices(rng: np.random.Generator, own: int, images: int) -> list[int]:
    """The draw's own image first, then three others at random (any may repeat)."""
    return [own, *rng.integers(images, size=3).tolist()]


def mosaic(
    fitted: Sequence[tuple[Image, Floats, Ints]],
    input_wh: tuple[int, int],
    augment: AugmentConfig,
    rng: np.random.Generator,
) -> tuple[Image, Floats, Ints]:
    """Four scaled pictures with boxes in their own pixels -> the canvas of the input, boxes in input pixels.

    Each tile has its own flips, zoom, colour and window; boxes cut below ``min_visible`` are gone.
    """
    width, height = input_wh
    low, high = CENTRE
    middle_x = round(width * rng.uniform(low, high))
    middle_y = round(height * rng.uniform(low, high))
    spans_x, spans_y = ((0, middle_x), (middle_x, width)), ((0, middle_y), (middle_y, height))
    areas = [(*span_x, *span_y) for span_y in spans_y for span_x in spans_x]
    canvas = np.full((height, width, 3), GREY, np.uint8)
    all_boxes: list[Floats] = []
    all_labels: list[Ints] = []
    # which corner the draw's own image gets is random too
    for (image, boxes, labels), corner in zip(fitted, rng.permutation(4), strict=True):
        x1, x2, y1, y2 = areas[corner]
        colour = Colour.draw(augment, rng)
        placement = _window((image.shape[1], image.shape[0]), (x2 - x1, y2 - y1), augment, rng)
        placement.paint(image, canvas[y1:y2, x1:x2], colour)
        moved, keep = visible_part(placement.boxes(boxes), (0, 0, x2 - x1, y2 - y1), augment.min_visible)
        all_boxes.append(moved[keep] + np.array([x1, y1, x1, y1], np.float32))
        all_labels.append(labels[keep])
    return canvas, np.concatenate(all_boxes), np.concatenate(all_labels)


def _window(
    size: tuple[int, int], tile: tuple[int, int], augment: AugmentConfig, rng: np.random.Generator
) -> Placement:
    """A random place of the picture under the tile; a picture smaller than the tile lies inside it."""
    flip_x, flip_y, zoom = draw_flips_and_zoom(augment, rng)
    at_x, at_y = rng.random(2).tolist()
    width, height = size[0] * zoom, size[1] * zoom
    left, top = at_x * (tile[0] - width), at_y * (tile[1] - height)
    if zoom == 1:  # whole pixels: a copy instead of a warp
        left, top = float(round(left)), float(round(top))
    return Placement.centred(size, (left + width / 2, top + height / 2), zoom, flip_x, flip_y)
