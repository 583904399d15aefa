"""The nearest known name, as the end of an error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """``, did you mean 'targets'?``, or an empty string where nothing is near."""
    close = difflib.get_close_matches(name[:64], list(known), 1, 0.5)
    return f", did you mean {close[0]!r}?" if close else ""
