"""One slot's table: indices as code writes them, numbers in closed form, shares that add up."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch

from engine.inspection.cell import cell_table
from engine.inspection.frames import Frame, built_in_decode
from engine.inspection.slots import Slot
from engine.layout import Head, Layout
from engine.runs.snapshots import CodePlace, make_snapshot
from engine.yolo.assign import assign
from engine.yolo.loss import LossProfile, loss

from .scenes import COARSE, HEAD, ORDERS, canonical_pred, canonical_targets, frame, sliced_decode, snapshot

SLOT = Slot(0, 0, 1, 2, 1)


def test_rows_of_the_seed_layout() -> None:
    table = cell_table(frame(), SLOT)
    pred = canonical_pred()[0, 1, 2, 1]
    decoded = built_in_decode(Layout())(canonical_pred(), HEAD)[0, 1, 2, 1]
    assert [row.name for row in table.rows] == ["conf", "x", "y", "w", "h", "class0", "class1", "class2"]
    assert [row.index for row in table.rows] == [f"pred[0, 1, 2, 1, {k}]" for k in range(8)]
    assert [row.pred for row in table.rows] == pred.tolist()
    assert [row.decoded for row in table.rows[1:5]] == decoded.tolist()
    assert table.rows[0].decoded == pytest.approx(1 / (1 + math.exp(-float(pred[0]))), rel=1e-6)
    assert [row.decoded for row in table.rows[5:]] == pytest.approx(pred[5:].softmax(0).tolist())
    assert [row.target for row in table.rows] == pytest.approx([0.25, 2.5 / 6, 1.5 / 4, 0.3, 0.2, 0, 1, 0])
    assert [row.gradient for row in table.rows] == pytest.approx((pred * 0.5 - 0.1).tolist())
    assert table.rows[3].difference == pytest.approx(float(decoded[2]) - 0.3)
    assert (table.rows[3].against, table.rows[3].reference, table.rows[3].differs) == ("target", None, False)
    assert table.positive
    assert (table.label, table.class_name, table.path) == (1, "dog", "/images/a.jpg")
    assert [(row.index, row.name) for row in table.target_rows[:2]] == [
        ("targets[0, 1, 2, 1, 0]", "mask"),
        ("targets[0, 1, 2, 1, 1]", "class"),
    ]


def test_boxes_in_pixels() -> None:
    table = cell_table(frame(), SLOT)
    assert table.cell == (64.0, 32.0, 96.0, 64.0)
    assert table.anchor == (80 - 48, 48 - 24, 80 + 48, 48 + 24)
    assert table.truth == pytest.approx((80 - 28.8, 48 - 12.8, 80 + 28.8, 48 + 12.8), abs=1e-4)
    x, y, w, h = (built_in_decode(Layout())(canonical_pred(), HEAD)[0, 1, 2, 1]).tolist()
    wanted = ((x - w / 2) * 192, (y - h / 2) * 128, (x + w / 2) * 192, (y + h / 2) * 128)
    assert table.decoded == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("order", ORDERS)
def test_an_index_points_at_its_number_in_the_declared_tensor(order: str) -> None:
    layout = Layout(order=order, pred=("x", "y", "w", "h", "class*", "conf"))
    made = snapshot(layout)
    table = cell_table(Frame(made), Slot(0, 1, 3, 4, 1))
    for row in table.rows:
        index = tuple(int(number) for number in re.findall(r"\d+", row.index))
        assert made.tensors["pred.0"][index] == row.pred, row.index
    for target in table.target_rows:
        index = tuple(int(number) for number in re.findall(r"\d+", target.index))
        assert made.tensors["targets.0"][index] == target.value


def test_indices_name_the_head_where_there_are_several() -> None:
    table = cell_table(frame(heads=(HEAD, COARSE)), Slot(1, 0, 1, 2, 0))
    assert table.rows[2].index == "pred@1[0, 1, 2, 0, 2]"


def test_a_negative_slot() -> None:
    table = cell_table(frame(), Slot(0, 1, 2, 2, 0))
    assert table.positive is False
    assert (table.truth, table.iou, table.label, table.class_name) == (None, None, None, "")
    assert [row.target for row in table.rows[:2]] == [0.0, None]


def test_the_reference_stands_beside_and_names_what_differs() -> None:
    _, seen = sliced_decode(Layout())
    table = cell_table(seen, SLOT)
    reference = built_in_decode(Layout())(canonical_pred(), HEAD)[0, 1, 2, 1]
    assert [row.reference for row in table.rows[1:5]] == reference.tolist()
    assert [row.name for row in table.rows if row.differs] == ["x", "y", "w", "h"]
    assert table.rows[0].difference == 0
    assert table.rows[1].against == "reference"
    assert table.reference is not None
    assert table.iou is not None
    assert table.reference_iou is not None
    assert table.iou != table.reference_iou


def test_a_second_run_brings_its_own_confidence() -> None:
    theirs = canonical_pred(seed=8)
    table = cell_table(Frame(snapshot(), snapshot(pred=theirs)), SLOT)
    assert table.rows[0].reference == pytest.approx(float(theirs[0, 1, 2, 1, 0].sigmoid()))
    assert table.rows[7].reference == pytest.approx(float(theirs[0, 1, 2, 1, 5:].softmax(0)[2]))


def real_step(profile: LossProfile, head: Head) -> tuple[Frame, torch.Tensor]:
    """A step as the built-in detector makes it, and a positive slot."""
    torch.manual_seed(1)
    boxes, labels = [torch.tensor([[0.41, 0.33, 0.3, 0.5]])], [torch.tensor([1])]
    assigned = assign(boxes, labels, [head])
    pred = torch.randn(1, head.grid_h, head.grid_w, head.anchor_count, 5 + head.classes)
    result = loss([pred], assigned, [head], profile, maps=True)
    made = make_snapshot(
        step=1,
        epoch=1,
        layout=Layout(),
        heads=[head],
        pred=[pred],
        targets=assigned.targets,
        maps=result.maps,
        profile={"box": profile.box, "classes": profile.classes},
    )
    return Frame(made), assigned.positives[0].index[0]


@pytest.mark.parametrize("box", ["mse", "smooth-l1"])
@pytest.mark.parametrize("classes", ["softmax", "bce"])
def test_shares_of_the_built_in_loss_add_up_to_its_map(box: str, classes: str) -> None:
    profile = LossProfile(box=box, classes=classes)  # type: ignore[arg-type]
    seen, at = real_step(profile, HEAD)
    b, y, x, a = at.tolist()
    table = cell_table(seen, Slot(0, b, y, x, a))
    by_name = {row.name: row for row in table.rows}
    parts = [by_name[name] for name in ("x", "y", "w", "h")]
    assert not any(row.loss_is_shared for row in parts)
    assert sum(row.loss or 0 for row in parts) == pytest.approx(table.terms["lbox"], rel=1e-5)
    if box == "mse":  # half the squared error of the offset, times 2 - w*h, batch of one
        truth = by_name["x"].target
        assert truth is not None
        assert by_name["x"].decoded is not None
        error = (by_name["x"].decoded - truth) * HEAD.grid_w
        assert by_name["x"].loss == pytest.approx(error**2 / 2 * (2 - 0.3 * 0.5), rel=1e-4)
    kinds = [by_name[f"class{k}"] for k in range(3)]
    assert all(row.loss_is_shared == (classes == "softmax") for row in kinds)
    if classes == "bce":
        assert sum(row.loss or 0 for row in kinds) == pytest.approx(table.terms["lcls"], rel=1e-5)
    assert by_name["conf"].loss == pytest.approx(table.terms["lobj"])


def test_a_loss_of_ones_own_is_not_split() -> None:
    seen = Frame(replace(snapshot(), functions={"loss": CodePlace("/my.py", 3)}))
    table = cell_table(seen, SLOT)
    parts = table.rows[1:5]
    assert all(row.loss_is_shared and row.loss == pytest.approx(table.terms["lbox"]) for row in parts)


def test_nan_is_shown_and_no_share_is_made_of_it() -> None:
    pred = canonical_pred()
    pred[0, 1, 2, 1, 1] = float("nan")
    table = cell_table(frame(pred=pred), SLOT)
    assert math.isnan(table.rows[1].pred or 0)
    assert math.isnan(table.rows[1].decoded or 0)
    assert table.iou is not None
    assert math.isnan(table.iou)
    assert all(row.loss_is_shared for row in table.rows[1:5])


def test_objectness_one_and_a_layout_without_iou() -> None:
    one = Frame(replace(snapshot(), profile={"objectness": "one"}))
    assert cell_table(one, SLOT).rows[0].target == 1.0
    bare = frame(Layout(target=("mask", "class", "x", "y", "w", "h")))
    table = cell_table(bare, SLOT)
    assert table.rows[0].target == table.iou  # what conf is trained towards, measured
    assert len(table.target_rows) == 6


def test_a_slot_that_is_not_there() -> None:
    with pytest.raises(IndexError):
        cell_table(frame(), Slot(0, 0, 4, 0, 0))
    assert canonical_targets().shape == (2, 4, 6, 2, 8)
