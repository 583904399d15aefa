"""What an epoch's values of one term come to."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .events import Summary


def summarize(values: NDArray[np.float64]) -> Summary:
    """Mean, spread, trend (last quarter's mean minus the first's) and last value of one epoch."""
    if not len(values):
        return Summary(math.nan, math.nan, math.nan, math.nan)
    quarter = max(1, len(values) // 4)
    trend = float(values[-quarter:].mean() - values[:quarter].mean())
    return Summary(float(values.mean()), float(values.std()), trend, float(values[-1]))
