"""The loss: closed forms at zero logits, zero at the perfect prediction, who moves what, reductions."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.layout import Head
from engine.yolo.assign import Assigned, assign
from engine.yolo.decode import decode_boxes
from engine.yolo.loss import TERMS, LossProfile, loss

HEAD = Head(4, 6, 32, torch.tensor([[1.0, 1.5], [3.0, 2.0]]), 3)
YOLOV2 = LossProfile()
COMPACT = LossProfile(
    confidence="bce", box="ciou", classes="bce", reduction="positives", ignore_iou=0, object_scale=1
)
PROFILES = [
    replace(YOLOV2, box=box, confidence=confidence, reduction=reduction, ignore_iou=0, objectness=objectness)
    for box, confidence, reduction, objectness in itertools.product(
        ("mse", "smooth-l1", "iou", "giou", "diou", "ciou"),
        ("mse", "bce"),
        ("batch", "positives", "mean"),
        ("iou", "one"),
    )
]


def truths(batch: int = 2) -> Assigned:
    boxes = [torch.tensor([[0.3, 0.4, 0.2, 0.3], [0.8, 0.7, 0.5, 0.4]]), torch.tensor([[0.1, 0.9, 0.1, 0.2]])]
    labels = [torch.tensor([0, 2]), torch.tensor([1])]
    return assign((boxes * batch)[:batch], (labels * batch)[:batch], [HEAD])


def perfect(assigned: Assigned, sure: float = 30.0) -> Tensor:
    """A prediction that decodes to the truths with certainty."""
    target = assigned.targets[0]
    pred = torch.zeros(*target.shape[:4], 8)
    pred[..., 0] = -sure
    for b, y, x, a in assigned.positives[0].index.tolist():
        slot = target[b, y, x, a]
        fraction = torch.stack((slot[2] * HEAD.grid_w - x, slot[3] * HEAD.grid_h - y))
        pred[b, y, x, a, 0] = sure
        pred[b, y, x, a, 1:3] = torch.logit(fraction)
        size = slot[4:6] * torch.tensor([HEAD.grid_w, HEAD.grid_h]) / HEAD.anchors[a]
        pred[b, y, x, a, 3:5] = size.log()
        pred[b, y, x, a, 5:] = -sure
        pred[b, y, x, a, 5 + int(slot[1])] = sure
    return pred


@pytest.mark.parametrize("profile", [YOLOV2, COMPACT, *PROFILES])
def test_a_perfect_prediction_costs_nothing(profile: LossProfile) -> None:
    assigned = truths()
    terms = loss([perfect(assigned)], assigned, [HEAD], profile).terms
    for name in (*TERMS, "total"):
        assert float(terms[name]) == pytest.approx(0, abs=1e-4), name
    index = tuple(assigned.positives[0].index.unbind(1))
    assert assigned.targets[0][index][:, 7].tolist() == pytest.approx([1.0] * 3, abs=1e-4)


def test_zero_logits_in_closed_form() -> None:
    """YOLOv2's first iteration: sigmoid .5 everywhere, boxes at their anchors."""
    assigned = truths()
    pred = torch.zeros(2, 4, 6, 2, 8)
    profile = replace(YOLOV2, ignore_iou=0)
    terms = loss([pred], assigned, [HEAD], profile).terms
    slots, positives = 2 * 4 * 6 * 2, 3
    assert float(terms["lcls"]) == pytest.approx(positives * math.log(3) / 2, rel=1e-5)
    iou = assigned.targets[0][..., 7][assigned.targets[0][..., 0] > 0]
    expected = ((slots - positives) * 0.25 + float((5 * (0.5 - iou) ** 2).sum())) / 2 / 2
    assert float(terms["lobj"]) == pytest.approx(expected, rel=1e-5)
    assert float(terms["liou"]) == pytest.approx(float((1 - iou).sum()) / 2, rel=1e-5)
    box = 0.0
    for b, y, x, a in assigned.positives[0].index.tolist():
        slot = assigned.targets[0][b, y, x, a].double()
        off_x, off_y = 0.5 - (float(slot[2]) * 6 - x), 0.5 - (float(slot[3]) * 4 - y)
        log_w = math.log(float(slot[4]) * 6 / float(HEAD.anchors[a, 0]))
        log_h = math.log(float(slot[5]) * 4 / float(HEAD.anchors[a, 1]))
        box += (2 - float(slot[4] * slot[5])) * (off_x**2 + off_y**2 + log_w**2 + log_h**2) / 2
    assert float(terms["lbox"]) == pytest.approx(box / 2, rel=1e-4)


def test_the_squared_terms_have_darknets_gradient() -> None:
    """delta = scale * (target - sigma) * sigma', and (2 - w*h) * (truth - t) for the box."""
    assigned = truths()
    pred = torch.randn(2, 4, 6, 2, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    profile = replace(YOLOV2, ignore_iou=0, objectness="one")
    loss([pred], assigned, [HEAD], profile).terms["total"].backward()
    assert pred.grad is not None
    b, y, x, a = assigned.positives[0].index[0].tolist()
    slot, raw, grad = assigned.targets[0][b, y, x, a], pred.detach()[b, y, x, a], pred.grad[b, y, x, a] * 2
    sigma = raw.sigmoid()
    assert float(grad[0]) == pytest.approx(float(5 * (sigma[0] - 1) * sigma[0] * (1 - sigma[0])), rel=1e-4)
    fraction = float(slot[2]) * 6 - x
    assert float(grad[1]) == pytest.approx(
        float(slot[6] * (sigma[1] - fraction) * sigma[1] * (1 - sigma[1])), rel=1e-3
    )
    wanted = math.log(float(slot[4]) * 6 / float(HEAD.anchors[a, 0]))
    assert float(grad[3]) == pytest.approx(float(slot[6] * (raw[3] - wanted)), rel=1e-3)
    one_hot = torch.eye(3)[int(slot[1])]
    assert torch.allclose(grad[5:], raw[5:].softmax(0) - one_hot, atol=1e-5)


@pytest.mark.parametrize("profile", [YOLOV2, COMPACT, *PROFILES])
def test_each_term_moves_its_own_channels(profile: LossProfile) -> None:
    assigned = truths()
    pred = torch.randn(2, 4, 6, 2, 8, generator=torch.Generator().manual_seed(3)).requires_grad_()
    terms = loss([pred], assigned, [HEAD], profile).terms
    positive = assigned.targets[0][..., 0] > 0
    for name, channels in (("lcls", slice(5, 8)), ("lbox", slice(1, 5)), ("lobj", slice(0, 1))):
        (moved,) = torch.autograd.grad(terms[name], pred, retain_graph=True)
        assert (moved[positive][:, channels] != 0).any(), name
        rest = moved.clone()
        rest[..., channels] = 0
        assert rest.abs().sum() == 0, f"{name} moves channels that are not its own"
        if name != "lobj":
            assert moved[~positive].abs().sum() == 0, f"{name} moves negatives"


def test_liou_is_reported_and_in_the_total_only_where_listed() -> None:
    assigned, pred = truths(), torch.randn(2, 4, 6, 2, 8)
    terms = loss([pred], assigned, [HEAD], YOLOV2).terms
    assert float(terms["total"]) == pytest.approx(sum(float(terms[n]) for n in ("lcls", "lbox", "lobj")))
    listed = replace(YOLOV2, total=("lcls", "lobj", "liou"))
    terms = loss([pred], assigned, [HEAD], listed).terms
    assert float(terms["total"]) == pytest.approx(sum(float(terms[n]) for n in ("lcls", "lobj", "liou")))


@pytest.mark.parametrize("profile", [YOLOV2, COMPACT, *PROFILES])
def test_a_batch_of_the_same_image_twice_costs_the_same(profile: LossProfile) -> None:
    pred = torch.randn(1, 4, 6, 2, 8)
    once = loss([pred], truths(1), [HEAD], profile).terms
    assigned = truths(1)
    boxes = [assigned.truths[0]] * 2
    labels = [torch.tensor([0, 2])] * 2
    twice = loss([pred.repeat(2, 1, 1, 1, 1)], assign(boxes, labels, [HEAD]), [HEAD], profile).terms
    for name in (*TERMS, "total"):
        assert float(twice[name]) == pytest.approx(float(once[name]), rel=1e-5), name


@pytest.mark.parametrize("profile", [YOLOV2, COMPACT, replace(YOLOV2, prior_pull=10), *PROFILES])
def test_the_maps_of_a_term_add_up_to_it(profile: LossProfile) -> None:
    fine = Head(8, 12, 16, torch.tensor([[0.5, 0.5], [1.0, 2.0]]), 3)
    boxes = [torch.tensor([[0.3, 0.4, 0.04, 0.05], [0.8, 0.7, 0.5, 0.4]]), torch.zeros(0, 4)]
    assigned = assign(boxes, [torch.tensor([0, 2]), torch.zeros(0).long()], [fine, HEAD])
    preds = [torch.randn(2, 8, 12, 2, 8), torch.randn(2, 4, 6, 2, 8)]
    result = loss(preds, assigned, [fine, HEAD], profile, maps=True)
    for name in TERMS:
        total = sum(float(each.sum()) for each in result.maps[name])
        assert total == pytest.approx(float(result.terms[name]), rel=1e-4), name


def test_negatives_near_a_truth_are_ignored() -> None:
    assigned = truths()
    pred = perfect(assigned, sure=0.0).requires_grad_()
    b, y, x, a = assigned.positives[0].index[1].tolist()
    # the other anchor of the same cell, made to decode to the same truth
    other = 1 - a
    with torch.no_grad():
        pred[b, y, x, other, 1:3] = pred[b, y, x, a, 1:3]
        pred[b, y, x, other, 3:5] = pred[b, y, x, a, 3:5] + (HEAD.anchors[a] / HEAD.anchors[other]).log()
    for threshold, ignored in ((0.6, True), (0.0, False)):
        terms = loss([pred], assigned, [HEAD], replace(YOLOV2, ignore_iou=threshold)).terms
        (moved,) = torch.autograd.grad(terms["lobj"], pred)
        assert (float(moved[b, y, x, other, 0]) == 0) is ignored


def test_boxes_are_pulled_to_their_priors_while_few_images_were_seen() -> None:
    assigned = truths()
    pred = torch.randn(2, 4, 6, 2, 8)
    profile = replace(YOLOV2, prior_pull=100, ignore_iou=0)
    early = loss([pred], assigned, [HEAD], profile, seen=99).terms["lbox"]
    late = loss([pred], assigned, [HEAD], profile, seen=100).terms["lbox"]
    t = torch.cat((pred[..., 1:3].sigmoid() - 0.5, pred[..., 3:5]), -1)
    negative = assigned.targets[0][..., 0] == 0
    expected = 0.01 * float((t[negative] ** 2).sum()) / 2 / 2
    assert float(early - late) == pytest.approx(expected, rel=1e-3)


def test_no_object_at_all() -> None:
    assigned = assign([torch.zeros(0, 4)], [torch.zeros(0).long()], [HEAD])
    for profile in (YOLOV2, COMPACT):
        pred = torch.randn(1, 4, 6, 2, 8, requires_grad=True)
        terms = loss([pred], assigned, [HEAD], profile).terms
        terms["total"].backward()
        assert all(torch.isfinite(value) for value in terms.values())
        assert terms["lcls"].item() == terms["lbox"].item() == terms["liou"].item() == 0
        assert pred.grad is not None
        assert torch.isfinite(pred.grad).all()


def test_a_foreign_decode_and_iou_are_called() -> None:
    assigned, pred = truths(), torch.randn(2, 4, 6, 2, 8)
    called = []

    def decode(raw: Tensor, head: Head) -> Tensor:
        called.append("decode")
        return decode_boxes(raw, head)

    def iou(a: Tensor, b: Tensor) -> Tensor:
        called.append("iou")
        return a[..., 0] * 0 + 0.25

    terms = loss([pred], assigned, [HEAD], YOLOV2, decode, iou).terms
    assert {"decode", "iou"} <= set(called)
    assert float(terms["liou"]) == pytest.approx(0.75 * 3 / 2)
