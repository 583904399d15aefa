"""A box that lies inside its truth on an axis may move there at no cost: that is no channel left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.doctor.calling import Called
from engine.doctor.inputs import drawing, given
from engine.doctor.loss.influence import judge_influence, pred_influence
from engine.doctor.loss.run import Trial
from engine.doctor.stage import Stage
from engine.layout import Head, Layout
from engine.yolo.detector import Detector
from engine.yolo.loss import LossProfile
from engine.yolo.plugin import load_functions

LOSS = """
import torch
from engine.boxes import iou, to_xyxy
from engine.yolo.decode import decode_boxes


def loss(pred, targets, head):
    mask = targets[..., 0] > 0
    boxes, truths = decode_boxes(pred, head, "yolov2")[mask], targets[..., 2:6][mask]
    {cut}
    lbox = (1 - iou(to_xyxy(boxes), to_xyxy(truths), "{kind}")).sum() / pred.shape[0]
    lobj = ((pred[..., 0].sigmoid() - mask.float()) ** 2).sum() / pred.shape[0]
    lcls = torch.nn.functional.cross_entropy(pred[..., 5:][mask], targets[..., 1][mask].long())
    return dict(lcls=lcls, lbox=lbox, lobj=lobj)
"""


def judged(folder: Path, kind: str, cut: str) -> set[tuple[str, ...]]:
    """What is said of ``lbox`` over many draws of a scene with a single truth."""
    code = folder / "mine.py"
    code.write_text(LOSS.format(kind=kind, cut=cut))
    head = Head(5, 6, 32, torch.tensor([[1.0, 2.0], [4.0, 3.5]]), classes=3)
    profile = LossProfile(box=kind, objectness="one", ignore_iou=0.0)  # type: ignore[arg-type]
    stage = Stage("own", Detector((head,), Layout(), profile))
    truth = given(stage, [torch.tensor([[0.42, 0.53, 0.61, 0.7]])], [torch.tensor([2])])
    trial = Trial(Called(load_functions(code)), stage, truth)
    said: set[tuple[str, ...]] = set()
    for draw in range(20):
        with drawing(draw):
            _, got = pred_influence(trial)
            said |= {f.channels for f in judge_influence(trial, got, {}, False) if f.term == "lbox"}
    return said


@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_no_channel_is_missed_for_being_nested(tmp_path: Path, kind: str) -> None:
    assert judged(tmp_path, kind, "") == set()


def test_a_channel_without_gradient_is_missed_in_every_draw(tmp_path: Path) -> None:
    cut = "boxes = torch.cat((boxes[:, :1].detach(), boxes[:, 1:]), 1)"
    assert judged(tmp_path, "giou", cut) == {("x",)}
