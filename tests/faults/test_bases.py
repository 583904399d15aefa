"""The bench's own cases, proven without the doctor: what it calls right is right, what it calls a fault
behaves differently."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from engine.boxes import iou as corner_iou
from engine.boxes import to_xyxy
from engine.data.letterbox import letterbox
from engine.errors import UserError
from engine.letterbox import Letterbox
from tests.faults.case import Case, load_cases
from tests.faults.scene import (
    SIZES,
    Scene,
    behaviour,
    border_truths,
    near,
    noisy,
    odd_truths,
    open_scene,
    perfect,
    same,
    truths,
)

CASES = load_cases()
FUNCTIONS = [case for case in CASES if case.base != "loop"]  # a loop has tests of its own: it is no plug-in
RIGHT = [case for case in FUNCTIONS if case.legitimate and case.code]
FAULTS = [case for case in FUNCTIONS if not case.legitimate and case.code]
DATA = [case for case in CASES if case.expected == "warning"]
SEEDS = (1, 2, 3)

# what a compiler looks at while it traces a loss is its own business
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]

# legitimate, and not of the reference's form: their own test is below
OWN_FORM = {
    "objectness-one-undeclared", "confidence-bce-undeclared", "profile-undeclared", "focal-objectness",
    "focal-classes", "label-smoothing", "label-smoothing-bce", "classes-bce", "wh-plain", "wh-root",
    "right-prior-pull",
}  # fmt: skip

HIDES_PAINT = {"tracker-solarized"}
"""Legitimate, and its colours are not those that the paint is known by."""


def named(cases: list[Case]) -> list[Any]:
    return [pytest.param(case, id=case.slug) for case in cases]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    return {case.slug: open_scene(case, tmp_path_factory.mktemp("right")) for case in RIGHT}


def has(name: str) -> list[Any]:
    return named([case for case in RIGHT if not case.keep or name in case.keep])


UNPULLED = [each for each in has("loss") if each.id != "right-prior-pull"]
"""Losses whose negatives have no box to learn."""


@pytest.mark.parametrize("case", has("assign"))
def test_assign_is_the_contracts(case: Case, scenes: dict[str, Scene]) -> None:
    scene = scenes[case.slug]
    detector, reference = scene.detector, scene.detector.without_user()
    for boxes, labels in [*(truths(scene, seed) for seed in SEEDS), border_truths(scene), odd_truths()]:
        got = detector.encode([b.clone() for b in boxes], labels)
        want = reference.encode(boxes, labels)
        for mine, theirs, head in zip(got.targets, want.targets, scene.heads, strict=True):
            assert mine.dtype == torch.float32
            own, other = (detector.layout.read_targets(each, head) for each in (mine, theirs))
            # where claims met, which truth stays is free
            channels = slice(0, 1) if want.overwritten else slice(None)
            assert torch.allclose(own[..., channels], other[..., channels], atol=1e-4)


@pytest.mark.parametrize("case", has("assign"))
def test_a_contested_slot_holds_one_whole_truth(case: Case, scenes: dict[str, Scene]) -> None:
    scene = scenes[case.slug]
    for seed in SEEDS:
        boxes, labels = truths(scene, seed, contested=True)
        for target, head in zip(scene.detector.encode(boxes, labels).targets, scene.heads, strict=True):
            canonical = scene.detector.layout.read_targets(target, head)
            for image in range(len(boxes)):
                rows = canonical[image][canonical[image][..., 0] > 0]
                whole = torch.cat((labels[image][:, None].float(), boxes[image]), dim=1)
                if len(rows):
                    distance = (rows[:, None, 1:6] - whole[None]).abs().amax(-1).amin(1)
                    assert float(distance.max()) < 1e-4
                else:
                    assert len(scene.heads) > 1 or not len(whole)


@pytest.mark.parametrize("case", has("decode"))
def test_decode_is_the_declared_one(case: Case, scenes: dict[str, Scene]) -> None:
    scene = scenes[case.slug]
    for seed in SEEDS:
        for pred, head in zip(noisy(scene, seed), scene.heads, strict=True):
            kept = pred.clone()
            boxes = scene.detector.decode(pred, head)
            assert torch.allclose(boxes, scene.detector.without_user().decode(pred, head), atol=1e-5)
            assert torch.equal(pred, kept)


@pytest.mark.parametrize("case", has("iou"))
def test_iou_is_closed_form(case: Case, scenes: dict[str, Scene]) -> None:
    iou = scenes[case.slug].user.functions["iou"]
    a = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.5, 0.5, 0.2, 0.4], [0.5, 0.5, 0.2, 0.4], [0.2, 0.2, 0.1, 0.1]])
    b = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.6, 0.5, 0.2, 0.4], [0.5, 0.5, 0.1, 0.4], [0.8, 0.8, 0.1, 0.1]])
    assert torch.allclose(iou(a, b), torch.tensor([1, 1 / 3, 0.5, 0]), atol=1e-5)
    draw = torch.Generator().manual_seed(1)
    p, q = torch.rand(3, 5, 4, generator=draw) + 0.01, torch.rand(3, 5, 4, generator=draw) + 0.01
    assert torch.allclose(iou(p, q), corner_iou(to_xyxy(p), to_xyxy(q)), atol=1e-5)


class Losses:
    """One call of the user's or the reference's loss: terms and their gradients on canonical axes."""

    def __init__(
        self, scene: Scene, preds: list[Tensor], boxes: list[Tensor], labels: list[Tensor], own: bool
    ):
        detector = scene.detector if own else scene.detector.without_user()
        encoded = scene.detector.without_user().encode(boxes, labels)
        self.before = [t.clone() for t in encoded.targets]
        leaves = [p.detach().clone().requires_grad_() for p in preds]
        self.terms = detector.loss(scene.given(leaves), encoded)
        self.targets = encoded.targets
        layout = scene.detector.layout
        self.positive = [
            layout.read_targets(t, h)[..., 0] > 0 for t, h in zip(self.before, scene.heads, strict=True)
        ]
        self.grads: dict[str, list[Tensor]] = {}
        for name, value in self.terms.items():
            if isinstance(value, Tensor) and value.requires_grad:
                found = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
                self.grads[name] = [
                    layout.read_pred(torch.zeros_like(p) if g is None else g, h)
                    for g, p, h in zip(found, leaves, scene.heads, strict=True)
                ]

    def gradient(self, name: str, channels: slice, positive: bool) -> Tensor:
        return torch.cat(
            [
                g[..., channels][m if positive else ~m].flatten()
                for g, m in zip(self.grads[name], self.positive, strict=True)
            ]
        )


CONF, XYWH, CLS = slice(0, 1), slice(1, 5), slice(5, None)


@pytest.mark.parametrize("case", UNPULLED)
def test_loss_moves_what_it_may(case: Case, scenes: dict[str, Scene]) -> None:
    scene = scenes[case.slug]
    for seed in SEEDS:
        boxes, labels = truths(scene, seed)
        for preds in (noisy(scene, seed), near(scene, boxes, labels, seed)):
            mine = Losses(scene, preds, boxes, labels, own=True)
            for term, home in (("lobj", CONF), ("lbox", XYWH), ("lcls", CLS)):
                for channels in (CONF, XYWH, CLS):
                    for positive in (True, False):
                        moved = bool(mine.gradient(term, channels, positive).any())
                        expected = channels == home and (positive or term == "lobj")
                        assert moved == expected, (term, channels, positive)
            # of a target only the iou channel may have changed
            for after, before, head in zip(mine.targets, mine.before, scene.heads, strict=True):
                layout = scene.detector.layout
                assert torch.equal(
                    layout.read_targets(after, head)[..., :7], layout.read_targets(before, head)[..., :7]
                )


@pytest.mark.parametrize("case", UNPULLED)
def test_loss_is_indifferent_to_the_batch_twice(case: Case, scenes: dict[str, Scene]) -> None:
    scene = scenes[case.slug]
    boxes, labels = truths(scene, 5)
    once = Losses(scene, noisy(scene, 5), boxes, labels, own=True).terms
    twice = Losses(scene, [torch.cat((p, p)) for p in noisy(scene, 5)], boxes * 2, labels * 2, own=True).terms
    for name in ("lcls", "lbox", "lobj", "total"):
        assert twice[name].item() == pytest.approx(once[name].item(), rel=1e-4), name


@pytest.mark.parametrize("case", UNPULLED)
def test_loss_without_an_object_is_objectness_alone(case: Case, scenes: dict[str, Scene]) -> None:
    scene = scenes[case.slug]
    nothing = [torch.zeros(0, 4)] * 3, [torch.zeros(0).long()] * 3
    terms = Losses(scene, noisy(scene, 4), *nothing, own=True).terms
    assert terms["lcls"].item() == 0
    assert terms["lbox"].item() == 0
    assert 0 < terms["lobj"].item() < 1e6


@pytest.mark.parametrize("case", UNPULLED)
def test_a_perfect_prediction_costs_little(case: Case, scenes: dict[str, Scene]) -> None:
    scene = scenes[case.slug]
    boxes, labels = truths(scene, 6)
    best = Losses(scene, perfect(scene, boxes, labels, scene.detector.rule), boxes, labels, own=True).terms
    assert best["lbox"].item() < 0.02
    worse = Losses(scene, noisy(scene, 6), boxes, labels, own=True).terms
    for name in ("lbox", "lobj", "total"):
        assert worse[name].item() > best[name].item() + 0.01, name


@pytest.mark.parametrize(
    "case",
    [p for p in has("loss") if p.values[0].slug not in OWN_FORM],  # type: ignore[attr-defined]
)
def test_loss_is_the_declared_profiles_to_constant_scales(case: Case, scenes: dict[str, Scene]) -> None:
    scene = scenes[case.slug]
    ratios: dict[str, list[float]] = {}
    for seed in SEEDS:
        boxes, labels = truths(scene, seed)
        keep = 3 - seed % 2  # of B too the scale must be free
        for preds in (noisy(scene, seed), near(scene, boxes, labels, seed)):
            part = [p[:keep] for p in preds], boxes[:keep], labels[:keep]
            mine, theirs = (Losses(scene, *part, own=own) for own in (True, False))
            for term in ("lcls", "lbox"):
                ratio = mine.terms[term].item() / theirs.terms[term].item()
                ratios.setdefault(term, []).append(ratio)
                home = XYWH if term == "lbox" else CLS
                own, other = (each.gradient(term, home, True) for each in (mine, theirs))
                assert torch.allclose(own, ratio * other, rtol=1e-2, atol=1e-4 * own.abs().max().item()), term
            for positive in (True, False):
                own, other = (each.gradient("lobj", CONF, positive).double() for each in (mine, theirs))
                assert torch.equal(own.abs() < 1e-12, other.abs() < 1e-12), "the same slots are ignored"
                use = other.abs() > 1e-6
                if use.any():
                    shares = own[use] / other[use]
                    ratios.setdefault(f"lobj of positives {positive}", []).extend(
                        (shares.min().item(), shares.max().item())
                    )
    for name, values in ratios.items():
        assert min(values) > 0, name
        assert max(values) == pytest.approx(min(values), rel=2e-3), name


def test_own_forms_are_what_they_say(scenes: dict[str, Scene]) -> None:
    """Closed forms of the variants that the reference has no name for, by the gradient of one positive."""
    scene = scenes["label-smoothing"]
    boxes, labels = truths(scene, 1)
    grad = Losses(scene, noisy(scene, 1), boxes, labels, own=True).gradient("lcls", CLS, True).view(-1, 4)
    assert torch.allclose(grad.sum(1), torch.zeros(len(grad)), atol=1e-6), "softmax minus a distribution"
    plain = Losses(scenes["right-looped"], noisy(scene, 1), boxes, labels, own=True)
    shift = (grad - plain.gradient("lcls", CLS, True).view(-1, 4)) * 3
    assert torch.allclose(shift.amin(1), torch.full((len(grad),), -0.025), atol=1e-5)
    assert torch.allclose(shift.amax(1), torch.full((len(grad),), 0.075), atol=1e-5)
    for slug in ("wh-plain", "wh-root", "focal-classes", "classes-bce"):
        assert not same(behaviour(scenes[slug], "loss", 1), behaviour(scenes["right-looped"], "loss", 1)), (
            f"{slug} is no variant"
        )


@pytest.mark.parametrize("case", has("detect"))
def test_detect_finds_the_truth_in_the_originals_pixels(case: Case, scenes: dict[str, Scene]) -> None:
    scene = scenes[case.slug]
    head = scene.heads[0]
    for seed in SEEDS:
        boxes, labels = truths(scene, seed)
        preds = perfect(scene, boxes, labels, scene.detector.rule)
        for found, truth, label, (height, width) in zip(
            scene.detector.detect(scene.given(preds), SIZES), boxes, labels, SIZES, strict=True
        ):
            assert found.shape == (len(truth), 6)
            place = Letterbox.fit((width, height), (head.input_w, head.input_h))
            scale = torch.tensor([head.input_w, head.input_h] * 2)
            pixels = torch.from_numpy(place.boxes_to_source((to_xyxy(truth) * scale).numpy()))
            edge = torch.tensor([width, height] * 2)  # clipping is free
            pixels, rows = (torch.minimum(b.clamp(min=0), edge) for b in (pixels, found[:, :4]))
            for row, wanted in zip(pixels, label, strict=True):
                mine = rows[found[:, 5] == wanted]
                assert float((mine - row).abs().amax(1).min()) < 1.6


@pytest.mark.parametrize("case", has("detect"))
def test_nms_is_per_class_and_keeps_the_stronger(case: Case, scenes: dict[str, Scene]) -> None:
    scene = scenes[case.slug]
    head, layout = scene.heads[0], scene.detector.layout
    shape = head.grid_h, head.grid_w
    # one truth in the middle of a cell, said three times: strongly and weakly as class 0, and as class 1
    anchor = head.anchors[0] / torch.tensor([shape[1], shape[0]])
    preds = [layout.read_pred(p, h).clone() for p, h in zip(noisy(scene, 1), scene.heads, strict=True)]
    for p in preds:
        p.fill_(-12.0)
    canonical = preds[0]
    for column, conf, label in ((4, 2.0, 0), (5, 4.0, 0)):
        canonical[0, 3, column, 0, 1:5] = 0.0
        canonical[0, 3, column, 0, 0] = conf
        canonical[0, 3, column, 0, 5 + label] = 12.0
    canonical[0, 3, 5, 1, 0] = 3.0
    canonical[0, 3, 5, 1, 1:5] = 0.0
    canonical[0, 3, 5, 1, 6] = 12.0
    # the first stands where the second does, to a tenth of a cell
    canonical[0, 3, 4, 0, 1], canonical[0, 3, 5, 0, 1] = {
        "yolov2": (5.0, -5.0), "yolov5": (0.8473, -0.8473), "linear": (0.48, -0.48),
    }[layout.decode]  # fmt: skip
    declared = [layout.write_pred(p, h) for p, h in zip(preds, scene.heads, strict=True)]
    found = scene.detector.detect(scene.given(declared), [(head.input_h, head.input_w)] * 3)[0]
    assert float(anchor.min()) > 0
    assert sorted(found[:, 5].tolist()) == [0, 1]
    assert float(found[found[:, 5] == 0][0, 4]) == pytest.approx(torch.tensor(4.0).sigmoid().item(), rel=1e-3)


@pytest.mark.parametrize("case", [each for each in has("transform") if each.id not in HIDES_PAINT])
def test_transform_keeps_the_label_around_the_paint(case: Case, scenes: dict[str, Scene]) -> None:
    transform = scenes[case.slug].user.functions["transform"]
    random.seed(1)
    np.random.seed(1)
    for k in range(12):
        height, width = 96 + k, 131 - 3 * k
        image = np.full((height, width, 3), 20, np.uint8)
        boxes = np.array([[40, 33, 70, 60], [10, 60, 33, 90]], np.float32)
        colours = (220, 40, 40), (40, 40, 220)
        for (x1, y1, x2, y2), colour in zip(boxes.astype(int), colours, strict=True):
            image[y1:y2, x1:x2] = colour
        kept, kept_boxes = image.copy(), boxes.copy()
        out, moved = transform(image, boxes)
        assert np.array_equal(image, kept)
        assert np.array_equal(boxes, kept_boxes)
        assert out.dtype == np.uint8
        assert moved.shape == boxes.shape
        for box, channel in zip(moved, (0, 2), strict=True):
            painted = out[..., channel].astype(int) - out[..., 2 - channel] > 90
            rows, columns = np.where(painted)
            if not len(rows):
                assert (box[2] - box[0]) * (box[3] - box[1]) <= 4
                continue
            seen = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            assert np.abs(box - seen).max() <= 1.6, (box, seen)


@pytest.mark.parametrize("case", has("build_model"))
def test_a_cells_prediction_sees_its_pixels(case: Case, scenes: dict[str, Scene]) -> None:
    scene = scenes[case.slug]
    torch.manual_seed(1)
    model = scene.blueprint.network(scene.user).eval()
    size = scene.heads[0].input_h, scene.heads[0].input_w
    images = torch.rand(2, 3, *size, requires_grad=True)
    for pred, head in zip(scene.detector.as_list(model(images)), scene.heads, strict=True):
        canonical = scene.detector.layout.read_pred(pred, head)
        for y, x in ((0, 0), (1, head.grid_w - 1), (head.grid_h - 1, 2)):
            (grad,) = torch.autograd.grad(canonical[1, y, x].sum(), images, retain_graph=True)
            assert not grad[0].any(), "images of a batch do not meet"
            s = head.stride
            patch = grad[1, :, y * s : (y + 1) * s, x * s : (x + 1) * s].abs().mean()
            assert patch > 0
            if "dense" not in case.slug:
                assert patch > 3 * grad[1].abs().mean()
        canonical.pow(2).sum().backward(retain_graph=True)
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("case", named(FAULTS))
def test_a_fault_is_a_fault(case: Case, tmp_path: Path) -> None:
    """The function it is in behaves differently from its base's."""
    if case.slug in ("file-syntax", "file-import"):
        with pytest.raises(UserError, match="cannot be imported"):
            open_scene(case, tmp_path / "wrong")
        return
    wrong = open_scene(case, tmp_path / "wrong")
    right = open_scene(replace(case, edits=()), tmp_path / "right")
    assert any(
        not same(behaviour(right, name, seed), behaviour(wrong, name, seed))
        for seed in SEEDS
        for name in case.functions
    )


@pytest.mark.parametrize("case", named([case for case in CASES if case.code and not case.legitimate][:1]))
def test_the_drawn_set_is_sound(case: Case, tmp_path: Path) -> None:
    config, _ = case.write(tmp_path)
    assert config.is_file()
    for path in sorted((tmp_path / "voc" / "JPEGImages").glob("*.jpg")):
        image = cv2.imread(str(path))
        assert letterbox(image, (96, 64))[0].shape == (64, 96, 3)


@pytest.mark.parametrize("case", named([case for case in DATA if case.spoil]))
def test_a_data_fault_changes_the_set(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path / "wrong")
    Case("clean", case.base, "").write(tmp_path / "right")

    def contents(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.*") if "voc" in p.parts}

    assert contents(tmp_path / "wrong") != contents(tmp_path / "right")


def test_the_catalogue_is_whole() -> None:
    rows = {case.row for case in CASES}
    assert set(range(1, 51)) <= rows
    assert {case.row for case in CASES if case.legitimate and case.row} == {10, 35}
    assert sum(case.legitimate for case in CASES) >= 24
    assert sum(not case.legitimate and case.row is None for case in CASES) >= 25
