"""Random changes of a training image: turns, flips, zoom, shift, colour. Boxes follow their pixels exactly.

Flips, zoom, shift and the letterbox are one map from whole source pixels to whole canvas pixels, an axis at a
time: one resize of the part that is seen (a copy where nothing is scaled), straight into its place. Colour is
one 3x3 matrix, applied before the picture is placed, so that the letterbox's grey stays the grey that the
detector will see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..config import AugmentConfig
from ..letterbox import Letterbox
from .letterbox import GREY, grey_around, resized
from .sample import Bools, Floats, Image, Ints

LUMA = (0.114, 0.587, 0.299)
"""Grey of blue, green, red (ITU-R BT.601)."""


@dataclass(frozen=True, eq=False)
class Colour:
    """``[3, 3]`` on BGR; None where there is nothing to change.

    The hue is turned about the grey axis, the distance from grey (saturation) and the light (exposure) are
    scaled, each channel has its gain: all linear, so one pass over the pixels instead of a way to HSV and
    back, which would take as long as decoding the JPEG.
    """

    matrix: NDArray[np.float32] | None

    @classmethod
    def draw(cls, augment: AugmentConfig, rng: np.random.Generator) -> Colour:
        hue, saturation, exposure, light, *gains = rng.uniform(-1, 1, 7).tolist()
        if not (augment.hue or augment.saturation or augment.exposure or augment.gain or augment.brightness):
            return cls(None)
        rich = (1 + augment.saturation) ** saturation
        bright = (1 + augment.exposure) ** exposure * (1 + augment.brightness * light)
        turned = _turned(2 * math.pi * augment.hue * hue)
        grey = [sum(luma * row[k] for luma, row in zip(LUMA, turned, strict=True)) for k in range(3)]
        # in plain numbers: numpy's calls for these few products take as long as all the pixels
        matrix = [
            [
                bright * (1 + augment.gain * gain) * (rich * colour + (1 - rich) * dull)
                for colour, dull in zip(row, grey, strict=True)
            ]
            for gain, row in zip(gains, turned, strict=True)
        ]
        return cls(np.array(matrix, np.float32))

    def paint(self, image: Image, canvas: Image) -> None:
        """``image``, BGR, changed and written to ``canvas``, **RGB** and of the same size, in one pass."""
        if self.matrix is None:
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=canvas)
        else:
            cv2.transform(image, self.matrix[::-1], dst=canvas)


@dataclass(frozen=True)
class Span:
    """One axis of a placement: source pixels ``first .. last`` become canvas pixels ``start .. stop``."""

    first: int
    last: int
    start: int
    stop: int
    mirrored: bool

    @classmethod
    def placed(cls, pixels: int, low: float, length: float, room: int, mirrored: bool) -> Span:
        """A picture of ``pixels``, scaled to ``length`` and put at ``low`` of a canvas of ``room`` pixels:
        the part that is seen, both its ends on whole pixels of picture and canvas."""
        start, size = round(low), max(1, round(length))
        stop = start + size
        if start >= room or stop <= 0:
            return cls(0, pixels, start, stop, mirrored)
        a = round((max(start, 0) - start) * pixels / size)
        b = round((min(stop, room) - start) * pixels / size)
        a, b = min(a, pixels - 1), max(b, min(a, pixels - 1) + 1)
        if mirrored:
            a, b = pixels - b, pixels - a
        return cls(a, b, max(start, 0), min(stop, room), mirrored)

    @property
    def scale(self) -> float:
        return (self.stop - self.start) / (self.last - self.first)

    def map(self, x: Floats) -> Floats:
        """Source coordinates -> canvas coordinates (continuous: a pixel reaches from k to k + 1)."""
        moved = (x - self.first) * self.scale
        return self.stop - moved if self.mirrored else self.start + moved

    def seen(self, room: int) -> bool:
        return self.start < room and self.stop > 0


@dataclass(frozen=True)
class Placement:
    """Where a picture goes on a canvas. ``turned``: its rows become columns before all else. ``linear``: how
    it is scaled (``resized``)."""

    x: Span
    y: Span
    turned: bool = False
    linear: bool = False

    def boxes(self, boxes: Floats) -> Floats:
        """``[N, 4]`` x1, y1, x2, y2, mapped and put back in order."""
        if self.turned:
            boxes = boxes[:, [1, 0, 3, 2]]
        mapped = np.empty_like(boxes, np.float32)
        for axis, span in enumerate((self.x, self.y)):
            ends = span.map(boxes[:, axis::2])
            mapped[:, axis::2] = ends[:, ::-1] if span.mirrored else ends
        return mapped

    def paint(self, image: Image, canvas: Image, colour: Colour) -> None:
        """Draw ``image``, BGR, onto ``canvas``, RGB (a view will do), grey where it does not reach; only what
        is seen is worked on."""
        x, y = self.x, self.y
        if not (x.seen(canvas.shape[1]) and y.seen(canvas.shape[0])):
            canvas[:] = GREY
            return
        grey_around(canvas, x.start, y.start, x.stop, y.stop)
        if self.turned:  # a view: what is not seen of it need not be moved
            image = image.swapaxes(0, 1)
        part = image[y.first : y.last, x.first : x.last]
        part = _scaled(part, x.stop - x.start, y.stop - y.start, self.linear)
        if x.mirrored or y.mirrored:
            part = cv2.flip(part, -1 if x.mirrored and y.mirrored else int(x.mirrored))  # type: ignore[assignment]
        colour.paint(part, canvas[y.start : y.stop, x.start : x.stop])


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


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture without its pixels: their (width, height), its boxes in them, its labels; and the
    size, in pixels of the input, at which its letterbox shows it: the scale that its objects are to keep."""

    size: tuple[int, int]
    boxes: Floats
    labels: Ints
    width: float
    height: float
    turned: bool = False
    linear: bool = False

    def transposed(self) -> Picture:
        """Rows become columns. The boxes stay those of the picture as it lies."""
        across, down = self.size
        return replace(
            self, size=(down, across), width=self.height, height=self.width, turned=not self.turned
        )


@dataclass(frozen=True, eq=False)
class Tile:
    """What a picture gives to a canvas: where (x1, y1, x2, y2: all of it), which part, in what colours."""

    area: tuple[int, int, int, int]
    placement: Placement
    colour: Colour

    def paint(self, image: Image, canvas: Image) -> None:
        """``image``, BGR, onto ``canvas``, RGB."""
        x1, y1, x2, y2 = self.area
        self.placement.paint(image, canvas[y1:y2, x1:x2], self.colour)


def is_transposed(augment: AugmentConfig, rng: np.random.Generator) -> bool:
    return augment.transpose > 0 and rng.random() < augment.transpose


def window(
    picture: Picture, area: tuple[int, int], augment: AugmentConfig, rng: np.random.Generator
) -> Placement:
    """A random place of the picture under an area of (width, height); a smaller one lies inside it."""
    flip_x, flip_y, zoom = draw_flips_and_zoom(augment, rng)
    at_x, at_y = rng.random(2).tolist()
    width, height = picture.width * zoom, picture.height * zoom
    return Placement(
        Span.placed(picture.size[0], at_x * (area[0] - width), width, area[0], flip_x),
        Span.placed(picture.size[1], at_y * (area[1] - height), height, area[1], flip_y),
        picture.turned,
        picture.linear,
    )


def letterboxed(picture: Picture, place: Letterbox) -> tuple[Tile, Floats, Ints]:
    """The whole picture in its letterbox: its tile, its boxes in pixels of the input, its labels."""
    placement = Placement(
        Span.placed(picture.size[0], place.left, place.new_w, place.input_w, False),
        Span.placed(picture.size[1], place.top, place.new_h, place.input_h, False),
        linear=picture.linear,
    )
    tile = Tile((0, 0, place.input_w, place.input_h), placement, Colour(None))
    return tile, placement.boxes(picture.boxes), picture.labels


def augmented(
    picture: Picture, place: Letterbox, augment: AugmentConfig, rng: np.random.Generator
) -> tuple[Tile, Floats, Ints]:
    """A picture over the whole input, changed from where its letterbox ``place`` would put it: its tile, its
    boxes in pixels of the input without those cut below ``min_visible``, and their labels.

    A transposed one has another shape than its letterbox: a window of it is taken, at the same scale.
    """
    colour = Colour.draw(augment, rng)
    input_wh = place.input_w, place.input_h
    if is_transposed(augment, rng):
        picture = picture.transposed()
        placement = window(picture, input_wh, augment, rng)
    else:
        placement = _moved(picture, place, augment, rng)
    area = (0, 0, *input_wh)
    boxes, keep = visible_part(placement.boxes(picture.boxes), area, augment.min_visible)
    return Tile(area, placement, colour), boxes[keep], picture.labels[keep]


def _moved(picture: Picture, place: Letterbox, augment: AugmentConfig, rng: np.random.Generator) -> Placement:
    """Zoomed about its middle and shifted from its letterbox."""
    flip_x, flip_y, zoom = draw_flips_and_zoom(augment, rng)
    across, down = rng.uniform(-augment.translate, augment.translate, 2) if augment.translate else (0.0, 0.0)
    width, height = picture.width * zoom, picture.height * zoom
    left = place.left + (picture.width - width) / 2 + float(across) * place.input_w
    top = place.top + (picture.height - height) / 2 + float(down) * place.input_h
    return Placement(
        Span.placed(picture.size[0], left, width, place.input_w, flip_x),
        Span.placed(picture.size[1], top, height, place.input_h, flip_y),
        linear=picture.linear,
    )


def _scaled(seen: Image, width: int, height: int, linear: bool) -> Image:
    """A part of a picture, of a transposed one too: that is scaled as it lies in memory and turned then."""
    if seen.strides[0] >= seen.strides[1]:
        return resized(seen, width, height, linear)
    return cv2.transpose(resized(seen.swapaxes(0, 1), height, width, linear))  # type: ignore[return-value]


def _areas(boxes: Floats) -> Floats:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _turned(angle: float) -> tuple[tuple[float, float, float], ...]:
    """The turn about the grey axis that takes red towards green, for BGR: a third of a circle makes red
    green, green blue and blue red."""
    own, half = (1 + 2 * math.cos(angle)) / 3, (1 - math.cos(angle)) / 3
    ahead, behind = half + math.sin(angle) / math.sqrt(3), half - math.sin(angle) / math.sqrt(3)
    return (own, ahead, behind), (behind, own, ahead), (ahead, behind, own)
