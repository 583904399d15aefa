"""Four images in one, as crops at the objects' own scale.

A mosaic that shrinks four whole images to a quarter trains on objects of half their size; this one cuts a
window out of each, so that anchors and small objects keep their meaning.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..config import AugmentConfig
from .augment import Colour, Picture, Tile, is_transposed, visible_part, window
from .sample import Floats, Ints
from .sizes import Size

CENTRE = (0.25, 0.75)
"""The tiles meet in the middle half of the input, on each axis."""


def tile_indices(rng: np.random.Generator, own: int, images: int) -> list[int]:
    """The draw's own image first, then three others at random (any may repeat)."""
    return [own, *rng.integers(images, size=3).tolist()]


def mosaic(
    pictures: Sequence[Picture], input_wh: Size, augment: AugmentConfig, rng: np.random.Generator
) -> tuple[list[Tile], Floats, Ints]:
    """Windows of four pictures, a tile each in their order, that fill the input; and their boxes, in pixels
    of the input, and labels.

    Each tile has its own flips, turn, zoom, colour and window; boxes cut below ``min_visible`` are gone.
    """
    width, height = input_wh
    low, high = CENTRE
    middle_x = round(width * rng.uniform(low, high))
    middle_y = round(height * rng.uniform(low, high))
    spans_x, spans_y = ((0, middle_x), (middle_x, width)), ((0, middle_y), (middle_y, height))
    areas = [(*span_x, *span_y) for span_y in spans_y for span_x in spans_x]
    tiles: list[Tile] = []
    all_boxes: list[Floats] = []
    all_labels: list[Ints] = []
    # which corner the draw's own image gets is random too
    for given, corner in zip(pictures, rng.permutation(4), strict=True):
        x1, x2, y1, y2 = areas[corner]
        colour = Colour.draw(augment, rng)
        picture = given.transposed() if is_transposed(augment, rng) else given
        placement = window(picture, (x2 - x1, y2 - y1), augment, rng)
        tiles.append(Tile((x1, y1, x2, y2), placement, colour))
        area = (0, 0, x2 - x1, y2 - y1)
        moved, keep = visible_part(placement.boxes(picture.boxes), area, augment.min_visible)
        all_boxes.append(moved[keep] + np.array([x1, y1, x1, y1], np.float32))
        all_labels.append(picture.labels[keep])
    return tiles, np.concatenate(all_boxes), np.concatenate(all_labels)
