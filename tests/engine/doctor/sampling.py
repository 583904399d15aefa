"""Which of many like cases every run of the tests takes; the rest are for the whole suite."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def mostly_slow(cases: Iterable[Any], quick: int = 5) -> list[Any]:
    """The same cases, all but about ``quick`` of them, evenly spread, marked slow: each is a whole check."""
    cases = list(cases)
    apart = -(-len(cases) // quick)
    return [case if number % apart == 0 else _slow(case) for number, case in enumerate(cases)]


def _slow(case: Any) -> Any:
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=pytest.mark.slow)
