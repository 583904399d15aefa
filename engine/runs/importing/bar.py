"""A progress bar of tqdm: ``desc: 45%|####  | 45/100 [00:12<00:14, 3.91it/s, loss=0.12]``, total or none."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BAR = re.compile(
    r"(?P<n>\d+)(?:/(?P<total>\d+))?(?:it|batch(?:es)?|img|step)?\s*"
    r"\[(?P<elapsed>\d+(?::\d\d)+)(?:<(?P<left>[\d:?]+))?,?\s*(?P<rate>[\d.]+|\?)?\s*(?P<unit>\w+/s|s/\w+)?"
)
_LIGHTNING = re.compile(
    r"(?P<n>\d+)/(?P<total>\d+)\s+\[?(?P<elapsed>\d+(?::\d\d)+)\s*[•<]\s*(?P<left>[\d:\-?]+)"
)
_METER = re.compile(r"\s*\d+%\|.*$|\s*:?\s*\d+%\s*[|━].*$|[\s:]*$")


@dataclass(frozen=True, slots=True)
class Bar:
    before: str
    """The description, without the drawn meter."""
    after: str
    """The postfix: what follows the rate."""
    done: int
    total: int | None
    elapsed: float
    """Seconds."""


def find_bar(text: str) -> Bar | None:
    """The line's progress bar, or None."""
    if "[" not in text and "•" not in text:
        return None
    match = _BAR.search(text) or _LIGHTNING.search(text)
    if match is None:
        return None
    before = text[: match.start()]
    return Bar(
        _METER.sub("", before),
        text[match.end() :],
        int(match["n"]),
        int(match["total"]) if match["total"] else None,
        clock_seconds(match["elapsed"]),
    )


def clock_seconds(text: str) -> float:
    """``08:00`` or ``1:02:03`` in seconds."""
    seconds = 0
    for part in text.split(":"):
        seconds = seconds * 60 + int(part)
    return float(seconds)
