"""What overwriting a contested slot costs: said of the user's own data, and after everything else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.doctor.assign.collisions import judge_collisions
from engine.doctor.blame import ordered
from engine.doctor.calling import Called
from engine.doctor.data.boxes import Contest
from engine.doctor.findings import Finding
from engine.doctor.stage import Stage
from engine.layout import Head, Layout
from engine.yolo.detector import Detector
from engine.yolo.loss import LossProfile
from engine.yolo.plugin import load_functions

from ..plain import PLAIN


@pytest.mark.parametrize(
    ("contest", "severity"),
    [(Contest(), "info"), (Contest(4, 91, 2), "info"), (Contest(30, 91, 16), "warning")],
)
def test_a_warning_only_where_many_truths_are_lost(tmp_path: Path, contest: Contest, severity: str) -> None:
    code = tmp_path / "mine.py"
    code.write_text(PLAIN)
    head = Head(6, 8, 32, torch.tensor([[1.0, 2.0], [4.0, 3.0]]), classes=3)
    stage = Stage("own", Detector((head,), Layout(), LossProfile()))
    (found,) = judge_collisions(Called(load_functions(code)), stage, contest)
    assert found.severity == severity
    assert (f"{contest.lost} of" in found.message) == bool(contest.lost)


def test_it_comes_after_what_is_wrong_in_the_data_and_in_the_chain() -> None:
    made = [
        Finding("warning", "assign.collisions", "assign", "overwrites"),
        Finding("warning", "data.labels", "data", "out of range"),
        Finding("warning", "loop.together", "loop", "finds nothing"),
        Finding("warning", "detect.score", "detect", "score"),
    ]
    assert [f.probe for f in ordered(made)] == [
        "detect.score",
        "loop.together",
        "data.labels",
        "assign.collisions",
    ]
