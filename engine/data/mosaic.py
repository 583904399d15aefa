"""Four images in one, as crops at the objects' own scale.

A mosaic that shrinks four whole images to a quarter trains on objects of half their size; this one cuts a
window out of each, so that anchors and small objects keep their meaning.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..config import AugmentConfig
from ..letterbox import Letterbox
from .augment import Colour, Placement, Span, draw_flips_and_zoom, visible_part
from .sample import Floats, Image, Ints

CENTRE = (0.25, 0.75)
"""The tiles meet in the middle half of the input, on each axis."""


def tile_indices(rng: np.random.Generator, own: int, images: int) -> list[int]:
    """The draw's own image first, then three others at random (any may repeat)."""
    return [own, *rng.integers(images, size=3).tolist()]


def mosaic(
    decoded: Sequence[tuple[Image, Floats, Ints]],
    places: Sequence[Letterbox],
    augment: AugmentConfig,
    rng: np.random.Generator,
    canvas: Image,
) -> tuple[Floats, Ints]:
    """Draw windows of four pictures, BGR, onto the input's grey canvas, RGB. Their boxes, given in their own
    pixels, come back in those of the input.

    ``places``: the letterboxes of the four, which say how large their objects are. Each tile has its own
    flips, zoom, colour and window; boxes cut below ``min_visible`` are gone.
    """
    height, width = canvas.shape[:2]
    low, high = CENTRE
    middle_x = round(width * rng.uniform(low, high))
    middle_y = round(height * rng.uniform(low, high))
    spans_x, spans_y = ((0, middle_x), (middle_x, width)), ((0, middle_y), (middle_y, height))
    areas = [(*span_x, *span_y) for span_y in spans_y for span_x in spans_x]
    all_boxes: list[Floats] = []
    all_labels: list[Ints] = []
    # which corner the draw's own image gets is random too
    for (image, boxes, labels), place, corner in zip(decoded, places, rng.permutation(4), strict=True):
        x1, x2, y1, y2 = areas[corner]
        colour = Colour.draw(augment, rng)
        placement = _window(image, place, (x2 - x1, y2 - y1), augment, rng)
        placement.paint(image, canvas[y1:y2, x1:x2], colour)
        moved, keep = visible_part(placement.boxes(boxes), (0, 0, x2 - x1, y2 - y1), augment.min_visible)
        all_boxes.append(moved[keep] + np.array([x1, y1, x1, y1], np.float32))
        all_labels.append(labels[keep])
    return np.concatenate(all_boxes), np.concatenate(all_labels)


def _window(
    image: Image, place: Letterbox, tile: tuple[int, int], augment: AugmentConfig, rng: np.random.Generator
) -> Placement:
    """A random place of the picture under the tile; a picture smaller than the tile lies inside it."""
    flip_x, flip_y, zoom = draw_flips_and_zoom(augment, rng)
    at_x, at_y = rng.random(2).tolist()
    width, height = place.new_w * zoom, place.new_h * zoom
    return Placement(
        Span.placed(image.shape[1], at_x * (tile[0] - width), width, tile[0], flip_x),
        Span.placed(image.shape[0], at_y * (tile[1] - height), height, tile[1], flip_y),
    )
