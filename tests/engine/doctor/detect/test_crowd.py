"""Several objects, classes and scores in one picture: what is sorted is sorted together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.doctor.calling import Called
from engine.doctor.detect.crowd import judge_crowd
from engine.doctor.stage import Stage, stages
from engine.layout import DecodeName, Head, Layout
from engine.yolo.detector import Detector
from engine.yolo.loss import LossProfile
from engine.yolo.plugin import UserFunctions, load_functions

from ..plain import PLAIN, changed

ROWS = "        rows = torch.stack([x1, y1, x2, y2, score, cls.float()], 1)\n"
KEPT = "if all(cls[i] != cls[j] or iou(bx[i], bx[j]) < 0.45 for j in kept):"


def made(folder: Path, *pairs: tuple[str, str]) -> Called:
    code = folder / "mine.py"
    code.write_text(changed(PLAIN, *pairs))
    return Called(load_functions(code))


def stage(classes: int = 3, decode: DecodeName = "yolov2") -> Stage:
    head = Head(5, 6, 32, torch.tensor([[1.0, 2.0], [4.0, 3.0]]), classes=classes)
    return Stage("own", Detector((head,), Layout(decode=decode), LossProfile()))


@pytest.mark.parametrize("classes", [1, 2, 20])
def test_sound(tmp_path: Path, classes: int) -> None:
    called = made(tmp_path)
    for each in stages(stage(classes).detector):
        assert judge_crowd(called, each) == []


@pytest.mark.parametrize("decode", ["yolov2", "yolov5", "linear"])
def test_the_reference_is_sound_on_heads_of_any_size(decode: DecodeName) -> None:
    heads = tuple(
        Head(rows, 2 * rows, 64 // rows, torch.tensor([[1.0, 2.0], [3.5, 2.0]]), 4) for rows in (16, 4)
    )
    detector = Detector(heads, Layout(decode=decode), LossProfile())

    def detect(pred, head, sizes, conf=0.25, iou=0.45):  # type: ignore[no-untyped-def]
        return Detector(tuple(head), detector.layout, detector.profile).detect(
            pred, sizes, conf=conf, iou=iou
        )

    called = Called(UserFunctions("mine.py", "", {"detect": detect}))
    assert judge_crowd(called, Stage("own", detector)) == []


@pytest.mark.parametrize(
    ("old", "new", "channels"),
    [
        (ROWS, "        score = score.sort(descending=True).values\n" + ROWS, ("conf",)),
        (ROWS, "        cls = cls[score.argsort(descending=True)]\n" + ROWS, ("class",)),
        ("score.argsort(descending=True)", "score.argsort(descending=True).sort().values", ("conf",)),
        (
            KEPT,
            "c = lambda b: torch.stack((b[0], b[1], 2 * (b[0] + b[2]), 2 * (b[1] + b[3])))\n"
            "            if all(cls[i] != cls[j] or iou(c(bx[i]), c(bx[j])) < 0.45 for j in kept):",
            ("x", "y", "w", "h"),
        ),
    ],
)
def test_mixed_up(tmp_path: Path, old: str, new: str, channels: tuple[str, ...]) -> None:
    (found,) = judge_crowd(made(tmp_path, (old, new)), stage())
    assert found.channels == channels
