"""Box formats, the IoU family and suppression: closed forms, torchvision's values, properties."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.boxes import (
    IouKind,
    iou,
    nms,
    nms_per_class,
    pairwise_iou,
    shape_iou,
    to_cxcywh,
    to_xyxy,
)

KINDS: list[IouKind] = ["iou", "giou", "diou", "ciou"]

coordinates = st.floats(-100, 100, allow_nan=False, width=32)
sizes = st.floats(0.5, 80, width=32)
corner_boxes = st.tuples(coordinates, coordinates, sizes, sizes).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)
any_boxes = st.tuples(coordinates, coordinates, coordinates, coordinates).map(list)
kinds = st.sampled_from(KINDS)


def box(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def of(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_formats_by_hand_and_back() -> None:
    corners = torch.tensor([[10.0, 20.0, 30.0, 60.0], [0.0, 0.0, 0.0, 0.0]])
    centred = torch.tensor([[20.0, 40.0, 20.0, 40.0], [0.0, 0.0, 0.0, 0.0]])
    assert torch.equal(to_cxcywh(corners), centred)
    assert torch.equal(to_xyxy(centred), corners)
    assert to_xyxy(torch.zeros(2, 0, 4)).shape == (2, 0, 4)


def test_iou_by_hand() -> None:
    """Overlap 2 of union 6; hull 3 x 3 of which 3 are in neither; centres 1, 1 apart on a diagonal of 18."""
    a, b = box(0, 0, 2, 2), box(1, 0, 3, 2)
    assert iou(a, b).item() == pytest.approx(2 / 6)
    c = box(1, 1, 3, 3)
    assert iou(a, c).item() == pytest.approx(1 / 7)
    assert iou(a, c, "giou").item() == pytest.approx(1 / 7 - 2 / 9)
    assert iou(a, c, "diou").item() == pytest.approx(1 / 7 - 2 / 18)
    assert iou(a, c, "ciou").item() == pytest.approx(1 / 7 - 2 / 18)  # same shape: no aspect term


def test_ciou_weighs_a_different_aspect() -> None:
    """A 4 x 1 box and a 1 x 4 one on the same centre: IoU 1/7, no distance."""
    a, b = box(-2, -0.5, 2, 0.5), box(-0.5, -2, 0.5, 2)
    v = 4 / math.pi**2 * (math.atan(4) - math.atan(1 / 4)) ** 2
    expected = 1 / 7 - v * v / (1 - 1 / 7 + v)
    assert iou(a, b, "ciou").item() == pytest.approx(expected)
    assert iou(a, b, "diou").item() == pytest.approx(1 / 7)


@pytest.fixture(scope="session")
def torchvision(shared_data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (shared_data / "cases" / "torchvision-boxops" / "cases.json").read_text()
    )
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 2e-4), (torch.float32, 1e-3), (torch.float16, 2e-3)]
)
def test_torchvisions_values(
    torchvision: dict[str, Any], kind: IouKind, dtype: torch.dtype, atol: float
) -> None:
    whole, other, floats = (
        torch.tensor(torchvision[name], dtype=dtype) for name in ("int_boxes", "int_boxes2", "float_boxes")
    )
    expected = torchvision["pairwise"][kind]
    torch.testing.assert_close(
        pairwise_iou(whole, other, kind).double(), of(expected["int"]), atol=max(1e-4, atol / 10), rtol=0
    )
    if dtype != torch.float16:  # these corners are above 1000, where float16 counts in whole pixels
        torch.testing.assert_close(
            pairwise_iou(floats, floats, kind).double(), of(expected["float"]), atol=atol, rtol=0
        )


@pytest.mark.parametrize("kind", ["giou", "diou", "ciou"])
def test_torchvisions_losses(torchvision: dict[str, Any], kind: IouKind) -> None:
    named = {name: of(values) for name, values in torchvision["loss_boxes"].items() if name[-1] != "s"}
    for name in ("box1s", "box2s"):
        named[name] = torch.stack([named[part] for part in torchvision["loss_boxes"][name]])
    for a, b, *reduction, expected in torchvision["losses"][kind]:
        loss = 1 - iou(named[a], named[b], kind)
        loss = getattr(loss, reduction[0])() if reduction else loss
        assert loss.item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("order", ["cxcywh"])
def test_torchvisions_conversions(torchvision: dict[str, Any], order: str) -> None:
    corners, centred = of(torchvision["convert"]["xyxy"]), of(torchvision["convert"][order])
    assert torch.equal(to_cxcywh(corners), centred)
    assert torch.equal(to_xyxy(centred), corners)


@given(corner_boxes, corner_boxes, kinds)
def test_symmetric_bounded_and_one_with_itself(a: list[float], b: list[float], kind: IouKind) -> None:
    there, back = iou(of(a), of(b), kind).item(), iou(of(b), of(a), kind).item()
    assert there == pytest.approx(back, abs=1e-12)
    assert {"iou": 0, "ciou": -1.5}.get(kind, -1) - 1e-9 <= there <= 1 + 1e-9
    assert iou(of(a), of(a), kind).item() == pytest.approx(1, abs=1e-9)


@given(corner_boxes, corner_boxes)
def test_the_penalties_only_take_away(a: list[float], b: list[float]) -> None:
    plain, giou, diou, ciou = (iou(of(a), of(b), kind).item() for kind in KINDS)
    assert giou <= plain + 1e-12
    assert ciou <= diou + 1e-12 <= plain + 2e-12


@given(corner_boxes, corner_boxes, kinds, st.floats(0.01, 100), st.floats(-50, 50), st.floats(-50, 50))
def test_scale_and_shift_change_nothing(
    a: list[float], b: list[float], kind: IouKind, scale: float, dx: float, dy: float
) -> None:
    shift = box(dx, dy, dx, dy)
    before = iou(of(a), of(b), kind).item()
    assert iou(of(a) * scale + shift, of(b) * scale + shift, kind).item() == pytest.approx(before, abs=1e-6)


@given(any_boxes, any_boxes, kinds)
def test_values_and_gradients_are_finite_for_any_boxes(a: list[float], b: list[float], kind: IouKind) -> None:
    """Inverted boxes and boxes without area too: a network predicts what it likes."""
    first = torch.tensor(a, dtype=torch.float32, requires_grad=True)
    value = iou(first, torch.tensor(b, dtype=torch.float32), kind)
    assert value.isfinite()
    value.backward()  # type: ignore[no-untyped-call]
    assert first.grad is not None
    assert first.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_box_without_area_overlaps_nothing(kind: IouKind, dtype: torch.dtype) -> None:
    point, line, whole = (
        torch.tensor(values, dtype=dtype, requires_grad=True)
        for values in ([3.0, 3, 3, 3], [0.0, 3, 8, 3], [0.0, 0, 8, 8])
    )
    for a in (point, line):
        for b in (point, line, whole):
            value = iou(a, b, kind)
            assert value.isfinite()
            assert iou(a, b).item() == 0
            (grad,) = torch.autograd.grad(value, a)
            # CIoU's angle turns fast at a point: too fast for float16 to hold the slope.
            assert grad.isfinite().all() or (kind == "ciou" and dtype == torch.float16)
            if kind == "iou" and b is not whole:
                assert not grad.any()


def test_half_precision_holds_the_area_of_a_picture() -> None:
    a = torch.tensor([0.0, 0, 600, 600], dtype=torch.float16)
    b = torch.tensor([0.0, 0, 600, 300], dtype=torch.float16)
    assert iou(a, b).item() == 0.5


@settings(deadline=None)
@given(st.lists(corner_boxes, max_size=5), st.lists(corner_boxes, max_size=5), kinds)
def test_pairwise_is_each_with_each(a: list[list[float]], b: list[list[float]], kind: IouKind) -> None:
    first, second = of(a).reshape(-1, 4), of(b).reshape(-1, 4)  # type: ignore[arg-type]
    table = pairwise_iou(first, second, kind)
    assert table.shape == (len(a), len(b))
    for i in range(len(a)):
        for j in range(len(b)):
            assert table[i, j].item() == pytest.approx(iou(first[i], second[j], kind).item(), abs=1e-12)


def test_shape_iou_is_the_iou_on_one_centre() -> None:
    a = torch.rand(6, 2, dtype=torch.float64) + 0.1
    b = torch.rand(4, 2, dtype=torch.float64) + 0.1
    centred = pairwise_iou(torch.cat((-a / 2, a / 2), 1), torch.cat((-b / 2, b / 2), 1))
    torch.testing.assert_close(shape_iou(a, b), centred)
    assert torch.equal(shape_iou(torch.zeros(1, 2), torch.ones(1, 2)), torch.zeros(1, 1))
    assert shape_iou(torch.zeros(1, 2), torch.zeros(1, 2)).item() == 0


def test_suppression_by_hand() -> None:
    """The second overlaps the first by 0.6; the third overlaps the second, which is gone, and so stays."""
    boxes = torch.tensor([[0.0, 0, 4, 4], [1.0, 0, 5, 4], [2.0, 0, 6, 4], [20.0, 20, 24, 24]])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.95])
    assert nms(boxes, scores, 0.5).tolist() == [3, 0, 2]
    assert nms(boxes, scores, 0.6).tolist() == [3, 0, 1, 2]  # not above the threshold, so kept
    assert nms(boxes, scores, 0.0).tolist() == [3, 0]
    assert nms(boxes[:0], scores[:0], 0.5).tolist() == []


@settings(deadline=None)
@given(st.lists(st.tuples(corner_boxes, st.integers(0, 9)), min_size=1, max_size=14), st.floats(0.05, 0.95))
def test_what_suppression_promises(found: list[tuple[list[float], int]], threshold: float) -> None:
    boxes = of([b for b, _ in found])  # type: ignore[arg-type]
    scores = torch.tensor([s / 10 for _, s in found])
    kept = nms(boxes, scores, threshold)
    overlaps = pairwise_iou(boxes, boxes)
    assert scores[kept[0]] == scores.max()
    assert torch.equal(scores[kept], scores[kept].sort(descending=True).values)
    among = overlaps[kept][:, kept].fill_diagonal_(0)
    assert (among <= threshold).all()
    for gone in set(range(len(boxes))) - set(kept.tolist()):
        stronger = kept[scores[kept] >= scores[gone]]
        assert (overlaps[gone, stronger] > threshold).any()


def test_equal_scores_keep_their_order() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4]] * 3)
    assert nms(boxes, torch.tensor([0.5, 0.5, 0.5]), 0.5).tolist() == [0]


def test_two_classes_may_share_one_box() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4]] * 3)
    scores, classes = torch.tensor([0.6, 0.9, 0.7]), torch.tensor([4, 2, 4])
    assert nms_per_class(boxes, scores, classes, 0.5).tolist() == [1, 2]
    none = nms_per_class(boxes[:0], scores[:0], classes[:0], 0.5)
    assert none.shape == (0,)
    assert none.dtype == torch.long
