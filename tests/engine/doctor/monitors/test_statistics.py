"""What is measured on the device, against what plain loops over slots give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from engine.boxes import iou, to_xyxy
from engine.doctor.monitors.movement import Movement
from engine.doctor.monitors.setting import HeadSums
from engine.doctor.monitors.statistics import HeadStatistics
from engine.doctor.monitors.term_gradients import term_gradients
from engine.layout import Head, Layout
from engine.yolo.detector import Detector, Encoded

HEADS = (
    Head(4, 6, 16, torch.tensor([[1.0, 1.5], [2.5, 2.0]]), 3),
    Head(2, 3, 32, torch.tensor([[1.5, 1.0], [2.0, 1.8]]), 3),
)
LAYOUT = Layout(
    "b (a c) y x", ("x", "y", "w", "h", "conf", "class*"), target_xy="cell", target_wh="log-anchor"
)


def scene(layout: Layout) -> tuple[Detector, Encoded, list[Tensor]]:
    generator = torch.Generator().manual_seed(3)
    detector = Detector(HEADS, layout)
    boxes = [torch.rand(5, 4, generator=generator) * 0.4 + 0.1 for _ in range(2)] + [torch.zeros(0, 4)]
    labels = [torch.randint(3, (len(b),), generator=generator) for b in boxes]
    encoded = detector.encode(boxes, labels)
    preds = [torch.randn(layout.pred_shape(3, head), generator=generator).requires_grad_() for head in HEADS]
    return detector, encoded, preds


@pytest.mark.parametrize("layout", [Layout(), LAYOUT], ids=["canonical", "another"])
@pytest.mark.parametrize("known", [True, False], ids=["positives known", "mask alone"])
def test_sums_are_those_of_a_loop_over_slots(layout: Layout, known: bool) -> None:
    detector, encoded, preds = scene(layout)
    detector.loss(preds, encoded)["total"].backward()
    if not known:
        encoded = Encoded(encoded.targets, None, encoded.truths)
    values = HeadStatistics(detector).measure(preds, encoded).tolist()
    got = HeadSums.read(values, 3)
    assert len(values) == HeadSums.size(3)
    positives, conf, overlap, hits, logit, rest, slots, right = 0, 0.0, 0.0, 0, 0.0, 0.0, [0] * 3, [0] * 3
    for declared, head, written in zip(preds, HEADS, encoded.targets, strict=True):
        pred, target = layout.read_pred(declared.detach(), head), layout.read_targets(written, head)
        boxes = detector.decode_canonical(declared.detach(), head)
        for place in torch.cartesian_prod(*[torch.arange(n) for n in pred.shape[:4]]).tolist():
            own, truth = pred[tuple(place)], target[tuple(place)]
            if not truth[0]:
                rest += float(own[0].sigmoid())
                continue
            box = float(iou(to_xyxy(boxes[tuple(place)]), to_xyxy(truth[2:6])))
            positives, conf, overlap = positives + 1, conf + float(own[0].sigmoid()), overlap + box
            hits, logit = hits + (box > 0.5), logit + float(own[0])
            slots[int(truth[1])] += 1
            right[int(truth[1])] += int(own[5:].argmax()) == int(truth[1])
    assert got.positives == positives > 5
    assert (got.conf, got.iou, got.logit) == pytest.approx((conf, overlap, logit), rel=1e-4)
    assert got.recalled == hits
    assert got.rest == pytest.approx(rest, rel=1e-4)
    assert (list(got.slots), list(got.right), sum(got.chosen)) == (slots, right, positives)
    conf_squares = sum(
        float(layout.read_pred(p.grad, h)[..., 0].square().sum())  # type: ignore[arg-type]
        for p, h in zip(preds, HEADS, strict=True)
    )
    whole = sum(float(p.grad.square().sum()) for p in preds if p.grad is not None)
    assert got.gradient[0] == pytest.approx(conf_squares, rel=1e-4)
    assert sum(got.gradient) == pytest.approx(whole, rel=1e-4)


def test_gradients_of_terms_leave_that_of_the_total_alone() -> None:
    detector, encoded, preds = scene(LAYOUT)
    names = ("lcls", "lbox", "lobj", "liou", "total")
    terms = detector.loss(preds, encoded)
    terms["shown"] = 3.0
    values = term_gradients(terms, (*names, "shown"), preds, detector.layout, detector.heads)
    assert all(pred.grad is None for pred in preds)
    norms, products = values[:6], values[6:].view(6, 6)
    assert norms[5] == 0
    terms["total"].backward()
    whole = torch.cat([p.grad.flatten() for p in preds if p.grad is not None])
    assert norms[4] == pytest.approx(float(whole.norm()), rel=1e-5)
    assert products[4, 4] == pytest.approx(float(whole.square().sum()), rel=1e-5)
    # the total is the sum of three of them
    assert products[:3, 4].sum() == pytest.approx(float(products[4, 4]), rel=1e-4)


def test_updates_beside_weights() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 40, 3), nn.Conv2d(40, 8, 1)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD([model[0].weight, *model[1].parameters()], lr=0.1)
    movement = Movement(model, optimizer)
    assert movement.missing == ("0.bias",)
    assert movement.is_weight == (True, False, True, False)
    movement.before()
    with torch.no_grad():
        model[0].weight *= 1.25
        model[1].bias -= 0.5
    ratios = movement.after()
    assert ratios[0] == pytest.approx(0.2)
    assert (ratios[1], ratios[2]) == (0, 0)
    assert ratios[3] > 0.1
