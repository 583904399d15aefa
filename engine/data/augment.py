"""Random changes of a training image: flips, zoom, shift, colour. Boxes follow their pixels exactly.

Zoom, shift and flips are one affine map from the scaled picture into the input's canvas, done in one warp;
with flips and colour alone nothing is resampled. Colour is done by look-up tables before the picture is
placed, so that the letterbox's grey stays the grey that the detector will see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..config import AugmentConfig
from ..letterbox import Letterbox
from .letterbox import GREY
from .sample import Bools, Floats, Image, Ints

Tables = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Colour:
    """Look-up tables ``[1, 256, 3]``: one on HSV, one on BGR; None where there is nothing to change."""

    hsv: Tables | None
    bgr: Tables | None

    @classmethod
    def draw(cls, augment: AugmentConfig, rng: np.random.Generator) -> Colour:
        hue, saturation, exposure, light, *gains = rng.uniform(-1, 1, 7).tolist()
        hsv = bgr = None
        if augment.hue or augment.saturation or augment.exposure:
            levels = np.arange(256, dtype=np.float64)
            # OpenCV's 8-bit hue counts 180 steps to the circle
            turned = (levels + hue * augment.hue * 180) % 180
            rich = levels * (1 + augment.saturation) ** saturation
            bright = levels * (1 + augment.exposure) ** exposure
            hsv = _table(np.floor(turned), rich, bright)
        if augment.gain or augment.brightness:
            factors = (1 + augment.brightness * light) * (1 + augment.gain * np.array(gains))
            bgr = _table(*(np.arange(256)[None] * factors[:, None]))
        return cls(hsv, bgr)

    def apply(self, image: Image) -> Image:
        """A new image, or the same one where there is nothing to change."""
        if self.hsv is not None:
            turned = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), self.hsv)
            image = cv2.cvtColor(turned, cv2.COLOR_HSV2BGR)  # type: ignore[assignment]
        if self.bgr is not None:
            image = cv2.LUT(image, self.bgr)  # type: ignore[assignment]
        return image


@dataclass(frozen=True)
class Placement:
    """Axis-aligned affine map of continuous pixels: x' = scale_x * x + shift_x; a negative scale mirrors."""

    scale_x: float
    shift_x: float
    scale_y: float
    shift_y: float

    @classmethod
    def centred(
        cls, size: tuple[float, float], centre: tuple[float, float], zoom: float, flip_x: bool, flip_y: bool
    ) -> Placement:
        """A picture of (width, height), zoomed and mirrored, with its centre put where it is said."""
        scale_x, scale_y = (-zoom if flip_x else zoom), (-zoom if flip_y else zoom)
        return cls(scale_x, centre[0] - scale_x * size[0] / 2, scale_y, centre[1] - scale_y * size[1] / 2)

    def boxes(self, boxes: Floats) -> Floats:
        """``[N, 4]`` x1, y1, x2, y2, mapped and put back in order."""
        x = self.scale_x * boxes[:, 0::2] + self.shift_x
        y = self.scale_y * boxes[:, 1::2] + self.shift_y
        low, high = np.stack((x.min(1), y.min(1)), 1), np.stack((x.max(1), y.max(1)), 1)
        return np.concatenate((low, high), axis=1).astype(np.float32)

    def paint(self, image: Image, canvas: Image, colour: Colour) -> None:
        """Draw ``image`` onto ``canvas`` (a view will do); only the part that is seen is worked on."""
        height, width = canvas.shape[:2]
        left, right = self._seen(width, image.shape[1], self.scale_x, self.shift_x)
        top, bottom = self._seen(height, image.shape[0], self.scale_y, self.shift_y)
        if left >= right or top >= bottom:
            return
        part = colour.apply(image[top:bottom, left:right])
        shift_x, shift_y = self.shift_x + self.scale_x * left, self.shift_y + self.scale_y * top
        if self._resamples:
            # OpenCV counts from the pixels' centres, we from their corners: half a pixel each way
            matrix = np.array(
                [
                    [self.scale_x, 0, shift_x + self.scale_x / 2 - 0.5],
                    [0, self.scale_y, shift_y + self.scale_y / 2 - 0.5],
                ]
            )
            canvas[...] = cv2.warpAffine(
                part, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(GREY, GREY, GREY)
            )
            return
        if self.scale_x < 0:
            part, shift_x = part[:, ::-1], shift_x - part.shape[1]
        if self.scale_y < 0:
            part, shift_y = part[::-1], shift_y - part.shape[0]
        x, y = round(shift_x), round(shift_y)
        visible = part[max(-y, 0) : height - y, max(-x, 0) : width - x]
        x, y = max(x, 0), max(y, 0)
        canvas[y : y + visible.shape[0], x : x + visible.shape[1]] = visible

    @property
    def _resamples(self) -> bool:
        scaled = abs(self.scale_x) != 1 or abs(self.scale_y) != 1
        return scaled or self.shift_x != round(self.shift_x) or self.shift_y != round(self.shift_y)

    @staticmethod
    def _seen(canvas: int, image: int, scale: float, shift: float) -> tuple[int, int]:
        """The range of source pixels that reach the canvas, with one more on each side to blend with."""
        ends = (-shift / scale, (canvas - shift) / scale)
        return max(math.floor(min(ends)) - 1, 0), min(math.ceil(max(ends)) + 1, image)


def draw_flips_and_zoom(augment: AugmentConfig, rng: np.random.Generator) -> tuple[bool, bool, float]:
    """(mirror left to right, mirror top to bottom, zoom)."""
    across, down, zoom = rng.random(3).tolist()
    return across < augment.flip_x, down < augment.flip_y, math.exp((2 * zoom - 1) * augment.scale)


def visible_part(
    boxes: Floats, area: tuple[float, float, float, float], min_visible: float
) -> tuple[Floats, Bools]:
    """Boxes clipped to ``area`` (x1, y1, x2, y2) and which of them keep at least that share of their own."""
    low = np.array(area[:2] * 2, np.float32)
    high = np.array(area[2:] * 2, np.float32)
    clipped = np.clip(boxes, low, high)
    before, after = _areas(boxes), _areas(clipped)
    return clipped, (after > 0) & (after >= min_visible * before)


def augmented(
    fitted: tuple[Image, Floats, Ints], place: Letterbox, augment: AugmentConfig, rng: np.random.Generator
) -> tuple[Image, Floats, Ints]:
    """A scaled picture ``[new_h, new_w, 3]`` with boxes in its own pixels -> the canvas of the input and
    the boxes in input pixels; those cut below ``min_visible`` are gone."""
    image, boxes, labels = fitted
    colour = Colour.draw(augment, rng)
    flip_x, flip_y, zoom = draw_flips_and_zoom(augment, rng)
    shift = rng.uniform(-augment.translate, augment.translate, 2) if augment.translate else (0.0, 0.0)
    centre = (
        place.left + place.new_w / 2 + float(shift[0]) * place.input_w,
        place.top + place.new_h / 2 + float(shift[1]) * place.input_h,
    )
    placement = Placement.centred((place.new_w, place.new_h), centre, zoom, flip_x, flip_y)
    canvas = np.full((place.input_h, place.input_w, 3), GREY, np.uint8)
    placement.paint(image, canvas, colour)
    moved = placement.boxes(boxes)
    moved, keep = visible_part(moved, (0, 0, place.input_w, place.input_h), augment.min_visible)
    return canvas, moved[keep], labels[keep]


def _areas(boxes: Floats) -> Floats:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _table(*channels: np.ndarray) -> Tables:
    levels = np.clip(np.round(np.stack(channels, axis=-1)), 0, 255).astype(np.uint8)
    return levels.reshape(1, 256, 3)
