"""The exact rank-sum test."""

from __future__ import annotations

import pytest

from engine.ranks import mann_whitney


def test_mann_whitney_is_the_published_test() -> None:
    assert mann_whitney([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(2 / 252)
    assert mann_whitney([1, 2, 3], [1, 2, 3]) == 1
    assert mann_whitney([19, 22, 16, 29, 24], [20, 11, 17, 12]) == pytest.approx(0.1111, abs=1e-4)  # U = 17
