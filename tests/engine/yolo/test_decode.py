"""Prediction to boxes: each way's closed form, and its inverse through the targets."""

from __future__ import annotations

import math

import pytest
import torch

from engine.layout import DecodeName, Head
from engine.yolo.decode import decode_boxes

HEAD = Head(3, 5, 32, torch.tensor([[1.0, 2.0], [3.0, 0.5]]), 2)


@pytest.mark.parametrize("name", ["yolov2", "yolov5", "linear"])
def test_zero_is_the_centre_of_the_cell_and_the_anchor(name: DecodeName) -> None:
    boxes = decode_boxes(torch.zeros(1, 3, 5, 2, 7), HEAD, name)
    assert boxes.shape == (1, 3, 5, 2, 4)
    assert boxes[0, 1, 3, 0].tolist() == pytest.approx([3.5 / 5, 1.5 / 3, 1 / 5, 2 / 3])
    assert boxes[0, 2, 4, 1].tolist() == pytest.approx([4.5 / 5, 2.5 / 3, 3 / 5, 0.5 / 3])


def _sigma(t: float) -> float:
    return 1 / (1 + math.exp(-t))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("yolov2", (2 + _sigma(0.3), 1 + _sigma(-0.7), math.exp(0.2), 2 * math.exp(-0.4))),
        (
            "yolov5",
            (
                2 + 2 * _sigma(0.3) - 0.5,
                1 + 2 * _sigma(-0.7) - 0.5,
                (2 * _sigma(0.2)) ** 2,
                2 * (2 * _sigma(-0.4)) ** 2,
            ),
        ),
        ("linear", (2.8, 0.8, math.exp(0.2), 2 * math.exp(-0.4))),
    ],
)
def test_closed_form(name: DecodeName, expected: tuple[float, ...]) -> None:
    pred = torch.randn(1, 3, 5, 2, 7)
    pred[0, 1, 2, 0, 1:5] = torch.tensor([0.3, -0.7, 0.2, -0.4])
    x, y, w, h = expected
    assert decode_boxes(pred, HEAD, name)[0, 1, 2, 0].tolist() == pytest.approx(
        [x / 5, y / 3, w / 5, h / 3], rel=1e-5
    )


@pytest.mark.parametrize("name", ["yolov2", "yolov5", "linear"])
def test_each_box_channel_moves_only_its_own_coordinate(name: DecodeName) -> None:
    pred = torch.randn(2, 3, 5, 2, 7, requires_grad=True)
    boxes = decode_boxes(pred, HEAD, name)
    for coordinate in range(4):
        (moved,) = torch.autograd.grad(boxes[..., coordinate].sum(), pred, retain_graph=True)
        assert (moved[..., 1 + coordinate] != 0).all()
        moved[..., 1 + coordinate] = 0
        assert moved.abs().sum() == 0
