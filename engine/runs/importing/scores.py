"""Average precision under the names that tools give it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .roles import role


def average_precisions(values: Mapping[str, float]) -> tuple[float, float]:
    """``(mAP at IoU 0.5, mAP at 0.5 to 0.95)`` of an evaluation's values, NaN where it has none.

    A bare ``mAP`` is VOC's, at 0.5, unless one at 0.5 is printed beside it and differs.
    """
    found: dict[str, float] = {}
    for name, value in values.items():
        kind = role(name)
        if kind in ("map50", "map50_95", "map"):
            found.setdefault(kind, value)
    at50, mean = found.get("map50", math.nan), found.get("map50_95", math.nan)
    if "map" in found:
        bare = found["map"]
        if math.isnan(at50):
            at50 = bare
        elif math.isnan(mean) and bare < at50 - 0.01 * max(1.0, at50):
            mean = bare
    return at50, mean


def score_of(values: Mapping[str, float]) -> tuple[str, float] | None:
    """The value by which epochs are ranked, under the log's own name: mAP at 0.5 to 0.95, else at 0.5."""
    for wanted in ("map50_95", "map", "map50"):
        for name, value in values.items():
            if role(name) == wanted:
                return name, value
    return None
