"""Telling a trend from noise with a handful of values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np


def mann_whitney(first: Sequence[float], last: Sequence[float]) -> float:
    """Two-sided exact p of the rank-sum test, ties at their mean rank; for up to about 6 values a side."""
    values = np.array([*first, *last], dtype=np.float64)
    ranks = (values[:, None] > values).sum(1) + ((values[:, None] == values).sum(1) + 1) / 2
    n = len(first)
    middle = n * (len(values) + 1) / 2
    seen = abs(ranks[:n].sum() - middle)
    sums = np.array([ranks[list(chosen)].sum() for chosen in combinations(range(len(values)), n)])
    return float((np.abs(sums - middle) >= seen - 1e-9).mean())
