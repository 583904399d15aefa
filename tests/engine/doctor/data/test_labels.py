"""A few labels that cannot be used are a warning; a good part of them, or all, is an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.data.clipping import clip_boxes
from engine.data.sample import Dataset, Problem, Sample
from engine.doctor.data.labels import judge_labels, judge_presence


def dataset(objects: int, *problems: Problem) -> Dataset:
    none = np.zeros(objects, np.bool_)
    boxes = np.tile(np.array([[2, 2, 20, 18]], np.float32), (objects, 1))
    sample = Sample(Path("a.jpg"), "a", 64, 48, boxes, np.zeros(objects, np.int64), none, none)
    return Dataset("train", ("thing",), (sample,), problems)


@pytest.mark.parametrize(
    "kind", ["class id out of range", "label not in 0..1", "bad label row", "box outside the image"]
)
@pytest.mark.parametrize(
    ("good", "bad", "severity"),
    [(100, 2, "warning"), (10, 3, "warning"), (75, 18, "error"), (0, 90, "error")],
)
def test_labels_that_are_refused(kind: str, good: int, bad: int, severity: str) -> None:
    (found,) = judge_labels(dataset(good, *[Problem(kind, "a.txt", "line 1")] * bad))
    assert found.severity == severity
    assert f"{bad} x {kind}" in found.message
    assert found.file == "a.txt"


def test_boxes_that_the_picture_cuts() -> None:
    size = (64, 48)
    slight, deep = [-1.0, 4.0, 30.0, 20.0], [40.0, 10.0, 90.0, 30.0]
    for box, severity in ((slight, "warning"), (deep, "error")):
        boxes = np.array([box] * 40)
        _, keep, problems = clip_boxes(boxes, size, "a.txt", ["thing"] * 40)
        assert keep.all()
        (found,) = judge_labels(dataset(100, *problems))
        assert (found.severity, len(problems)) == (severity, 40)
    assert problems[0].cut == pytest.approx(26 / 50, abs=1e-3)


def test_nothing_but_background_teaches_nothing() -> None:
    assert judge_presence(dataset(1)) == []
    assert [f.severity for f in judge_presence(dataset(0))] == ["error"]
