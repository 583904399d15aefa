"""Telling a swing from noise with a handful of means."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def zigzag(means: Sequence[float], errors: Sequence[float], times: float) -> bool:
    """Whether the values go up and down in turn, every move ``times`` larger than its standard error."""
    moves = [b - a for a, b in pairwise(means)]
    noise = [float(np.hypot(a, b)) for a, b in pairwise(errors)]
    large = all(abs(move) > times * error for move, error in zip(moves, noise, strict=True))
    return large and all(a * b < 0 for a, b in pairwise(moves))
