"""The doctor against the bench, and the bench's own arithmetic."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.faults.bench import judge, met, rates, run
from tests.faults.case import fault, legitimate, load_cases
from tests.faults.healthy import KINDS, SECONDS, design, examine

DOCTOR = importlib.util.find_spec("engine.doctor.check") is not None
WRONG = fault("wrong", "looped", "", to="decode", channels="conf h")
CLAIM = {"severity": "error", "probe": "p", "function": "decode", "channels": ["h", "conf"]}


def claim(**other: Any) -> dict[str, Any]:
    return {**CLAIM, **other}


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([claim()], (True, True, True)),
        ([claim(function="loss"), claim()], (True, False, False)),
        ([claim(channels=["h"])], (True, True, False)),
        ([claim(severity="warning")], (False, False, False)),
        ([], (False, False, False)),
    ],
)
def test_only_the_first_claim_counts(
    findings: list[dict[str, Any]], expected: tuple[bool, bool, bool]
) -> None:
    outcome = judge(WRONG, findings, 0, 1.0)
    assert (outcome.detected, outcome.function, outcome.channels) == expected


def test_a_warning_is_enough_where_statistics_judge_and_too_little_elsewhere() -> None:
    warned = fault("warned", "looped", "", to="data", expected="warning")
    assert judge(warned, [claim(severity="warning", function="data")], 0, 1.0).function
    assert not judge(warned, [claim(severity="info", function="data")], 0, 1.0).detected
    right = legitimate("right", "looped", "")
    assert not judge(right, [claim(severity="warning")], 0, 1.0).detected
    assert judge(right, [claim()], 0, 1.0).detected


def test_the_rates_and_the_goals() -> None:
    right = legitimate("right", "looped", "")
    good = [judge(WRONG, [CLAIM], 0, 1.0), judge(right, [], 0, 3.0)]
    found = rates(good)
    assert (found["detected"], found["function"], found["channels"]) == (1, 1, 1)
    assert found["seconds_median"] == 2
    assert met(found)
    assert not met(rates([*good, judge(right, [CLAIM], 0, 1.0)]))
    assert not met(rates([*good, judge(WRONG, [], 0, 1.0)]))
    assert not met(rates([*good, judge(right, [], 0, 1.0, crash="KeyError: 3")]))


REACHED = {"detected": 0.98, "function": 0.97, "channels": 0.90}
"""What the doctor has reached over all cases and must not fall behind; the goals stand in ``bench``."""


@pytest.mark.slow
@pytest.mark.skipif(not DOCTOR, reason="engine.doctor.check is not there")
@pytest.mark.parametrize("part", [0, 1, 2])
def test_the_doctor_stays_as_good_as_it_is(part: int) -> None:
    """A third of the cases each: a failure says which. ``python -m tests.faults.bench`` runs all."""
    outcomes = run(load_cases()[part::3])
    found = rates(outcomes)
    missed = [f"{o.slug}: {o.crash or o.named or 'nothing'}" for o in outcomes if not o.sound]
    report = f"{found}\n" + "\n".join(missed)
    assert found["errors_on_legitimate"] == 0, report
    assert found["crashes"] == 0, report
    slack = 0.03  # a third has its own share of the cases still missed
    for name, reached in REACHED.items():
        assert found[name] >= reached - slack, report


@pytest.mark.slow
@pytest.mark.skipif(not DOCTOR, reason="engine.doctor.check is not there")
@pytest.mark.parametrize("seed", [0, 7, 20, 33, 41, 58])
def test_a_healthy_design_drawn_at_random_has_no_error(seed: int) -> None:
    """One of each kind; ``python -m tests.faults.healthy`` runs as many as wanted."""
    found = examine(seed)
    assert found.errors == [], f"{found.title}: {found.errors}"
    assert found.seconds < 4 * SECONDS


def test_designs_are_drawn_over_the_whole_range() -> None:
    drawn = [design(seed) for seed in range(300)]
    assert {d.kind for d in drawn} == set(KINDS)
    assert {1, 80} <= {len(d.config["data"]["classes"]) for d in drawn}
    assert {1, 2, 3} == {len(d.config["model"]["strides"]) for d in drawn}
    assert {d.config["layout"].get("decode") for d in drawn} == {"yolov2", "yolov5", "linear"}
    assert sum(not d.code for d in drawn) > 50


def test_a_cut_bench_goes_on(tmp_path: Path) -> None:
    keep = tmp_path / "outcomes.jsonl"
    done = judge(WRONG, [CLAIM], 0, 1.0)
    keep.write_text(json.dumps(asdict(done)) + "\n")
    assert run([WRONG], keep=keep) == [done]
