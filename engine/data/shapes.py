"""The pictures of the demo set: shapes on a textured ground, drawn from a random generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .sample import Image

CLASSES = ("ring", "square", "triangle", "star", "cross")
WIDTH, HEIGHT = 320, 240
SIZES = (22, 104)
"""Diameter of a shape's circumscribed circle, in pixels; drawn log-uniformly."""
LEAST_VISIBLE = 0.6
"""Share of a shape that the shapes over it and the picture's border leave to be seen."""

Outline = NDArray[np.float64]
Canvas = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Shape:
    """One drawn object; ``box`` x1, y1, x2, y2 in pixels, what lies inside the picture."""

    name: str
    box: tuple[float, float, float, float]
    cut: bool
    """Whether the picture's border cuts it."""
    hidden: bool
    """Whether another shape covers a part of it."""


def draw_scene(rng: np.random.Generator) -> tuple[Image, list[Shape]]:
    """A picture ``[HEIGHT, WIDTH, 3]`` BGR uint8 with up to seven shapes."""
    canvas = _ground(rng)
    for _ in range(rng.integers(8, 20)):
        _clutter(canvas, rng)
    placed: list[_Placed] = []
    for _ in range(rng.integers(2, 8)):
        tries = (_propose(rng) for _ in range(20))
        candidate = next((shape for shape in tries if _fits(shape, placed)), None)
        if candidate is not None:
            placed.append(candidate)
            _paint(canvas, candidate, rng)
    for _ in range(rng.integers(0, 4)):
        ends = rng.uniform((0, 0), (WIDTH, HEIGHT), (2, 2))
        _blend(canvas, _stencil([ends], 1), _colour(rng, (0.1, 0.95)))
    canvas += rng.standard_normal(canvas.shape, np.float32) * np.float32(rng.uniform(1, 5))
    image = np.clip(np.round(canvas), 0, 255).astype(np.uint8)
    return image, [shape.finished(placed[k + 1 :]) for k, shape in enumerate(placed)]


@dataclass(frozen=True, eq=False)
class _Placed:
    name: str
    outlines: list[Outline]
    """Polygons ``[P, 2]`` in pixels, filled by the even-odd rule."""
    size: float
    mask: Mask
    full_area: float

    def visible_under(self, others: list[_Placed]) -> float:
        seen = self.mask
        for other in others:
            seen = seen & ~other.mask
        return float(np.count_nonzero(seen)) / self.full_area

    def finished(self, over: list[_Placed]) -> Shape:
        low, high = self.outlines[0].min(axis=0), self.outlines[0].max(axis=0)
        box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        cut = box[0] < 0 or box[1] < 0 or box[2] > WIDTH or box[3] > HEIGHT
        if cut:  # what is left may reach less far than its outline: a triangle without its tip
            columns, rows = np.flatnonzero(self.mask.any(axis=0)), np.flatnonzero(self.mask.any(axis=1))
            box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        hidden = any(bool((self.mask & other.mask).any()) for other in over)
        return Shape(self.name, box, cut, hidden)


@dataclass(frozen=True, eq=False)
class _Stencil:
    """Where to put colour: ``alpha`` ``[h, w]`` 0..1, smooth at the edges, and its place in the picture."""

    alpha: NDArray[np.float32]
    rows: slice
    columns: slice


def _stencil(parts: list[Outline], thickness: float = 0, closed: bool = False) -> _Stencil:
    """Polygons filled by the even-odd rule, or lines of a thickness in pixels along them."""
    points = np.concatenate(parts)
    spare = thickness / 2 + 2
    left, top = np.clip(np.floor(points.min(axis=0) - spare), 0, (WIDTH, HEIGHT)).astype(int).tolist()
    right, bottom = np.clip(np.ceil(points.max(axis=0) + spare), 0, (WIDTH, HEIGHT)).astype(int).tolist()
    mask = np.zeros((bottom - top, right - left), np.uint8)
    if mask.size:
        # sixteenths of a pixel; OpenCV counts from the pixels' centres
        local = [np.round((part - (left + 0.5, top + 0.5)) * 16).astype(np.int32) for part in parts]
        if thickness:
            cv2.polylines(mask, local, closed, 255, max(round(thickness), 1), cv2.LINE_AA, 4)
        else:
            cv2.fillPoly(mask, local, 255, cv2.LINE_AA, 4)
    return _Stencil(mask.astype(np.float32) / np.float32(255), slice(top, bottom), slice(left, right))


def _blend(canvas: Canvas, stencil: _Stencil, colour: Canvas, share: float = 1.0) -> None:
    """``colour``: ``[3]`` or one a pixel of the stencil."""
    under = canvas[stencil.rows, stencil.columns]
    under += (colour - under) * (stencil.alpha * np.float32(share))[..., None]


def _propose(rng: np.random.Generator) -> _Placed:
    name = CLASSES[rng.integers(len(CLASSES))]
    size = math.exp(rng.uniform(*np.log(SIZES)))
    centre = rng.uniform((0, 0), (WIDTH, HEIGHT))
    turn = rng.uniform(0, 2 * math.pi)
    stretch = np.array([1.0, rng.uniform(0.8, 1.25)])
    outlines = [centre + size / 2 * _turned(part * stretch, turn) for part in _OUTLINES[name](rng)]
    stencil = _stencil(outlines)
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[stencil.rows, stencil.columns] = stencil.alpha > 0.5
    areas = [abs(_area(part)) for part in outlines]
    return _Placed(name, outlines, size, mask, max(areas[0] - sum(areas[1:]), 1.0))


def _fits(new: _Placed, placed: list[_Placed]) -> bool:
    everything = [*placed, new]
    return all(
        shape.visible_under(everything[k + 1 :]) >= LEAST_VISIBLE for k, shape in enumerate(everything)
    )


def _ring(rng: np.random.Generator) -> list[Outline]:
    angles = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    circle = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    return [circle, circle * rng.uniform(0.45, 0.7)]


def _square(rng: np.random.Generator) -> list[Outline]:
    return [_corners(4)]


def _triangle(rng: np.random.Generator) -> list[Outline]:
    return [_corners(3)]


def _star(rng: np.random.Generator) -> list[Outline]:
    star = _corners(10)
    star[1::2] *= rng.uniform(0.4, 0.5)
    return [star]


def _cross(rng: np.random.Generator) -> list[Outline]:
    a = rng.uniform(0.22, 0.34)
    b = math.sqrt(1 - a * a)
    return [
        np.array(
            [
                (a, b),
                (a, a),
                (b, a),
                (b, -a),
                (a, -a),
                (a, -b),
                (-a, -b),
                (-a, -a),
                (-b, -a),
                (-b, a),
                (-a, a),
                (-a, b),
            ]
        )
    ]


_OUTLINES: dict[str, Callable[[np.random.Generator], list[Outline]]] = {
    "ring": _ring,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
}


def _corners(count: int) -> Outline:
    angles = np.arange(count) * 2 * math.pi / count
    return np.stack((np.cos(angles), np.sin(angles)), axis=1)


def _turned(points: Outline, angle: float) -> Outline:
    cos, sin = math.cos(angle), math.sin(angle)
    turned: Outline = points @ np.array([[cos, sin], [-sin, cos]])
    return turned


def _area(points: Outline) -> float:
    x, y = points.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _colour(rng: np.random.Generator, light: tuple[float, float]) -> Canvas:
    """Any hue, so that no colour tells the class."""
    hsv = np.array([[[rng.uniform(0, 360), rng.uniform(0.25, 0.9), rng.uniform(*light)]]], np.float32)
    colour: Canvas = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32) * np.float32(255)
    return colour


def _noise(rng: np.random.Generator, octaves: tuple[int, ...]) -> Canvas:
    """Smooth noise ``[H, W]`` of about -1..1: coarse grids of random values, blown up and summed."""
    total = np.zeros((HEIGHT, WIDTH), np.float32)
    for cells in octaves:
        grid = rng.normal(0, 0.45, (max(cells * 3 // 4, 2), cells)).astype(np.float32)
        total += cv2.resize(grid, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return total


def _ground(rng: np.random.Generator) -> Canvas:
    first, second = _colour(rng, (0.15, 0.75)), _colour(rng, (0.15, 0.75))
    second = first + (second - first) * np.float32(rng.uniform(0.3, 0.8))
    blend = np.clip(0.5 + 0.45 * _noise(rng, (4, 9)), 0, 1)[..., None]
    grain = _noise(rng, (40, 90))[..., None] * np.float32(rng.uniform(3, 14))
    ground: Canvas = first + (second - first) * blend + grain
    return np.ascontiguousarray(ground, np.float32)


def _clutter(canvas: Canvas, rng: np.random.Generator) -> None:
    """Things that are no shape of ours: strokes, arcs, dots and blobs, half transparent."""
    colour = _colour(rng, (0.1, 0.95))
    at = rng.uniform((0, 0), (WIDTH, HEIGHT))
    reach, turn = rng.uniform(8, 60), rng.uniform(0, 2 * math.pi)
    thickness = float(rng.integers(1, 4))
    kind = rng.integers(4)
    if kind == 0:
        part = np.array([[0.0, 0.0], [reach, 0.0]])
    elif kind == 1:
        bow = np.linspace(0, math.radians(140), 24)
        part = np.stack((np.cos(bow) * reach / 2, np.sin(bow) * reach / 3), axis=1)
    elif kind == 2:
        part, thickness = _corners(24) * rng.uniform(1.5, 5), 0
    else:
        angles = np.sort(rng.uniform(0, 2 * math.pi, 9))
        radii = rng.uniform(0.3, 1, 9) * min(reach, 26) / 2
        part, thickness = radii[:, None] * np.stack((np.cos(angles), np.sin(angles)), axis=1), 0
    _blend(canvas, _stencil([at + _turned(part, turn)], thickness), colour, float(rng.uniform(0.3, 0.8)))


def _paint(canvas: Canvas, shape: _Placed, rng: np.random.Generator) -> None:
    """A soft shadow, then the shape in a shaded colour that stands off its ground, filled or with a rim."""
    body = _stencil(shape.outlines)
    _shadow(canvas, shape, float(rng.uniform(0, 0.45)))
    under = canvas[shape.mask].mean(axis=0)
    tries = [_colour(rng, (0.3, 1.0)) for _ in range(12)]
    colour = next((one for one in tries if np.abs(one - under).sum() > 110), tries[-1])
    slope = rng.uniform(-0.25, 0.25, 2)
    rows, columns = np.ogrid[body.rows, body.columns]
    middle = shape.outlines[0].mean(axis=0)
    shade = 1 + (slope[0] * (columns - middle[0]) + slope[1] * (rows - middle[1])) / shape.size
    shade = np.clip(shade, 0.6, 1.4).astype(np.float32)[..., None]
    rim, has_rim = colour * np.float32(rng.choice([0.55, 1.4])), rng.random() < 0.6
    paint = colour * shade
    if has_rim:
        edge = _stencil(shape.outlines, shape.size * 0.07, closed=True)
        trim = np.zeros((HEIGHT, WIDTH), np.float32)
        trim[edge.rows, edge.columns] = edge.alpha
        paint = paint + (rim.clip(0, 255) - paint) * trim[body.rows, body.columns, None]
    _blend(canvas, body, paint)


def _shadow(canvas: Canvas, shape: _Placed, depth: float) -> None:
    """Drawn a little off the shape, blurred by as much."""
    drop = shape.size * 0.05
    reach = math.ceil(3 * drop) + 3
    rows, columns = np.flatnonzero(shape.mask.any(axis=1)), np.flatnonzero(shape.mask.any(axis=0))
    top, bottom = max(rows[0] - reach, 0), min(rows[-1] + reach, HEIGHT)
    left, right = max(columns[0] - reach, 0), min(columns[-1] + reach, WIDTH)
    near = shape.mask[top:bottom, left:right].astype(np.float32)
    moved = cv2.warpAffine(near, np.array([[1, 0, drop], [0, 1, drop]]), (right - left, bottom - top))
    soft = cv2.GaussianBlur(moved, (0, 0), max(drop, 0.7))
    canvas[top:bottom, left:right] *= 1 - np.float32(depth) * soft[..., None]
