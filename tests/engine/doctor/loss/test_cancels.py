"""Two channels whose errors cancel in lbox; and every form that keeps them apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.doctor.calling import Called
from engine.doctor.inputs import scene
from engine.doctor.loss.cancels import judge_cancelling
from engine.doctor.loss.run import Trial
from engine.doctor.stage import Stage
from engine.layout import Head, Layout
from engine.yolo.detector import Detector
from engine.yolo.loss import LossProfile
from engine.yolo.plugin import load_functions

from ..plain import PLAIN, changed

BOX = "lbox = (weight * (off_xy**2 + off_wh**2).sum(-1))[mask].sum() / B"
OVERLAP = "lbox = (1 - corner_iou(to_xyxy(boxes), to_xyxy(targets[..., 2:6]), '{}'))[mask].sum() / B"
IMPORTED = "\nfrom engine.boxes import iou as corner_iou, to_xyxy\n"


def judged(folder: Path, box: str) -> list[tuple[str, ...]]:
    code = folder / "mine.py"
    code.write_text(changed(PLAIN, (BOX, box), ("\nimport torch.nn", IMPORTED + "import torch.nn")))
    head = Head(5, 7, 32, torch.tensor([[1.0, 2.0], [4.0, 3.0]]), classes=3)
    stage = Stage("own", Detector((head,), Layout(), LossProfile()))
    trial = Trial(Called(load_functions(code)), stage, scene(stage, [2, 0, 3], seed=17, smallest=1.3))
    return [f.channels for f in judge_cancelling(trial)]


@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_overlaps_let_nothing_cancel(tmp_path: Path, kind: str) -> None:
    assert judged(tmp_path, OVERLAP.format(kind)) == []


@pytest.mark.parametrize(
    "box",
    [
        BOX,
        BOX.replace("**2", ".abs()"),
        "lbox = (weight * (off_xy**2 + off_wh**2).sum(-1).clamp(min=1e-12).sqrt())[mask].sum() / B",
        "lbox = (weight * F.smooth_l1_loss(boxes, targets[..., 2:6], reduction='none').sum(-1))[mask].sum()",
    ],
)
def test_forms_that_keep_channels_apart(tmp_path: Path, box: str) -> None:
    assert judged(tmp_path, box) == []


@pytest.mark.parametrize(
    ("box", "channels"),
    [
        ("(off_xy.sum(-1) ** 2 + (off_wh**2).sum(-1))", ("x", "y")),
        ("((off_xy**2).sum(-1) + off_wh.sum(-1) ** 2)", ("w", "h")),
        (
            "(off_xy**2).sum(-1) + (boxes[..., 2] * boxes[..., 3] - targets[..., 4] * targets[..., 5])**2",
            ("w", "h"),
        ),
    ],
)
def test_errors_that_cancel(tmp_path: Path, box: str, channels: tuple[str, ...]) -> None:
    assert judged(tmp_path, f"lbox = (weight * ({box}))[mask].sum() / B") == [channels]
