"""Boxes that a crop or shift cuts: from where the paint's edges went, where every box must end is known.

Only draws in which these edges prove one map along each axis (scale, shift, mirror) are judged; turned and
warped pictures are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..findings import Finding
from .shots import Shot, picture

Call = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]

CLOSE = 2.5
"""Pixels of rounding that a map's proof allows."""
LEAST = 150.0
"""Square pixels from which a visible box counts."""
EDGES = (("x", "w", (0, 2)), ("y", "h", (1, 3)))


def judge_cut(shots: Sequence[Shot]) -> list[Finding]:
    """A cut box frames what is left of its object, or has no area; a box outside has none."""
    wrong: dict[int, str] = {}
    judged = 0
    channels: set[str] = set()
    for number, shot in enumerate(shots):
        expected = _expected(shot)
        if expected is None:
            continue
        for got, want in zip(shot.boxes, expected, strict=True):
            seen, due = _within(got, shot), _within(want, shot)
            cut = bool(np.abs(due - want).max() > CLOSE)
            if not cut:
                continue
            judged += 1
            if _area(seen) <= 0 or _area(seen) < LEAST > _area(due):
                continue  # gone, as a box may be that is cut
            if _area(due) >= LEAST and _overlap(seen, due) >= 0.7:
                continue
            if _area(due) < LEAST and _area(seen) < 3 * LEAST:
                continue
            wrong.setdefault(number, f"draw {number}: label {_text(got)}, where {_text(due)} is left")
            channels |= _displaced(seen, due)
    if len(wrong) < 2:
        return []
    return [
        Finding(
            "error",
            "transform.cut",
            "transform",
            f"boxes that the border cuts come back wrong, in {len(wrong)} of {len(shots)} draws, while "
            "whole ones are right",
            tensor="boxes",
            channels=tuple(n for n in "xywh" if n in channels),
            expected="what is left of the box within the returned picture, or no area",
            got=next(iter(wrong.values())),
            fix="move the boxes first, then clip x to 0..width and y to 0..height of the returned picture",
        )
    ]


def judge_whole(shots: Sequence[Shot]) -> list[Finding]:
    """A box whose whole object is still there is not cut: where it was, the picture's sides were confused."""
    wrong: dict[int, str] = {}
    channels: set[str] = set()
    for number, shot in enumerate(shots):
        expected = _expected(shot)
        if expected is None:
            continue
        for got, want, paint in zip(shot.boxes, expected, shot.paint, strict=True):
            there = paint is not None and _overlap(paint, want) >= 0.8
            inward = min(float((got - want)[:2].min()), float((want - got)[2:].min())) > -CLOSE
            if not there or not inward or _area(got) <= 0 or _overlap(got, want) >= 0.7:
                continue
            wrong.setdefault(number, f"draw {number}: label {_text(got)}, where {_text(want)} is left")
            channels |= _displaced(got, want)
    if len(wrong) < 2:
        return []
    return [
        Finding(
            "error",
            "transform.cut",
            "transform",
            f"boxes are cut though their objects are in the picture as a whole, in {len(wrong)} of "
            f"{len(shots)} draws",
            tensor="boxes",
            channels=tuple(n for n in "xywh" if n in channels),
            expected="the box of the whole object",
            got=next(iter(wrong.values())),
            fix="clip x to 0..width and y to 0..height: image.shape[:2] is height, width",
        )
    ]


def _displaced(box: np.ndarray, wanted: np.ndarray) -> set[str]:
    """The channels of the edges that are not where they should be; both ``[4]`` corners in pixels."""
    off = np.abs(box - wanted)
    return {name for low, high, columns in EDGES if off[list(columns)].max() > CLOSE for name in (low, high)}


def judge_outside(call: Call, draws: int) -> list[Finding]:
    """Boxes along all borders that come to lie wholly beyond the returned picture have no area: one that does
    was clipped by another picture's sides, or not at all."""
    beyond: dict[int, str] = {}
    sides: set[str] = set()
    for number in range(draws):
        picture_, _ = picture(number)
        out, boxes = call(picture_, _along_borders(*picture_.shape[:2]), 500 + number)
        height, width = out.shape[:2]
        for box in boxes:
            inside = np.clip(box, 0, [width, height, width, height])
            if _area(box) < LEAST or _area(inside) > 0:
                continue
            beyond.setdefault(
                number, f"draw {number}: label {_text(box)}, picture {width} wide and {height} high"
            )
            for name, low, high, side in (("x", box[0], box[2], width), ("y", box[1], box[3], height)):
                if low >= side or high <= 0:
                    sides.add(name)
    if len(beyond) < 2:
        return []
    return [
        Finding(
            "error",
            "transform.cut",
            "transform",
            f"boxes beyond the returned picture keep their area, in {len(beyond)} of {draws} draws",
            tensor="boxes",
            channels=tuple(n for n in ("x", "y") if n in sides),
            expected="a box that leaves the picture comes back with no area",
            got=next(iter(beyond.values())),
            fix="clip to the returned picture: image.shape[:2] is height, width; cv2 takes (width, height)",
        )
    ]


def _along_borders(height: int, width: int) -> np.ndarray:
    side = 34
    xs, ys = (0, (width - side) // 2, width - side), (0, (height - side) // 2, height - side)
    rows = [[x, y, x + side, y + side] for x in xs for y in ys if (x, y) != (xs[1], ys[1])]
    return np.array(rows, np.float32)


def _expected(shot: Shot) -> np.ndarray | None:
    """``[N, 4]``: all boxes by the map that the paint proves, unclipped; None where it proves none."""
    height, width = shot.image.shape[:2]
    painted = [k for k, paint in enumerate(shot.paint) if paint is not None]
    if len(painted) < 2:
        return None
    paint = np.stack([p for p in shot.paint if p is not None])
    result = np.zeros_like(shot.boxes)
    for (_, _, columns), side in zip(EDGES, (width, height), strict=True):
        line = _line(shot.original[np.ix_(painted, columns)], paint[:, columns], side)
        if line is None:
            return None
        result[:, columns] = np.sort(shot.original[:, columns] * line[0] + line[1], axis=1)
    return result


def _line(before: np.ndarray, after: np.ndarray, side: int) -> tuple[float, float] | None:
    """Scale and shift of one axis, by the paint's edges clear of the border; mirrored ones change places."""
    clear = (after > 2) & (after < side - 2)
    if clear.sum() < 4 or clear.any(axis=1).sum() < 2:
        return None
    for mirrored in (False, True):
        x = (before[:, ::-1] if mirrored else before)[clear]
        y = after[clear]
        scale, shift = np.polyfit(x, y, 1)
        if (scale < 0) == mirrored and np.abs(x * scale + shift - y).max() < CLOSE:
            return float(scale), float(shift)
    return None


def _within(box: np.ndarray, shot: Shot) -> np.ndarray:
    height, width = shot.image.shape[:2]
    inside: np.ndarray = np.clip(box, 0, [width, height, width, height])
    return inside


def _area(box: np.ndarray) -> float:
    return float(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]))


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    common = _area(np.concatenate((np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:]))))
    return common / max(_area(a) + _area(b) - common, 1e-9)


def _text(box: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.0f}" for value in box) + ")"
