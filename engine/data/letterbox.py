"""Pictures into the network's input: through the letterbox, grey around them, or stretched."""

from __future__ import annotations

import cv2
import numpy as np

from ..letterbox import Letterbox
from .sample import Image

GREY = 114
"""The colour of the borders."""


def resized(image: Image, width: int, height: int, linear: bool = False) -> Image:
    """Linear down to half the size, where every source pixel still counts; area averaging below that, which
    is no slower only there. ``linear``: whatever the size, as Darknet and OpenCV's networks are given."""
    if image.shape[:2] == (height, width):
        return image
    far = not linear and (2 * width < image.shape[1] or 2 * height < image.shape[0])
    kind = cv2.INTER_AREA if far else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=kind)  # type: ignore[return-value]


def letterbox(image: Image, input_wh: tuple[int, int], stretch: bool = False) -> tuple[Image, Letterbox]:
    """``[H, W, 3]`` uint8 -> ``[input_h, input_w, 3]``, on grey or stretched, and how it was placed."""
    place = Letterbox.fit((image.shape[1], image.shape[0]), input_wh, stretch)
    return framed(resized(image, place.new_w, place.new_h, place.stretch), place), place


def grey_around(canvas: Image, left: int, top: int, right: int, bottom: int) -> None:
    """Everything but that part of a canvas made grey: what is painted next need not be written twice."""
    canvas[:top] = canvas[bottom:] = GREY
    canvas[top:bottom, :left] = canvas[top:bottom, right:] = GREY


def framed(fitted: Image, place: Letterbox) -> Image:
    """The already scaled picture on its grey canvas."""
    canvas = np.full((place.input_h, place.input_w, 3), GREY, np.uint8)
    canvas[place.top : place.top + place.new_h, place.left : place.left + place.new_w] = fitted
    return canvas
