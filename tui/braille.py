"""Curves as Braille characters: a cell of text holds 2 x 4 dots.

Pure numpy, no terminal: a canvas of dots, the vertical spans of a curve's columns, and the axis that
turns values into rows and back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Dots = NDArray[np.bool_]
"""``[4 * rows, 2 * columns]``, row 0 at the top."""

# The bit of each dot in U+2800.., by row and column within the cell (Unicode 16, Braille Patterns).
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint16)


@dataclass(frozen=True)
class Axis:
    """Values from ``low`` (bottom) to ``high`` (top), linear or logarithmic."""

    low: float
    high: float
    log: bool = False

    def share(self, values: Floats) -> Floats:
        """0 at ``low``, 1 at ``high``; NaN stays NaN, and on a log axis so does what is not above 0."""
        if not self.log:
            return (values - self.low) / (self.high - self.low)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.where(values > 0, np.log(values), np.nan)
        return (logs - math.log(self.low)) / (math.log(self.high) - math.log(self.low))

    def value(self, share: float) -> float:
        if not self.log:
            return self.low + share * (self.high - self.low)
        return math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))


def fit_axis(low: float, high: float, log: bool = False) -> Axis:
    """An axis around finite bounds with round ends. A log axis needs ``low > 0``."""
    if log:
        if high / low < 1.2:
            low, high = low / 1.1, high * 1.1
        return Axis(_round_log(low, down=True), _round_log(high, down=False), log=True)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        margin = abs(high) * 0.05 or 1.0
        low, high = low - margin, high + margin
    step = nice_step((high - low) / 4)
    bottom = math.floor(low / step + 1e-9) * step
    # A loss that stays above 0 should not be shown on an axis that starts just below it.
    return Axis(max(bottom, 0.0) if low >= 0 else bottom, math.ceil(high / step - 1e-9) * step)


def nice_step(rough: float) -> float:
    """The smallest of 1, 2, 5 x 10^k that is at least ``rough``."""
    if rough <= 0 or not math.isfinite(rough):
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))


def y_labels(axis: Axis, rows: int) -> dict[int, float]:
    """Row (0 at the top) -> the value to print there: the two ends and round values between them.

    A label stands within half a row of its value.
    """
    labels = {0: axis.high, rows - 1: axis.low} if rows > 1 else {0: axis.high}
    for value in _inner_ticks(axis, rows):
        share = float(axis.share(np.array([value]))[0])
        row = round((1 - share) * (rows - 1))
        if all(abs(row - taken) > 1 for taken in labels):
            labels[row] = value
    return labels


def x_ticks(first: float, last: float, width: int, spacing: int = 10) -> list[float]:
    """Round positions in ``first..last``, about one every ``spacing`` of ``width`` characters."""
    if last <= first or width <= 0:
        return [first]
    step = nice_step((last - first) * spacing / width)
    start = math.ceil(first / step - 1e-9)
    return [k * step for k in range(start, math.floor(last / step + 1e-9) + 1)]


def blank(columns: int, rows: int) -> Dots:
    """An empty canvas of ``columns`` x ``rows`` characters."""
    return np.zeros((max(0, rows) * 4, max(0, columns) * 2), dtype=bool)


def draw_spans(dots: Dots, axis: Axis, low: Floats, high: Floats, gap: NDArray[np.bool_]) -> None:
    """Set the dots from ``low`` to ``high`` in every column, and join neighbouring columns.

    Columns without a value are bridged in a straight line, unless ``gap`` marks one of them: there a value
    was not finite, and the hole is the message. What leaves the axis is drawn at its edge.
    """
    height, width = dots.shape
    known = np.flatnonzero(np.isfinite(axis.share(low)) & np.isfinite(axis.share(high)))
    if not known.size or not height:
        return

    def rows(values: Floats) -> Floats:
        scaled: Floats = np.clip((1 - axis.share(values)) * (height - 1), 0, height - 1)
        return scaled

    top, bottom = np.full(width, np.inf), np.full(width, -np.inf)
    top[known], bottom[known] = rows(high[known]), rows(low[known])
    _bridge(top, bottom, known, gap)
    _join(top, bottom)
    shown = np.isfinite(top)
    row = np.arange(height)[:, None]
    first, last = np.rint(np.where(shown, top, height + 1)), np.rint(np.where(shown, bottom, -1))
    dots |= (row >= first) & (row <= last)


def _bridge(top: Floats, bottom: Floats, known: NDArray[np.intp], gap: NDArray[np.bool_]) -> None:
    """Fill the columns between known ones in a straight line, except across a gap."""
    width = len(top)
    middle = (top[known] + bottom[known]) / 2
    columns = np.arange(known[0], known[-1] + 1)
    columns = np.setdiff1d(columns, known, assume_unique=True)
    if not columns.size:
        return
    right = np.searchsorted(known, columns)
    left = right - 1
    holes = np.concatenate(([0], np.cumsum(gap)))
    whole = holes[known[right]] == holes[np.minimum(known[left] + 1, width)]
    columns, left, right = columns[whole], left[whole], right[whole]
    slope = (middle[right] - middle[left]) / (known[right] - known[left])
    line = middle[left] + slope * (columns - known[left])
    top[columns] = bottom[columns] = line


def _join(top: Floats, bottom: Floats) -> None:
    """Stretch neighbouring spans to meet half way where they would leave a hole."""
    above, below = top.copy(), bottom.copy()
    falls = above[1:] > below[:-1] + 1
    rises = above[:-1] > below[1:] + 1
    both = np.isfinite(above[1:]) & np.isfinite(above[:-1])
    with np.errstate(invalid="ignore"):
        fall_to, rise_to = (above[1:] + below[:-1]) / 2, (above[:-1] + below[1:]) / 2
    fall, rise = np.flatnonzero(falls & both), np.flatnonzero(rises & both)
    bottom[fall], top[fall + 1] = fall_to[fall], fall_to[fall]
    bottom[rise + 1], top[rise] = rise_to[rise], rise_to[rise]


def to_text(dots: Dots) -> NDArray[np.uint16]:
    """Code points ``[rows, columns]``; an empty cell is a space, so that copied text stays clean."""
    rows, columns = dots.shape[0] // 4, dots.shape[1] // 2
    cells = dots.reshape(rows, 4, columns, 2).transpose(0, 2, 1, 3)
    codes = (cells * _BITS).sum(axis=(2, 3)).astype(np.uint16)
    return np.where(codes == 0, ord(" "), codes + 0x2800).astype(np.uint16)


def _inner_ticks(axis: Axis, rows: int) -> list[float]:
    if not axis.log:
        step = nice_step((axis.high - axis.low) * 3 / max(rows, 3))
        start, end = math.ceil(axis.low / step), math.floor(axis.high / step)
        return [k * step for k in range(start, end + 1)]
    decades = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
    powers = [10.0**k for k in decades]
    finer = [m * 10.0**k for k in decades for m in (2, 5)]
    return [value for value in powers + finer if axis.low < value < axis.high]


def _round_log(value: float, down: bool) -> float:
    """The next of 1, 2, 5 x 10^k below or above."""
    power = 10.0 ** math.floor(math.log10(value))
    steps = [m * power for m in (1, 2, 5, 10)]
    if down:
        return max(step for step in steps if step <= value * (1 + 1e-9))
    return min(step for step in steps if step >= value * (1 - 1e-9))
