"""What was done to the picture and not to its boxes: each way tried out on the labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from .shots import GOOD, Shot, overlap, picture, visible


def changes_of(seed: int, shot: Shot) -> list[tuple[str, Any]]:
    """What may have been forgotten, as a change of the label; text|channels."""
    image, original = picture(seed)
    height, width = shot.image.shape[:2]
    was_h, was_w = image.shape[:2]
    whole = np.array([width, height] * 2, np.float32)
    was = np.array([was_w, was_h] * 2, np.float32)

    def mirrored(box: np.ndarray, x: bool, y: bool) -> np.ndarray:
        x1, y1, x2, y2 = box
        if x:
            x1, x2 = width - x2, width - x1
        if y:
            y1, y2 = height - y2, height - y1
        return np.array([x1, y1, x2, y2], np.float32)

    scale = min(width / was_w, height / was_h)
    pad = np.array([(width - was_w * scale) / 2, (height - was_h * scale) / 2] * 2, np.float32)
    changes: list[tuple[str, Any]] = [
        (
            "the picture is mirrored left to right, the boxes are not (or the other way round)|x",
            lambda b: mirrored(b, True, False),
        ),
        (
            "the picture is mirrored top to bottom, the boxes are not (or the other way round)|y",
            lambda b: mirrored(b, False, True),
        ),
        (
            "picture and boxes are turned by 180 degrees against each other|x y",
            lambda b: mirrored(b, True, True),
        ),
        ("x and y of the boxes are swapped|x y", lambda b: b[[1, 0, 3, 2]]),
        ("the boxes are not scaled with the picture|x y w h", lambda b: b * whole / was),
        ("the boxes are scaled twice|x y w h", lambda b: b * was / whole),
        ("the boxes are fractions of the picture, not pixels|x y w h", lambda b: b * whole),
        ("the boxes lack the border of the letterbox|x y", lambda b: b + pad),
        ("the boxes got the border of the letterbox twice|x y", lambda b: b - pad),
        ("the boxes are in pixels of the picture before the letterbox|x y w h", lambda b: b * scale + pad),
        ("x1, y1, w, h is returned instead of corners|w h", lambda b: np.concatenate((b[:2], b[:2] + b[2:]))),
        (
            "cx, cy, w, h is returned instead of corners|x y w h",
            lambda b: np.concatenate((b[:2] - b[2:] / 2, b[:2] + b[2:] / 2)),
        ),
        (
            "the boxes are mirrored about the height instead of the width|x",
            lambda b: b + np.array([width - height, 0, width - height, 0], np.float32),
        ),
        (
            "the boxes are mirrored about the width instead of the height|y",
            lambda b: b + np.array([0, height - width, 0, height - width], np.float32),
        ),
    ]
    offsets = [
        p - visible(b, shot.image) for b, p in zip(shot.boxes, shot.paint, strict=True) if p is not None
    ]
    if offsets:
        shift = np.median(np.array(offsets), axis=0)
        if abs(shift[0] - shift[2]) < 4 and abs(shift[1] - shift[3]) < 4:
            names = " ".join(n for n, s in (("x", shift[0]), ("y", shift[1])) if abs(s) > 3)
            changes.append(
                (f"the picture is shifted, the boxes are not|{names or 'x y'}", lambda b: b + shift)
            )
    order = _order(shot)
    if order:
        changes.insert(
            0, ("the boxes come back in another order|x y w h", lambda b: _reordered(b, shot, order))
        )
    del original
    return changes


def _order(shot: Shot) -> list[int]:
    """Which label frames which paint, where that is a permutation and not the identity."""
    found = []
    for paint in shot.paint:
        if paint is None:
            return []
        scores = [overlap(visible(box, shot.image), paint) for box in shot.boxes]
        found.append(int(np.argmax(scores)) if max(scores) > GOOD else -1)
    return found if sorted(found) == list(range(len(found))) and found != list(range(len(found))) else []


def _reordered(box: np.ndarray, shot: Shot, order: list[int]) -> np.ndarray:
    for k, other in enumerate(shot.boxes):
        if other is box or np.array_equal(other, box):
            result: np.ndarray = shot.boxes[order[k]]
            return result
    return box
