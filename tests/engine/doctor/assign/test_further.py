"""Sizes that tell exchanged sides apart, and anchors that leave a truth's own cell out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.boxes import shape_iou
from engine.doctor.assign.further import confusable, judge_further
from engine.doctor.calling import Called
from engine.doctor.inputs import drawing, scene
from engine.doctor.stage import Stage
from engine.layout import Head, Layout
from engine.yolo.assign import assign
from engine.yolo.detector import Detector
from engine.yolo.loss import LossProfile
from engine.yolo.plugin import load_functions

from ..plain import PLAIN


def stage(rows: int = 5, columns: int = 8) -> Stage:
    head = Head(rows, columns, 32, torch.tensor([[1.0, 2.0], [3.0, 1.6], [2.0, 3.0]]), classes=3)
    return Stage("own", Detector((head,), Layout(), LossProfile(), "multi", 4.0))


@pytest.mark.parametrize("draw", range(4))
def test_every_truth_has_another_best_anchor_when_sides_are_exchanged(draw: int) -> None:
    given = stage()
    with drawing(draw):
        made = confusable(given)
    assert made is not None
    sizes = torch.cat(made.boxes)[:, 2:]
    anchors = given.heads[0].anchors * 32
    width, height = given.input_wh

    def best(pixels: Tensor) -> Tensor:
        return shape_iou(pixels, anchors).argmax(1)

    right = best(sizes * torch.tensor([width, height]))
    turned = best(sizes * torch.tensor([height, width]))
    swapped = best((sizes * torch.tensor([width, height])).flip(1))
    assert bool(((right != turned) | (right != swapped)).all())
    assert bool((right != turned).any())


def test_one_anchor_tells_nothing() -> None:
    head = Head(5, 5, 32, torch.tensor([[1.0, 2.0]]), classes=3)
    assert confusable(Stage("own", Detector((head,), Layout(), LossProfile()))) is None


def test_anchors_without_the_truths_own_cell(tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(PLAIN)
    called, given = Called(load_functions(code)), stage()
    made = scene(given, [1] * 6, seed=7)
    best, every = (assign(made.boxes, made.labels, given.heads, r, 4.0).targets for r in ("best", "multi"))
    assert judge_further(called, given, made, best) == []
    assert judge_further(called, given, made, every) == []
    left_out = every[0].clone()
    for image, boxes in enumerate(made.boxes):
        x, y = (boxes[0, :2] * torch.tensor([8, 5])).long().tolist()
        left_out[image, y, x] = best[0][image, y, x]  # only the best anchor keeps the cell
    (found,) = judge_further(called, given, made, [left_out])
    assert found.channels == ("mask",)
