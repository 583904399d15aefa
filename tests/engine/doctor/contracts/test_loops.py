"""Every loop of the bench, judged from every place in it; and what its findings carry."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.faults.case import load_cases
from tests.faults.loop_case import PLACES, LoopCase

LOOPS = [case for case in load_cases() if isinstance(case, LoopCase)]
WORKERS = [case for case in LOOPS if case.with_loader]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("case", [case for case in LOOPS if not case.legitimate], ids=lambda case: case.slug)
def test_a_fault_is_the_first_claim(case: LoopCase, tmp_path: Path) -> None:
    """At one place, another for each loop; the bench with ``--seeds 4`` takes all places."""
    found = case.findings(tmp_path, LOOPS.index(case) % PLACES)
    assert found
    assert found[0]["function"] in case.functions
    assert found[0]["severity"] == case.expected
    assert (found[0]["file"], found[0]["line"]) == ("train.py", 87)


@pytest.mark.parametrize("case", [case for case in LOOPS if case.legitimate], ids=lambda case: case.slug)
def test_what_is_right_is_at_most_remarked_on(case: LoopCase, tmp_path: Path) -> None:
    found = case.findings(tmp_path, LOOPS.index(case) % PLACES)
    assert [f for f in found if f["severity"] != "info"] == []


@pytest.mark.slow
@pytest.mark.parametrize("place", range(PLACES))
def test_the_place_of_the_judge_does_not_matter(place: int, tmp_path: Path) -> None:
    by_name = {case.slug: case for case in LOOPS}
    for name, probe in (("loop-no-zero-grad", "contract.zero_grad"), ("loop-no-step", "contract.step")):
        assert by_name[name].findings(tmp_path / name, place)[0]["probe"] == probe
    for name in ("loop-gathers", "loop-sam"):
        assert by_name[name].findings(tmp_path / name, place) == []
