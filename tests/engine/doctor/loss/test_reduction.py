"""A divisor is told from the ratios that could be measured; one that is not finite speaks for none."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest

from engine.doctor.loss import reduction
from engine.doctor.loss.reduction import Ratios, judge_reduction

UNKNOWN = [math.nan, math.inf, -math.inf]
ANY_TRIAL = cast(Any, None)
"""What is measured is given below."""


@pytest.mark.parametrize("grid", UNKNOWN)
def test_images_and_slots_are_told_apart_by_the_grid_alone(grid: float) -> None:
    assert Ratios(1, 0.5, 3, grid).kinds(dense=False) == ["batch", "slots"]
    assert Ratios(1, 0.5, 3, 1).kinds(dense=False) == ["batch"]
    assert Ratios(1, 0.5, 3, 0.5).kinds(dense=False) == ["slots"]


def test_what_fits_nothing_says_so() -> None:
    assert Ratios(2, 1, 3, math.nan).kinds(dense=False) == ["sum"]
    assert Ratios(0.5, 0.25, 3, 1).kinds(dense=False) == ["other"]


@pytest.mark.parametrize("grid", UNKNOWN)
@pytest.mark.parametrize("declared", ["mean", None])
def test_no_error_where_the_grid_was_not_measured(
    monkeypatch: pytest.MonkeyPatch, grid: float, declared: str | None
) -> None:
    measured = {"lobj": Ratios(1, 0.5, 3, grid), "noobj": Ratios(1, 1, math.nan, grid)}
    monkeypatch.setattr(reduction, "measure", lambda trial: measured)
    assert not [f for f in judge_reduction(ANY_TRIAL, declared, set()) if f.severity == "error"]


@pytest.mark.parametrize("value", UNKNOWN)
def test_no_error_of_a_part_that_could_not_be_measured_at_all(
    monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    measured = {"lbox": Ratios(value, value, math.nan, value), "lcls": Ratios(1, 0.5, 3, 1)}
    monkeypatch.setattr(reduction, "measure", lambda trial: measured)
    assert judge_reduction(ANY_TRIAL, "batch", set()) == []


def test_what_was_measured_still_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = {"lobj": Ratios(1, 1, 1, math.nan), "noobj": Ratios(1, 2, math.nan, math.nan)}
    monkeypatch.setattr(reduction, "measure", lambda trial: measured)
    (finding,) = judge_reduction(ANY_TRIAL, "batch", set())
    assert finding.severity == "error"
    assert "number of positives" in finding.message
    assert "nan" not in finding.got
