"""Inputs without symmetry for the bench's own tests, and what a user's functions make of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.blueprint import Blueprint
from engine.config import load_config
from engine.layout import Head
from engine.yolo.assign import assign
from engine.yolo.decode import grid_cells
from engine.yolo.detector import Detector
from engine.yolo.plugin import UserFunctions, load_functions
from tests.faults.case import Case

SIZES = [(64, 96), (80, 72), (64, 120)]
"""(height, width) of the originals."""


@dataclass(frozen=True)
class Scene:
    blueprint: Blueprint
    detector: Detector

    @property
    def user(self) -> UserFunctions:
        return self.detector.user

    @property
    def heads(self) -> tuple[Head, ...]:
        return self.detector.heads

    def given(self, values: Sequence[Any]) -> Any:
        return self.detector.one_or_list(values)


def open_scene(case: Case, folder: Path) -> Scene:
    """The case's config and functions. Raises what importing them raises."""
    config_path, code = case.write(folder)
    config = load_config(config_path)
    assert not isinstance(config.model.anchors, str)
    anchors: Any = config.model.anchors
    table = anchors if isinstance(anchors[0][0], (list, tuple)) else [anchors]
    blueprint = Blueprint.of(config, tuple(config.data.classes), tuple(tuple(map(tuple, a)) for a in table))
    return Scene(blueprint, blueprint.detector(load_functions(code) if code else None))


def truths(scene: Scene, seed: int, contested: bool = False) -> tuple[list[Tensor], list[Tensor]]:
    """Three images, the second without an object. Boxes of the anchors' shapes more or less; every class
    occurs. Unless ``contested`` no two truths want a slot or a neighbour's."""
    draw = torch.Generator().manual_seed(seed)
    count, heads = scene.heads[0].classes, scene.heads
    shapes = torch.cat([h.anchors * h.stride / torch.tensor([h.input_w, h.input_h]) for h in heads])
    boxes, labels = [], []
    for image in range(3):
        own: list[Tensor] = []
        want = 0 if image == 1 else (12 if contested else 5)
        for _ in range(200):
            if len(own) == want:
                break
            shape = shapes[int(torch.randint(len(shapes), (1,), generator=draw))]
            wh = (shape * (0.8 + 0.45 * torch.rand(2, generator=draw))).clamp(max=0.9)
            xy = wh / 2 + (1 - wh) * torch.rand(2, generator=draw)
            close = [bool(((o[:2] - xy).abs() < torch.tensor([0.17, 0.26])).all()) for o in own]
            if contested or not any(close):
                own.append(torch.cat((xy, wh)))
        boxes.append(torch.stack(own) if own else torch.zeros(0, 4))
        labels.append((torch.arange(len(own)) + image) % count)
    return boxes, labels


def border_truths(scene: Scene) -> tuple[list[Tensor], list[Tensor]]:
    """Centres at exactly 1.0, and the last class."""
    last = scene.heads[0].classes - 1
    return [torch.tensor([[1.0, 0.41, 0.2, 0.3], [0.37, 1.0, 0.3, 0.2]])], [torch.tensor([last, 0])]


def odd_truths() -> tuple[list[Tensor], list[Tensor]]:
    """Of shapes that no anchor is near to: very thin, very flat, very small."""
    boxes = [[0.3, 0.5, 0.01, 0.9], [0.62, 0.31, 0.7, 0.012], [0.71, 0.8, 0.013, 0.012]]
    return [torch.tensor(boxes)], [torch.zeros(3, dtype=torch.long)]


def perfect(scene: Scene, boxes: list[Tensor], labels: list[Tensor], rule: str = "best") -> list[Tensor]:
    """Declared predictions, one a head, that decode to the truths where they are assigned, and say
    nothing elsewhere."""
    made = assign(boxes, labels, scene.heads, rule=rule, ratio=scene.detector.ratio)  # type: ignore[arg-type]
    preds = []
    for target, head in zip(made.targets, scene.heads, strict=True):
        pred = torch.full((*target.shape[:4], 5 + head.classes), -12.0)
        pred[..., 1:5] = 0.3
        slots = target[..., 0] > 0
        cells = grid_cells(head, target).expand(*target.shape[:4], 2)[slots]
        size = torch.tensor([head.grid_w, head.grid_h], dtype=torch.float32)
        offset = target[slots][:, 2:4] * size - cells
        anchors = head.anchors.expand(*target.shape[:4], 2)[slots]
        relation = target[slots][:, 4:6] * size / anchors
        xy, wh = _raw(offset, relation, scene.detector.layout.decode)
        rows = pred[slots]
        rows[:, 0] = 9.0
        rows[:, 1:5] = torch.cat((xy, wh), dim=1)
        rows[torch.arange(len(rows)), 5 + target[slots][:, 1].long()] = 12.0
        pred[slots] = rows
        preds.append(scene.detector.layout.write_pred(pred, head))
    return preds


def noisy(scene: Scene, seed: int, batch: int = 3) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    shapes = [(batch, h.grid_h, h.grid_w, h.anchor_count, 5 + h.classes) for h in scene.heads]
    return [
        scene.detector.layout.write_pred(torch.randn(shape, generator=draw), head)
        for shape, head in zip(shapes, scene.heads, strict=True)
    ]


def near(scene: Scene, boxes: list[Tensor], labels: list[Tensor], seed: int) -> list[Tensor]:
    """Perfect predictions with noise: many are over an ignore threshold, none is the truth."""
    draw = torch.Generator().manual_seed(seed)
    layout = scene.detector.layout
    preds = []
    targets = assign(boxes, labels, scene.heads).targets
    for pred, target, head in zip(perfect(scene, boxes, labels), targets, scene.heads, strict=True):
        canonical = layout.read_pred(pred, head).clamp(-3, 2)
        # every anchor of a positive cell says the truth's box: that is what an ignore mask is for
        cell = target[..., 2:6].amax(3, keepdim=True)
        size = torch.tensor([head.grid_w, head.grid_h], dtype=torch.float32)
        offset = (cell[..., :2] * size - grid_cells(head, target)).expand(*target.shape[:4], 2)
        raw = torch.cat(_raw(offset, cell[..., 2:] * size / head.anchors, layout.decode), dim=-1)
        canonical[..., 1:5] = raw.where(target[..., :1].amax(3, keepdim=True) > 0, canonical[..., 1:5])
        noise = torch.randn(canonical.shape, generator=draw) * 0.25
        noise[..., 1:5] *= 0.3
        preds.append(layout.write_pred(canonical + noise, head))
    return preds


def _raw(offset: Tensor, relation: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """What decodes to an offset in the cell and a size over the anchor's."""
    if name == "yolov2":
        return offset.clamp(1e-4, 1 - 1e-4).logit(), relation.log()
    if name == "yolov5":
        return ((offset + 0.5) / 2).logit(), (relation.sqrt() / 2).clamp(max=0.99).logit()
    return offset - 0.5, relation.log()


Outcome = list[Any]


def behaviour(scene: Scene, name: str, seed: int) -> Outcome:
    """All that one of the user's functions gives on this scene, as tensors, texts and numbers; its inputs
    afterwards among them, since changing those is behaviour too."""
    function = scene.user.get(name)
    if function is None:
        return []
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return _RUN[name](scene, function, seed)


def _guarded(run: Callable[[], Outcome]) -> Outcome:
    try:
        return run()
    except Exception as error:  # whatever a user's code may raise
        return [f"raises {type(error).__name__}"]


def _assign(scene: Scene, function: Callable[..., Any], seed: int) -> Outcome:
    found: Outcome = []
    drawn = (truths(scene, seed), truths(scene, seed, contested=True), border_truths(scene), odd_truths())
    for boxes, labels in drawn:

        def run(boxes: list[Tensor] = boxes, labels: list[Tensor] = labels) -> Outcome:
            given = [b.clone() for b in boxes]
            return [*scene.detector.as_list(function(given, labels, scene.given(scene.heads))), *given]

        found += _guarded(run)
    return found


def _decode(scene: Scene, function: Callable[..., Any], seed: int) -> Outcome:
    def run() -> Outcome:
        preds = noisy(scene, seed)
        boxes = [
            function(p.clone().requires_grad_().view_as(p), h)
            for p, h in zip(preds, scene.heads, strict=True)
        ]
        plain = [function(p, h) for p, h in zip(preds, scene.heads, strict=True)]
        with torch.no_grad():
            bare = [function(p, h) for p, h in zip(preds, scene.heads, strict=True)]
        return [*plain, *bare, *(b.requires_grad for b in boxes), *preds]

    return _guarded(run)


def _iou(scene: Scene, function: Callable[..., Any], seed: int) -> Outcome:
    draw = torch.Generator().manual_seed(seed)
    a = torch.rand(64, 4, generator=draw) * 0.4 + 0.05
    b = a + 0.1 * torch.rand(64, 4, generator=draw)
    far = torch.rand(64, 4, generator=draw) * 0.05
    return _guarded(lambda: [function(a, b), function(a, far), function(far, far * 1.1)])


def _loss(scene: Scene, function: Callable[..., Any], seed: int) -> Outcome:
    reference = scene.detector.without_user()
    found: Outcome = []
    boxes, labels = truths(scene, seed, contested=True)
    none: tuple[list[Tensor], list[Tensor]] = ([torch.zeros(0, 4)] * 3, [torch.zeros(0).long()] * 3)
    for preds, (own, classes) in (
        (noisy(scene, seed), (boxes, labels)),
        (near(scene, *truths(scene, seed), seed), truths(scene, seed)),
        (noisy(scene, seed + 1), none),
    ):

        def run(
            preds: list[Tensor] = preds, own: list[Tensor] = own, classes: list[Tensor] = classes
        ) -> Outcome:
            targets = [t.clone() for t in reference.encode(own, classes).targets]
            leaves = [p.requires_grad_() for p in preds]
            terms = function(scene.given(leaves), scene.given(targets), scene.given(scene.heads))
            out: Outcome = [sorted(terms)]
            for term in ("lcls", "lbox", "lobj", "liou", "total"):
                value = terms.get(term)
                out.append(value)
                if isinstance(value, Tensor) and value.requires_grad:
                    try:
                        out += torch.autograd.grad(value.sum(), leaves, retain_graph=True, allow_unused=True)
                    except RuntimeError:
                        out.append(f"{term} raises in backward")
            return out + targets

        found += _guarded(run)
    return found


def _detect(scene: Scene, function: Callable[..., Any], seed: int) -> Outcome:
    boxes, labels = truths(scene, seed)
    empty = torch.full_like
    calm = [empty(p, -9.0) for p in noisy(scene, seed)]
    loud = [p * 1.5 for p in noisy(scene, seed)]
    found: Outcome = []
    for preds in (perfect(scene, boxes, labels, scene.detector.rule), loud, calm):
        found += _guarded(
            lambda preds=preds: list(function(scene.given(preds), scene.given(scene.heads), list(SIZES)))
        )
    return found


def _transform(scene: Scene, function: Callable[..., Any], seed: int) -> Outcome:
    rng = np.random.default_rng(seed)
    found: Outcome = []
    for k in range(6):
        image = rng.integers(0, 255, (65 + k, 97 - 2 * k, 3), dtype=np.uint8)
        boxes = np.array([[3, 5, 20, 30], [40, 22, 80, 50], [60, 40, 66, 60]], np.float32)

        def run(image: np.ndarray = image, boxes: np.ndarray = boxes) -> Outcome:
            out = function(image, boxes)
            return [*out, image.copy(), boxes.copy()] if isinstance(out, tuple) else ["no tuple"]

        found += _guarded(run)
    return found


def _build_model(scene: Scene, function: Callable[..., Any], seed: int) -> Outcome:
    def run() -> Outcome:
        model = function(scene.given(scene.heads), list(scene.blueprint.classes))
        if not isinstance(model, nn.Module):
            return [type(model).__name__]
        images = torch.rand(2, 3, scene.heads[0].input_h, scene.heads[0].input_w)
        out = scene.detector.as_list(model(images))
        sum(o.float().pow(2).sum() for o in out).backward()
        return [*(o.detach() for o in out), *(p.grad is not None for p in model.parameters())]

    return _guarded(run)


_RUN: dict[str, Callable[[Scene, Callable[..., Any], int], Outcome]] = {
    "assign": _assign,
    "decode": _decode,
    "iou": _iou,
    "loss": _loss,
    "detect": _detect,
    "transform": _transform,
    "build_model": _build_model,
}


def same(a: Any, b: Any) -> bool:
    """Whether two outcomes are one, to rounding; NaN is equal to NaN."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, (Tensor, np.ndarray)) and isinstance(b, (Tensor, np.ndarray)):
        x, y = torch.as_tensor(a).detach(), torch.as_tensor(b).detach()
        if x.shape != y.shape or x.dtype != y.dtype:
            return False
        return torch.allclose(x.double(), y.double(), rtol=1e-4, atol=1e-5, equal_nan=True)
    return type(a) is type(b) and bool(a == b)
