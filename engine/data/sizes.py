"""How large the input of a batch is: the declared size, or one drawn about it, as YOLOv2 was trained."""

from __future__ import annotations

import math

import numpy as np

from ..errors import UserError

EVERY = 10
"""Batches between two draws, as in Darknet."""

Size = tuple[int, int]
"""Width and height, in pixels."""


class InputSizes:
    """A step's size is a pure function of (seed, step), so that a run can go on from any step and every rank
    draws the same."""

    def __init__(self, declared: Size, spread: float = 0.0, stride: int = 32, seed: int = 0) -> None:
        """``spread``: sizes lie between 1 - spread and 1 + spread times the declared one, in multiples of
        ``stride`` and as near to its shape as these allow; 0: none but the declared one.

        Raises ``UserError`` where there is nothing to draw from.
        """
        self.declared = declared
        self._seed = seed
        self.choices: tuple[Size, ...] = (declared,)
        """Smallest first."""
        if spread:
            self.choices = _multiples(declared, spread, stride)

    @property
    def vary(self) -> bool:
        return len(self.choices) > 1

    @property
    def largest(self) -> Size:
        return self.choices[-1]

    @property
    def mean_area(self) -> float:
        """Of all choices, as a share of the declared one's."""
        declared = self.declared[0] * self.declared[1]
        return sum(width * height for width, height in self.choices) / declared / len(self.choices)

    def describe(self, off: float) -> str:
        """A line for the log. ``off``: the last share of the run, at the declared size."""
        shown = [f"{width}x{height}" for width, height in (self.choices[0], self.largest, self.declared)]
        end = f", {shown[2]} in the last {off:.0%} of the run" if off else ""
        return (
            f"input {shown[0]} to {shown[1]} px, {len(self.choices)} sizes, drawn every {EVERY} batches{end}"
        )

    def at(self, step: int) -> Size:
        """Of a 0-based step."""
        if not self.vary:
            return self.declared
        rng = np.random.default_rng((self._seed, 2, step // EVERY))
        return self.choices[int(rng.integers(len(self.choices)))]


def _multiples(declared: Size, spread: float, stride: int) -> tuple[Size, ...]:
    longer, shorter = max(declared), min(declared)
    cells = longer / stride
    # a hair of tolerance: 0.25 of 416 px is meant to reach 320, whatever binary fractions make of it
    first, last = math.ceil(cells * (1 - spread) - 1e-9), math.floor(cells * (1 + spread) + 1e-9)
    sizes = []
    for count in range(max(1, first), last + 1):
        other = max(1, round(count * shorter / longer)) * stride
        long = count * stride
        sizes.append((long, other) if declared[0] >= declared[1] else (other, long))
    if len(sizes) < 2:
        low, high = longer * (1 - spread), longer * (1 + spread)
        raise UserError(
            f"= {spread:g}: from {low:.0f} to {high:.0f} px there are no two multiples of {stride}, the "
            "stride of the coarsest head",
            where="augment.multi_scale",
            fix=f"{math.ceil(100 * stride / longer) / 100:g} or more; 0 for none",
        )
    return tuple(sizes)
