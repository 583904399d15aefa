"""A heat map's colours and shades. Colours repeat what shades and signs say: nothing is lost without them."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from rich.color import Color
from rich.style import Style

LEVELS = 40
"""Colours from nothing to the end of a scale."""
SHADES = "·░▒▓█"
NEGATIVE_SHADES = "·-=≡▤"
"""Where a cell is one column wide and its sign has no column of its own."""
SHADE_LIMITS = (0.05, 0.3, 0.55, 0.8)

RGB = tuple[int, int, int]
Palette = Literal["rising", "below", "above"]

_STOPS: dict[tuple[bool, Palette], tuple[str, ...]] = {
    (True, "rising"): ("#1d2740", "#2c4f86", "#2a8ea0", "#5cc98a", "#f4e04d"),
    (True, "below"): ("#1c2333", "#29508f", "#3f86dd", "#6fb6ff", "#b4dcff"),
    (True, "above"): ("#2b2320", "#7a4620", "#c9702a", "#ff9d4d", "#ffd3a1"),
    (False, "rising"): ("#eef2f4", "#bcd9ea", "#5fa5cf", "#1f6db0", "#08306b"),
    (False, "below"): ("#eef1f6", "#b7d0ee", "#6b9fdc", "#2c68b8", "#0b3a80"),
    (False, "above"): ("#f7efe9", "#f3c5a1", "#e08a4a", "#b85310", "#7a2e00"),
}


def rgb(text: str) -> RGB:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def blend(one: RGB, other: RGB, share: float) -> RGB:
    """``one`` at 0, ``other`` at 1."""
    r, g, b = (round(a + (c - a) * share) for a, c in zip(one, other, strict=True))
    return r, g, b


def shade(share: float, alphabet: str = SHADES) -> str:
    """The shade of a magnitude, 0..1 of the scale."""
    return alphabet[sum(share >= limit for limit in SHADE_LIMITS)]


@lru_cache(maxsize=1024)
def cell_styles(dark: bool, ground: RGB, level: int, diverging: bool) -> tuple[Style, Style]:
    """The style of a cell's shade and of the mark beside it, at a level of -LEVELS..LEVELS."""
    palette: Palette = "rising" if not diverging else "below" if level < 0 else "above"
    front = _at(_STOPS[dark, palette], abs(level) / LEVELS)
    back = blend(ground, front, 0.12 + 0.5 * abs(level) / LEVELS)
    bright = 0.3 * back[0] + 0.59 * back[1] + 0.11 * back[2] > 128
    mark = (0, 0, 0) if bright else (255, 255, 255)
    if level == 0:
        front = blend(ground, (128, 136, 150), 0.55)
    return (
        Style(color=Color.from_rgb(*front), bgcolor=Color.from_rgb(*back)),
        Style(color=Color.from_rgb(*mark), bgcolor=Color.from_rgb(*back), bold=True),
    )


def _at(stops: tuple[str, ...], share: float) -> RGB:
    place = share * (len(stops) - 1)
    k = min(int(place), len(stops) - 2)
    return blend(rgb(stops[k]), rgb(stops[k + 1]), place - k)
