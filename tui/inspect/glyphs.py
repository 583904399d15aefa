"""What a cell of the heat map looks like: a mark, a shade, brackets; readable without any colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style

from ..format import digits3
from .colours import LEVELS, NEGATIVE_SHADES, SHADES, shade

NUMBER_WIDTH = 10
"""Columns of a cell that shows its number."""
TRUTH, TRUTH_ABOVE, TRUTH_BELOW = "●", "⊕", "⊖"
SIGN_LEVEL = LEVELS * 0.05
"""From here on a sign is shown."""


def levels_of(values: NDArray[np.float32], scale: tuple[float, float], diverging: bool) -> NDArray[np.int64]:
    """Finite values -> -LEVELS..LEVELS (diverging) or 0..LEVELS of a scale; beyond it is at its end."""
    low, high = scale
    shares = values / high if diverging else (values - low) / (high - low)
    clipped = np.clip(shares, -1 if diverging else 0, 1)
    # the small addition keeps a value that stands on a limit from falling below it by rounding
    levels: NDArray[np.int64] = np.trunc(clipped * LEVELS + np.sign(clipped) * 1e-6).astype(np.int64)
    return levels


def cell_text(value: float, level: int, truth: bool, diverging: bool, cell: int) -> tuple[str, str]:
    """The mark and what follows it. Only the widest cells look at ``value`` itself."""
    signed = diverging and abs(level) >= SIGN_LEVEL
    if truth:
        mark = (TRUTH_ABOVE if level > 0 else TRUTH_BELOW) if signed else TRUTH
    else:
        mark = ("+" if level > 0 else "-") if signed and cell > 1 else " "
    if cell == 1:
        return mark, shade(abs(level) / LEVELS, NEGATIVE_SHADES if level < 0 else SHADES)
    if cell == NUMBER_WIDTH:
        return (mark if truth else " "), digits3(value).rjust(cell - 1)
    body = shade(abs(level) / LEVELS)
    return mark, body * (cell - 1) if body != SHADES[0] else body.ljust(cell - 1)


def styled(mark: str, body: str, styles: tuple[Style, Style], cell: int) -> list[tuple[str, Style]]:
    """With the shade's style and the mark's."""
    if cell == 1:
        return [(mark, styles[1])] if mark != " " else [(body, styles[0])]
    return [(mark + body, styles[0])] if mark == " " else [(mark, styles[1]), (body, styles[0])]


def nonfinite_text(value: float, cell: int) -> tuple[str, str]:
    if cell == 1:
        return "!", ""
    name = "NaN" if value != value else "inf" if value > 0 else "-inf"
    if cell == 2:
        name = "!N" if value != value else "!∞"
    if cell == 3 and value < 0:
        name = "-∞"
    text = name.center(cell)[:cell]
    return text[0], text[1:]


def bracketed(mark: str, body: str, cell: int) -> str:
    """The focused cell."""
    shown = mark if mark in (TRUTH, TRUTH_ABOVE, TRUTH_BELOW) else body[:1]
    if cell == 1:
        return mark if mark.strip() else "▣"
    if cell == 2:
        return f"[{shown}"
    if cell == 3:
        return f"[{shown}]"
    return f"[{body.strip().center(cell - 2)}]"[:cell]


def joined(pieces: list[tuple[str, Style]]) -> list[Segment]:
    """Neighbours of one style as one segment."""
    segments: list[Segment] = []
    text, style = "", None
    for part, each in pieces:
        if each is style:
            text += part
            continue
        if text:
            segments.append(Segment(text, style))
        text, style = part, each
    if text:
        segments.append(Segment(text, style))
    return segments
