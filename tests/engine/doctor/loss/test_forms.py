"""The kinds of IoU, told apart where boxes overlap and where they do not; which channels a wrong one has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.doctor.calling import Called
from engine.doctor.inputs import scene
from engine.doctor.loss.forms import OTHER, box_form, judge_box_form
from engine.doctor.loss.run import Trial
from engine.doctor.stage import Stage
from engine.layout import DecodeName, Head, Layout
from engine.yolo.detector import Detector
from engine.yolo.loss import LossProfile
from engine.yolo.plugin import load_functions

LOSS = """
import math
import torch
from engine.yolo.decode import decode_boxes


def kinds(a, b, kind):
    (ax, ay, aw, ah), (bx, by, bw, bh) = a.unbind(-1), b.unbind(-1)
    iw = (torch.minimum(ax + aw / 2, bx + bw / 2) - torch.maximum(ax - aw / 2, bx - bw / 2)).clamp(min=0)
    ih = (torch.minimum(ay + ah / 2, by + bh / 2) - torch.maximum(ay - ah / 2, by - bh / 2)).clamp(min=0)
    union = aw * ah + bw * bh - iw * ih + {eps}
    iou = iw * ih / union
    cw = torch.maximum(ax + aw / 2, bx + bw / 2) - torch.minimum(ax - aw / 2, bx - bw / 2)
    ch = torch.maximum(ay + ah / 2, by + bh / 2) - torch.minimum(ay - ah / 2, by - bh / 2)
    if kind == "giou":
        return iou - (cw * ch - union) / (cw * ch + {eps})
    if kind == "iou":
        return iou
    far = ((ax - bx) ** 2 + (ay - by) ** 2) / ({diagonal} + {eps})
    if kind == "diou":
        return iou - far
    v = 4 / math.pi**2 * (torch.atan({aspect}) - torch.atan(aw / ah)) ** 2
    with torch.no_grad():
        alpha = v / (1 - iou + v + {eps})
    return iou - far - alpha * v


def loss(pred, targets, head):
    mask = targets[..., 0] > 0
    boxes, truths = decode_boxes(pred, head, "{decode}")[mask], targets[..., 2:6][mask]
    lbox = (1 - kinds(boxes, truths, "{kind}")).sum() / pred.shape[0]
    return dict(lcls=pred.sum(), lbox=lbox, lobj=pred.sum())
"""


def seen(
    folder: Path,
    kind: str,
    decode: DecodeName = "yolov2",
    eps: str = "1e-7",
    diagonal: str = "cw**2 + ch**2",
    aspect: str = "bw / bh",
) -> tuple[str, tuple[str, ...]]:
    """The form, and the channels of what is said of it where that kind is declared."""
    code = folder / "mine.py"
    code.write_text(LOSS.format(kind=kind, decode=decode, eps=eps, diagonal=diagonal, aspect=aspect))
    head = Head(5, 7, 32, torch.tensor([[1.0, 2.0], [4.0, 3.0]]), classes=3)
    stage = Stage("own", Detector((head,), Layout(decode=decode), LossProfile()))
    trial = Trial(Called(load_functions(code)), stage, scene(stage, [2, 1], seed=17, smallest=1.3))
    form = box_form(trial, kind)
    found = judge_box_form(trial, form, kind)
    return form, found[0].channels if found else ()


@pytest.mark.parametrize("decode", ["yolov2", "yolov5", "linear"])
@pytest.mark.parametrize("eps", ["1e-16", "1e-7", "1e-6"])
@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_each_kind_is_itself(tmp_path: Path, kind: str, eps: str, decode: DecodeName) -> None:
    assert seen(tmp_path, kind, decode, eps) == (kind, ())


@pytest.mark.parametrize("decode", ["yolov2", "yolov5", "linear"])
def test_a_diagonal_that_is_not_squared(tmp_path: Path, decode: DecodeName) -> None:
    form, channels = seen(tmp_path, "diou", decode, diagonal="cw + ch")
    assert form != "diou"
    assert {"x", "y"} <= set(channels)


def test_an_aspect_upside_down(tmp_path: Path) -> None:
    assert seen(tmp_path, "ciou", aspect="bh / bw") == (OTHER, ("w", "h"))
