"""Parts of a chart's picture: smoothing, and rows of characters as pieces of one style."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from ..history import Floats
from .panel import Piece

DASH = 2
"""Characters in a dash of another run's curve, and in the hole after it."""


def smoothed(values: Floats, span: float) -> Floats:
    """Mean weighted by e^-(distance / ``span``) to both sides, so that the curve does not lag behind a trend.

    NaN has no weight and stays NaN. The newest columns know no future and lean on the past alone.
    """
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    total, weight = filled.copy(), known.astype(float)
    keep = math.exp(-1 / span)
    for order in (slice(None), slice(None, None, -1)):
        before = weight_before = 0.0
        sums, weights = np.empty(len(values)), np.empty(len(values))
        for k, (value, one) in enumerate(zip(filled[order].tolist(), known[order].tolist(), strict=True)):
            sums[k], weights[k] = before, weight_before
            before, weight_before = (before + value) * keep, (weight_before + one) * keep
        total += sums[order]
        weight += weights[order]
    result: Floats = np.divide(total, weight, out=np.full(len(values), np.nan), where=known)
    return result


def fitting(left: list[Piece], optional: list[Piece], width: int) -> list[Piece]:
    """Those of ``optional`` that fit beside ``left`` in a title rule."""
    used = sum(len(text) for text, _ in left) + 2
    chosen: list[Piece] = []
    for piece in optional:
        if used + len(piece[0]) <= width:
            chosen.append(piece)
            used += len(piece[0])
    return chosen


def layered(layers: list[tuple[np.ndarray, str]]) -> list[list[Piece]]:
    """Rows of pieces from pictures of code points, the first on top, whose style a cell has.

    Two lines in one cell show the dots of both; of a band only the rest of the cells.
    """
    codes = np.full(layers[0][0].shape, ord(" "), dtype=np.uint16)
    style = np.full(codes.shape, len(layers) - 1)
    bands = np.array([name == "band" for _, name in layers])
    for k in reversed(range(len(layers))):
        picture = layers[k][0]
        there = picture != ord(" ")
        # Braille patterns differ in their dots' bits alone: or-ing two of them joins the dots.
        both = there & (codes != ord(" ")) & ~bands[style]
        codes[there], style[there] = np.where(both, picture | codes, picture)[there], k
    names = [name for _, name in layers]
    rows: list[list[Piece]] = []
    for line, kinds in zip(codes, style, strict=True):
        text = line.astype("<u2").tobytes().decode("utf-16-le")
        cuts = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(text)]
        rows.append([(text[a:b], names[kinds[a]]) for a, b in pairwise(cuts) if b > a])
    return rows


def dashed(codes: np.ndarray) -> np.ndarray:
    """A picture with every other few columns left out, so that it needs no colour to be told."""
    columns = np.arange(codes.shape[1]) // DASH % 2 == 0
    return np.where(columns, codes, ord(" "))


def marked(pieces: list[Piece], column: int, style: str, blank: str, sign: str = "") -> list[Piece]:
    """The character at ``column`` in another style: ``sign``, or itself, or ``blank`` where there is none."""
    found: list[Piece] = []
    at = 0
    for text, name in pieces:
        k = column - at
        if 0 <= k < len(text):
            shown = sign or (text[k] if text[k] != " " else blank)
            found += [(text[:k], name), (shown, style), (text[k + 1 :], name)]
        else:
            found.append((text, name))
        at += len(text)
    return [piece for piece in found if piece[0]]
