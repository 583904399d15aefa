"""The user's own functions: found, placed, called in the reference's stead, and refused in one line."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from engine.errors import UserError
from engine.layout import Head, Layout
from engine.yolo.detector import Detector
from engine.yolo.plugin import load_functions

HEAD = Head(4, 6, 32, torch.tensor([[1.0, 1.5], [3.0, 2.0]]), 3)
BOXES = [torch.tensor([[0.3, 0.4, 0.2, 0.3], [0.8, 0.7, 0.5, 0.4]]), torch.zeros(0, 4)]
LABELS = [torch.tensor([0, 2]), torch.zeros(0).long()]


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(text)
    return path


def test_only_the_contracts_names_are_taken(tmp_path: Path) -> None:
    path = write(
        tmp_path, "import helper_beside\nx = 1\ndef helper(): ...\n\n\ndef iou(a, b):\n    return a[..., 0]\n"
    )
    (tmp_path / "helper_beside.py").write_text("")
    user = load_functions(path)
    assert set(user.functions) == {"iou"}
    assert user.place("iou") == "mine.py:6"
    assert user.place("decode") == ""
    assert pickle.loads(pickle.dumps(user)).place("iou") == "mine.py:6"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def decode(pred, head:\n    pass\n", r"mine\.py:1.*SyntaxError"),
        ("x = 1\nimport no_such_module\n", r"mine\.py:2.*ModuleNotFoundError"),
        ("def other(): ...\n", "holds none of the functions"),
    ],
)
def test_a_file_that_cannot_serve_is_said_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_functions(write(tmp_path, text))
    with pytest.raises(UserError, match="no such file"):
        load_functions(tmp_path / "nothing.py")


def test_a_users_decode_and_iou_serve_loss_and_detect(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "import torch\n"
        "def decode(pred, head):\n    return torch.full_like(pred[..., :4], 0.5)\n"
        "def iou(a, b):\n    return torch.full(a.shape[:-1], 0.25)\n",
    )
    detector = Detector((HEAD,), user=load_functions(path))
    pred = torch.zeros(2, 4, 6, 2, 8)
    terms = detector.loss(pred, detector.encode(BOXES, LABELS))
    assert terms["liou"].item() == pytest.approx(2 * 0.75 / 2)
    found = detector.detect(pred, [(128, 192)] * 2, conf=0.1)
    assert torch.allclose(found[0][0, :4], torch.tensor([48.0, 32.0, 144.0, 96.0]))
    assert detector.without_user().loss(pred, detector.encode(BOXES, LABELS))["liou"] != terms["liou"]


def test_a_users_assign_feeds_the_reference_loss(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "import torch\n"
        "def assign(boxes, labels, head):\n"
        "    targets = torch.zeros(len(boxes), head.grid_h, head.grid_w, len(head.anchors), 8)\n"
        "    targets[0, 1, 1, 0] = torch.tensor([1, 0, .3, .4, .2, .3, 1.94, 0])\n"
        "    return targets\n",
    )
    detector = Detector((HEAD,), user=load_functions(path))
    encoded = detector.encode(BOXES, LABELS)
    terms = detector.loss(torch.zeros(2, 4, 6, 2, 8), encoded)
    assert terms["lcls"].item() == pytest.approx(torch.log(torch.tensor(3.0)).item() / 2)
    assert encoded.targets[0][0, 1, 1, 0, 7] > 0, "the loss fills in the IoU"


def test_detect_gets_the_thresholds_it_can_take(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "import torch\ndef detect(pred, head, sizes, conf=0.5):\n    return [torch.full((1, 6), conf)]\n",
    )
    found = Detector((HEAD,), user=load_functions(path)).detect(
        torch.zeros(1, 4, 6, 2, 8), [(9, 9)], conf=0.125
    )
    assert found[0][0, 0] == 0.125


@pytest.mark.parametrize("order", ["b y x a c", "b a y x c", "b (a c) y x", "b y x (a c)"])
def test_a_declared_layout_changes_no_number(order: str) -> None:
    layout = Layout(
        order=order,
        pred=("x", "y", "w", "h", "conf", "class*"),
        target=("class", "mask", "w", "h", "x", "y", "iou"),
        target_xy="cell",
        target_wh="log-anchor",
    )
    plain, declared = Detector((HEAD,)), Detector((HEAD,), layout=layout)
    pred = torch.randn(2, 4, 6, 2, 8)
    own, other = plain.encode(BOXES, LABELS), declared.encode(BOXES, LABELS)
    terms = plain.loss(pred, own, maps=True)
    again = declared.loss(layout.write_pred(pred, HEAD), other, maps=True)
    for name in ("lcls", "lbox", "lobj", "liou", "total"):
        assert again[name].item() == pytest.approx(terms[name].item(), rel=1e-4), name
        if name != "total":
            slots = layout.read_slots(again["maps"][name][0], HEAD)
            assert torch.allclose(slots, terms["maps"][name][0], rtol=1e-3, atol=1e-6)
    back = layout.read_targets(other.targets[0], HEAD)
    assert torch.allclose(back, own.targets[0], atol=1e-5), "boxes, weight and the filled-in IoU"


def test_several_heads_are_lists_and_a_missing_total_is_the_profiles(tmp_path: Path) -> None:
    fine = Head(8, 12, 16, torch.tensor([[0.5, 0.5]]), 3)
    path = write(
        tmp_path,
        "def loss(pred, targets, head):\n"
        "    assert len(pred) == len(targets) == len(head) == 2\n"
        "    one = sum(p[..., 0].mean() for p in pred)\n"
        "    return {'lobj': one, 'lbox': 2 * one, 'lcls': 4 * one, 'liou': 8 * one}\n",
    )
    detector = Detector((fine, HEAD), user=load_functions(path))
    preds = [torch.ones(2, 8, 12, 1, 8), torch.ones(2, 4, 6, 2, 8)]
    terms = detector.loss(preds, detector.encode(BOXES, LABELS))
    assert terms["total"] == 14, "lcls, lbox and lobj, not liou"
