"""Boxes brought into their picture: what has no area or lies outside is dropped, what sticks out is cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .sample import Bools, Floats, Problem

ROUNDING = 0.5
"""Pixels a box may stick out before it is called a problem: rounding of labels does that much."""


def clip_boxes(
    boxes: np.ndarray, size: tuple[int, int], path: str, names: Sequence[str]
) -> tuple[Floats, Bools, list[Problem]]:
    """Boxes ``[N, 4]`` x1, y1, x2, y2 in pixels and a picture's (width, height) ->
    the boxes clipped, ``[N]`` which to keep, and a ``Problem`` for each one dropped or cut."""
    width, height = size
    limit = np.array([width, height] * 2, np.float64)
    clipped = np.clip(boxes, 0, limit)
    keep = np.ones(len(boxes), np.bool_)
    problems: list[Problem] = []
    for row, (box, inside) in enumerate(zip(boxes, clipped, strict=True)):
        kind = _fault(box, inside)
        if not kind:
            continue
        keep[row] = kind == "box clipped"
        at = ", ".join(f"{value:g}" for value in box)
        text = f"{names[row]} at {at} in {width}x{height} px"
        problems.append(Problem(kind, path, text, cut=_cut(box, inside) if keep[row] else 0.0))
    return clipped.astype(np.float32), keep, problems


def _cut(box: np.ndarray, inside: np.ndarray) -> float:
    left = (inside[2:] - inside[:2]).prod() / (box[2:] - box[:2]).prod()
    return round(1 - float(left), 4)


def _fault(box: np.ndarray, inside: np.ndarray) -> str:
    if not np.isfinite(box).all():
        return "box outside the image"
    if box[2] <= box[0] or box[3] <= box[1]:
        return "zero-area box"
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        return "box outside the image"
    return "box clipped" if np.abs(box - inside).max() > ROUNDING else ""
