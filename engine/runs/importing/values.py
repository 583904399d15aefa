"""A printed number: what it says, and how finely it says it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

NUMBER = (
    r"[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?"
    r"|(?:nan|inf(?:inity)?)\b(?:\(ind\))?|1\.#\w+)"
)
"""What trainers print, the not-a-numbers of C and Windows included; to be compiled with ``re.I``."""

_PARTS = re.compile(r"[-+]?(\d*)(?:\.(\d*))?(?:[eE]([-+]?\d+))?$")


class Printed(NamedTuple):
    """One value of one line. ``value``: the number. ``half``: half a unit of its last printed digit, the most
    by which rounding can have moved it; 0 for one that is not finite."""

    value: float
    half: float


@lru_cache(maxsize=65536)
def printed(text: str) -> Printed:
    """Read what ``NUMBER`` matched."""
    try:
        value = float(text)
    except ValueError:
        return Printed(float("inf") if "INF" in text.upper() else float("nan"), 0.0)
    match = _PARTS.match(text)
    if match is None:  # nan, inf
        return Printed(value, 0.0)
    return Printed(value, 0.5 * 10.0 ** (int(match[3] or 0) - len(match[2] or "")))
