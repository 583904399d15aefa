"""Frames read every layout alike, and quantities are what their names say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from engine.boxes import iou, to_xyxy
from engine.errors import UserError
from engine.inspection.frames import Frame, built_in_decode
from engine.inspection.quantities import (
    find_quantity,
    grid,
    list_quantities,
    positive_grid,
    quantity_map,
    scale_of,
)
from engine.inspection.slots import Slot
from engine.layout import Head, Layout

from .scenes import COARSE, HEAD, ORDERS, POSITIVES, canonical_pred, canonical_targets, frame, snapshot

PRED = ("x", "y", "w", "h", "class*", "conf")
OTHER = Layout(order="b (a c) y x", pred=PRED, target_xy="cell", target_wh="log-anchor", decode="yolov5")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("pred", [PRED, Layout().pred])
def test_every_layout_shows_the_same_numbers(order: str, pred: tuple[str, ...]) -> None:
    plain, other = frame(), frame(Layout(order=order, pred=pred))
    names = [quantity.name for quantity in list_quantities(plain)]
    assert set(names) == {quantity.name for quantity in list_quantities(other)}
    for name in names:
        one, two = quantity_map(plain, name, 0), quantity_map(other, name, 0)
        # the last bit of a sigmoid may depend on how the memory lies
        assert torch.allclose(one, two, rtol=1e-6, atol=1e-7, equal_nan=True), name


def test_quantities_in_closed_form() -> None:
    seen = frame()
    pred, targets = canonical_pred(), canonical_targets()
    decoded = built_in_decode(Layout())(pred, HEAD)
    assert torch.equal(quantity_map(seen, "conf", 0), pred[..., 0].sigmoid())
    assert torch.equal(quantity_map(seen, "pred.class1", 0), pred[..., 6])
    assert torch.equal(quantity_map(seen, "grad.w", 0), pred[..., 3] * 0.5 - 0.1)
    assert torch.equal(quantity_map(seen, "targets.weight", 0), targets[..., 6])
    overlap, error = quantity_map(seen, "iou", 0), quantity_map(seen, "error.w", 0)
    for slot in POSITIVES:
        assert overlap[slot] == iou(to_xyxy(decoded[slot]), to_xyxy(targets[slot][2:6]))
        assert error[slot] == (decoded[slot][2] - 0.3).abs()
    assert int(overlap.isfinite().sum()) == int(error.isfinite().sum()) == len(POSITIVES)


def test_targets_are_shown_as_they_stand_but_compared_in_one_unit() -> None:
    seen = frame(OTHER)
    slot = POSITIVES[0]
    assert quantity_map(seen, "targets.x", 0)[slot] == pytest.approx(0.5)  # the middle of its cell
    wanted = math.log(0.3 * HEAD.grid_w / float(HEAD.anchors[1, 0]))
    assert quantity_map(seen, "targets.w", 0)[slot] == pytest.approx(wanted, rel=1e-5)
    canonical = seen.targets(0)
    assert canonical is not None
    assert canonical[slot].tolist() == pytest.approx(canonical_targets()[slot].tolist(), rel=1e-5)
    assert "log-anchor" in find_quantity(seen, "targets.w").description


def test_absent_tensors_offer_nothing_and_are_decoded_where_they_can_be() -> None:
    whole = snapshot()
    lean = Frame(
        Frame(whole).snapshot.__class__(1, 1, Layout(), (HEAD,), {"pred.0": whole.tensors["pred.0"]})
    )
    names = {quantity.name for quantity in list_quantities(lean)}
    assert {"conf", "pred.x", "decoded.x"} <= names
    assert not {name for name in names if name.startswith(("targets", "grad", "loss", "error", "differ"))}
    assert torch.equal(quantity_map(lean, "decoded.h", 0), quantity_map(Frame(whole), "decoded.h", 0))
    assert lean.image(0) is None
    assert lean.truths(0) == []
    with pytest.raises(KeyError):
        quantity_map(lean, "grad.x", 0)
    with pytest.raises(KeyError):
        quantity_map(lean, "pred.q", 0)


def test_grid_takes_one_anchor_or_the_largest_magnitude() -> None:
    pred = torch.zeros(2, 4, 6, 2, 8)
    pred[1, 2, 3, 0, 1], pred[1, 2, 3, 1, 1] = -5.0, 4.0
    pred[1, 0, 1, 0, 1] = float("nan")
    seen = frame(pred=pred)
    assert grid(seen, "pred.x", 0, 1, 1)[2, 3] == 4
    largest = grid(seen, "pred.x", 0, 1, "max")
    assert largest.shape == (4, 6)
    assert largest[2, 3] == -5
    assert math.isnan(largest[0, 1])  # a NaN is what one looks for
    assert np.count_nonzero(np.nan_to_num(largest)) == 1


def test_grid_of_a_masked_quantity_passes_over_slots_without_truth() -> None:
    seen = frame()
    overlap = grid(seen, "iou", 0, 0, "max")
    assert overlap[1, 2] == quantity_map(seen, "iou", 0)[0, 1, 2, 1]
    assert np.isfinite(overlap).sum() == 2
    positives = positive_grid(seen, 0, 0, "max")
    assert [tuple(at) for at in np.argwhere(positives)] == [(1, 2), (3, 5)]
    assert positive_grid(seen, 0, 0, 1).sum() == 1


def test_scale_is_one_for_all_frames_and_shrugs_at_wild_slots() -> None:
    calm, wild = canonical_pred(), canonical_pred(seed=5) * 3
    wild[0, 0, 0, 0, 2] = float("inf")
    frames = [frame(pred=calm), frame(pred=wild)]
    low, high = scale_of("pred.y", frames)
    assert low == -high
    assert 3 < high < 12
    assert scale_of("conf", frames) == (0.0, 1.0)
    low, high = scale_of("loss.lbox", frames)
    assert low == 0
    assert 0.9 < high <= 1
    assert scale_of("pred.y", []) == (0.0, 1.0)
    assert scale_of("grad.x", [frame(pred=torch.full((2, 4, 6, 2, 8), float("nan")))]) == (-1.0, 1.0)


def test_several_heads() -> None:
    seen = frame(heads=(HEAD, COARSE))
    assert grid(seen, "conf", 1, 0, 0).shape == (2, 3)
    assert seen.holds(Slot(1, 1, 1, 2, 1))
    assert not seen.holds(Slot(1, 1, 2, 0, 0))
    assert not seen.holds(Slot(2, 0, 0, 0, 0))


def test_picture_and_truths() -> None:
    seen = frame()
    image = seen.image(1)
    assert image is not None
    assert image.shape == (128, 192, 3)
    assert image[0, 0, 1] == snapshot().tensors["images"][1, 1, 0, 0]
    assert seen.truths(0) == [((48.0, 48.0, 144.0, 80.0), 2)]
    assert (seen.class_name(2), seen.class_name(7)) == ("bird", "class 7")


def test_a_reference_of_another_shape_is_refused() -> None:
    with pytest.raises(UserError, match=r"other run: holds 2 image\(s\) on 2x3x2 of 3 classes"):
        Frame(snapshot(), snapshot(heads=(COARSE,)), reference_name="other run")


def test_a_reference_in_another_layout_is_compared_by_channel() -> None:
    theirs = canonical_pred(seed=3)
    seen = Frame(snapshot(), snapshot(OTHER, pred=theirs))
    expected = canonical_pred()[..., 0].sigmoid() - theirs[..., 0].sigmoid()
    assert torch.allclose(quantity_map(seen, "differ.conf", 0), expected)
    decoded = built_in_decode(Layout())(canonical_pred(), HEAD)
    reference = built_in_decode(OTHER)(theirs, HEAD)
    assert torch.allclose(quantity_map(seen, "differ.h", 0), decoded[..., 3] - reference[..., 3])


def test_half_precision_is_shown_as_float32() -> None:
    head = Head(2, 2, 32, torch.ones(1, 2), 1)
    pred = torch.randn(1, 2, 2, 1, 6).to(torch.bfloat16)
    made = snapshot().__class__(1, 1, Layout(), (head,), {"pred.0": pred})
    assert torch.equal(quantity_map(Frame(made), "pred.x", 0), pred[..., 1].float())
