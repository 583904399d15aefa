"""Declared layouts: there and back for any order of axes and channels, any unit of the target."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.layout import CANONICAL, PRED, TARGET, Head, Layout

HEAD = Head(3, 4, 32, torch.tensor([[1.0, 2.0], [0.5, 0.25]]), 3)


@st.composite
def orders(draw: st.DrawFn) -> str:
    """Any order of the axes, neighbours merged at will."""
    axes = draw(st.permutations("byxac"))
    groups: list[list[str]] = [[axes[0]]]
    for axis in axes[1:]:
        if draw(st.booleans()):
            groups.append([axis])
        else:
            groups[-1].append(axis)
    return " ".join(group[0] if len(group) == 1 else f"({' '.join(group)})" for group in groups)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    extra = draw(st.sampled_from([(), ("weight",), ("iou",), ("weight", "iou")]))
    return Layout(
        order=draw(orders()),
        pred=tuple(draw(st.permutations(PRED))),
        target=tuple(draw(st.permutations([*TARGET[:6], *extra]))),
        target_xy=draw(st.sampled_from(["image", "grid", "cell"])),
        target_wh=draw(st.sampled_from(["image", "grid", "log-anchor"])),
    )


def some_targets(batch: int = 2) -> Tensor:
    """Canonical targets: a third of the slots positive, their centres in their own cells, the rest 0."""
    generator = torch.Generator().manual_seed(7)
    shape = (batch, HEAD.grid_h, HEAD.grid_w, HEAD.anchor_count)
    rows = torch.arange(HEAD.grid_h).view(1, -1, 1, 1)
    columns = torch.arange(HEAD.grid_w).view(1, 1, -1, 1)

    def uniform() -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    mask = (uniform() < 0.33).double()
    w, h = 0.05 + 0.9 * uniform(), 0.05 + 0.9 * uniform()
    parts = [
        mask,
        (uniform() * HEAD.classes).floor(),
        (columns + uniform()) / HEAD.grid_w,
        (rows + uniform()) / HEAD.grid_h,
        w,
        h,
        2 - w * h,
        torch.zeros(shape, dtype=torch.float64),
    ]
    return torch.stack(parts, -1) * mask.unsqueeze(-1)


@settings(deadline=None)
@given(layouts())
def test_pred_there_and_back(layout: Layout) -> None:
    canonical = torch.arange(2 * 3 * 4 * 2 * 8, dtype=torch.float32).view(2, 3, 4, 2, 8)
    declared = layout.write_pred(canonical, HEAD)
    assert tuple(declared.shape) == layout.pred_shape(2, HEAD)
    assert torch.equal(layout.read_pred(declared, HEAD), canonical)


@settings(deadline=None)
@given(layouts())
def test_targets_there_and_back(layout: Layout) -> None:
    canonical = some_targets()
    declared = layout.write_targets(canonical, HEAD)
    assert tuple(declared.shape) == layout.target_shape(2, HEAD)
    torch.testing.assert_close(layout.read_targets(declared, HEAD), canonical)
    torch.testing.assert_close(layout.write_targets(layout.read_targets(declared, HEAD), HEAD), declared)


@settings(deadline=None)
@given(layouts(), st.integers(0, 3))
def test_values_a_slot_there_and_back(layout: Layout, batch: int) -> None:
    values = torch.arange(batch * 3 * 4 * 2).view(batch, 3, 4, 2)
    if batch == 0 and layout.order.split()[0] != "b":
        return  # how many images lie in nothing can only be told from an axis of their own
    assert torch.equal(layout.read_slots(layout.write_slots(values), HEAD), values)


@settings(deadline=None)
@given(layouts())
def test_iou_is_written_where_it_is_declared(layout: Layout) -> None:
    declared = layout.write_targets(some_targets(), HEAD)
    before = declared.clone()
    iou = torch.rand(2, 3, 4, 2, dtype=torch.float64)
    layout.fill_iou(declared, HEAD, iou)
    channels = layout.to_canonical_axes(declared, HEAD, len(layout.target))
    old = layout.to_canonical_axes(before, HEAD, len(layout.target))
    for k, name in enumerate(layout.target):
        assert torch.equal(channels[..., k], iou if name == "iou" else old[..., k])


def test_one_slot_by_hand() -> None:
    """Row 1, column 2, anchor 0 (1 x 2 cells): the centre 0.25, 0.75 inside its cell, half an anchor wide."""
    canonical = torch.zeros(1, 3, 4, 2, 8, dtype=torch.float64)
    x, y, w, h = 2.25 / 4, 1.75 / 3, 0.5 / 4, 1 / 3
    canonical[0, 1, 2, 0] = torch.tensor([1, 2, x, y, w, h, 2 - w * h, 0])
    cell = Layout(target_xy="cell", target_wh="log-anchor", target=("x", "y", "w", "h", "class", "mask"))
    expected = torch.tensor([0.25, 0.75, math.log(0.5), math.log(0.5), 2, 1], dtype=torch.float64)
    torch.testing.assert_close(cell.write_targets(canonical, HEAD)[0, 1, 2, 0], expected)
    grid = Layout(target_xy="grid", target_wh="grid")
    declared = grid.write_targets(canonical, HEAD)[0, 1, 2, 0]
    torch.testing.assert_close(declared[2:6], torch.tensor([2.25, 1.75, 0.5, 1.0], dtype=torch.float64))


def test_channels_first_and_merged_as_a_convolution_gives_it() -> None:
    raw = torch.arange(2 * 16 * 3 * 4.0).view(2, 16, 3, 4)
    layout = Layout(order="b (a c) y x", pred=("x", "y", "w", "h", "conf", "class*"))
    assert layout.pred_shape(2, HEAD) == (2, 16, 3, 4)
    canonical = layout.read_pred(raw, HEAD)
    assert canonical[1, 2, 3, 1, 0] == raw[1, 8 + 4, 2, 3]  # conf is the second anchor's fifth channel
    assert canonical[1, 2, 3, 1, 1] == raw[1, 8, 2, 3]
    assert canonical[1, 2, 3, 1, 7] == raw[1, 8 + 7, 2, 3]


def test_reading_keeps_the_gradient_and_needs_no_contiguous_tensor() -> None:
    raw = torch.randn(2, 3, 4, 16).permute(0, 3, 1, 2).requires_grad_()
    assert not raw.is_contiguous()
    layout = Layout(order="b (a c) y x")
    layout.read_pred(raw, HEAD)[..., 0].sum().backward()  # type: ignore[no-untyped-call]
    assert raw.grad is not None
    assert raw.grad[:, [0, 8]].eq(1).all()
    assert raw.grad.sum() == 2 * 3 * 4 * 2


def test_the_canonical_layout_moves_nothing() -> None:
    pred, targets = torch.randn(2, 3, 4, 2, 8), some_targets()
    assert CANONICAL.read_pred(pred, HEAD) is pred
    assert CANONICAL.write_pred(pred, HEAD) is pred
    assert CANONICAL.read_targets(targets, HEAD) is targets
    assert (
        Layout(order="b a y x c").read_pred(pred.permute(0, 3, 1, 2, 4), HEAD).data_ptr() == pred.data_ptr()
    )


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -1e30])
def test_negative_slots_are_zero_whatever_stood_there(garbage: float) -> None:
    layout = Layout(target_xy="cell", target_wh="log-anchor", target=TARGET[:6])
    declared = torch.full((1, 3, 4, 2, 6), garbage)
    declared[..., 0] = 0
    assert torch.equal(layout.read_targets(declared, HEAD), torch.zeros(1, 3, 4, 2, 8))
    canonical = torch.full((1, 3, 4, 2, 8), garbage)
    canonical[..., 0] = 0
    assert torch.equal(layout.write_targets(canonical, HEAD), torch.zeros(1, 3, 4, 2, 6))


def test_names_of_raw_channels() -> None:
    assert CANONICAL.pred_names(2) == ["conf", "x", "y", "w", "h", "class0", "class1"]
    assert Layout(pred=("class*", "x", "y", "w", "h", "conf")).pred_names(2)[:3] == ["class0", "class1", "x"]


@pytest.mark.parametrize("order", ["b y x a c", "b (a c) y x", "y x b a c", "(b a) c y x", "c a x y b"])
def test_a_wrong_shape_is_told_with_both_shapes(order: str) -> None:
    layout = Layout(order=order)
    right = list(layout.pred_shape(2, HEAD))
    for axis in range(len(right)):
        wrong = [size + (k == axis) for k, size in enumerate(right)]
        if order.split()[axis] == "b":
            continue  # a batch of three is a batch
        with pytest.raises(ValueError, match=r"shape \[.*\], expected \[.*\] for order") as caught:
            layout.read_pred(torch.zeros(wrong), HEAD)
        assert f"shape {wrong}" in str(caught.value)
    with pytest.raises(ValueError, match="expected"):
        layout.read_pred(torch.zeros(()), HEAD)


@pytest.mark.parametrize(
    "order",
    [
        "",
        "b y x a",
        "b y x a c c",
        "b y x a z",
        "byxac",
        "b (a c y x",
        "b a c) y x",
        "b () y x a c",
        "b(a c) y x",
    ],
)
def test_an_order_that_is_none(order: str) -> None:
    with pytest.raises(ValueError, match="order must name each of b y x a c once"):
        Layout(order=order)


def test_channel_names_that_make_no_layout() -> None:
    with pytest.raises(ValueError, match="pred must hold each of conf"):
        Layout(pred=("conf", "x", "y", "w", "class*"))
    for target in (TARGET[1:], (*TARGET, "mask"), (*TARGET, "angle"), TARGET[:5]):
        with pytest.raises(ValueError, match="target must hold mask"):
            Layout(target=target)


def test_a_heads_sizes() -> None:
    assert (HEAD.input_h, HEAD.input_w, HEAD.anchor_count) == (96, 128, 2)
    assert HEAD.to("cpu").anchors.device.type == "cpu"


def test_every_plain_order_agrees_with_permute() -> None:
    canonical = torch.randn(2, 3, 4, 2, 8)
    for axes in itertools.islice(itertools.permutations("byxac"), 0, None, 7):
        expected = canonical.permute(["byxac".index(axis) for axis in axes])
        assert torch.equal(Layout(order=" ".join(axes)).write_pred(canonical, HEAD), expected)
