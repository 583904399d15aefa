"""Training contracts: the terms pull a prediction to the truth, and a network learns one batch by heart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..blueprint import Blueprint
from ..boxes import iou as corner_iou
from ..boxes import to_xyxy
from ..yolo.detector import Detector
from .calling import Called, Refusal
from .contracts.settings import epoch_steps
from .contracts.trial import probe_trial
from .findings import Finding
from .inputs import Scene, noise, scene
from .stage import Stage
from .subject import Subject

Results = Iterator[tuple[str, list[Finding]]]
STEPS = 5
PULLS, LONGEST = 90, 2.0
"""Steps on free predictions, and the seconds they may take."""
ENOUGH = 0.7
"""Recall at IoU 0.5 of a batch learnt by heart."""


def probe_together(called: Called, stage: Stage) -> Results:
    """The user's functions and the reference's in one chain, on predictions that are free to move: a few
    hundred steps down ``total`` must make ``detect`` find the truths."""
    detector = _with_user(stage.detector, called)
    made = scene(stage, [2, 1, 2], seed=61)
    try:
        yield "loop.together", _descend(detector, stage, made)
    except Refusal:
        raise
    except Exception as error:
        yield "loop.together", [_raised(error)]


def _with_user(detector: Detector, called: Called) -> Detector:
    return Detector(
        detector.heads, detector.layout, detector.profile, detector.rule, detector.ratio, called.user
    )


def _raised(error: Exception) -> Finding:
    text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return Finding(
        "warning",
        "loop.together",
        "loop",
        f"the functions do not work together: {text}",
        tensor="gradient",
        expected="assign, loss, backward and detect in one chain",
        got=text,
        fix="each works alone: compare types, shapes and devices where one hands over to the next",
    )


def _descend(detector: Detector, stage: Stage, made: Scene) -> list[Finding]:
    leaves = [(0.3 * p).requires_grad_() for p in noise(stage, made.batch, 62)]
    encoded = detector.encode([b.clone() for b in made.boxes], [k.clone() for k in made.labels])
    first = last = 0.0
    means, squares = [torch.zeros_like(p) for p in leaves], [torch.zeros_like(p) for p in leaves]
    started = time.perf_counter()
    for step in range(PULLS):
        pred = stage.declared_pred(leaves)
        total: Tensor = detector.loss(pred, encoded, seen=10**9)["total"]
        moved = torch.autograd.grad(total, leaves, allow_unused=True)
        last = float(total.detach())
        first = first if step else last
        with torch.no_grad():  # Adam by hand: torch.optim's import alone takes longer than all steps
            for p, g, m, v in zip(leaves, moved, means, squares, strict=True):
                g = torch.zeros_like(p) if g is None else g
                m.lerp_(g, 0.1)
                v.lerp_(g * g, 0.01)
                p -= 0.2 * (m / (1 - 0.9 ** (step + 1))) / ((v / (1 - 0.99 ** (step + 1))).sqrt() + 1e-9)
        if time.perf_counter() - started > LONGEST:
            return []  # a slow loss: what was learnt so far proves nothing
    with torch.no_grad():
        found = detector.detect(stage.declared_pred(leaves), _sizes(stage, made), conf=0.3)
    recall = _recall(stage, made, found)
    if recall >= ENOUGH and last < first:
        return []
    message = f"going down the loss for {PULLS} steps, detect finds {recall:.0%} of the truths"
    return [_weak(message, f"loss {first:.3g} -> {last:.3g}")]


def _weak(message: str, got: str, severity: Any = "warning") -> Finding:
    return Finding(
        severity,
        "loop.together" if severity == "warning" else "loop.overfit",
        "loop",
        message,
        tensor="gradient",
        expected=f"at least {ENOUGH:.0%} of the truths, by a loss that falls",
        got=got,
        fix="look at the cells of a truth that is not found: `yolotui inspect` on this config",
    )


def _sizes(stage: Stage, made: Scene) -> list[tuple[int, int]]:
    width, height = stage.input_wh
    return [(height, width)] * made.batch


def _recall(stage: Stage, made: Scene, found: list[Tensor]) -> float:
    width, height = stage.input_wh
    hit = count = 0
    for boxes, labels, rows in zip(made.boxes, made.labels, found, strict=True):
        corners = to_xyxy(boxes) * torch.tensor([width, height, width, height], dtype=torch.float32)
        for box, label in zip(corners, labels.tolist(), strict=True):
            same = rows[rows[:, 5].long() == label][:, :4] if len(rows) else torch.zeros(0, 4)
            hit += bool(len(same)) and float(corner_iou(same.float().cpu(), box).max()) >= 0.5
            count += 1
    return hit / max(1, count)


def probe_contracts(subject: Subject, stage: Stage) -> Results:
    """A few steps as the trainer takes them, on a drawn batch, judged."""
    made = scene(stage, [2, 1], seed=81)
    detector = _with_user(stage.detector, subject.called)
    yield from probe_trial(
        subject.called,
        subject.config,
        subject.blueprint,
        detector,
        _drawn(stage, made),
        (made.boxes, made.labels),
        epoch_steps(subject.config.train, subject.images),
    )


def probe_overfit(called: Called, blueprint: Blueprint, stage: Stage, seconds: float) -> Results:
    """``--deep``: the config's network (or the user's) learns four drawn pictures by heart."""
    detector = _with_user(stage.detector, called)
    made = scene(stage, [2, 1, 2, 1], seed=71)
    images = _drawn(stage, made)
    torch.manual_seed(0)
    model = blueprint.network(called.user)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    encoded = detector.encode([b.clone() for b in made.boxes], [k.clone() for k in made.labels])
    until, losses, recall = time.perf_counter() + seconds, [], 0.0
    model.train()
    while time.perf_counter() < until:
        total = detector.loss(_floats(model(images)), encoded, seen=10**9)["total"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
        if len(losses) == STEPS:
            yield "optimizer.moves", _moved(model, before)
        if len(losses) % 25 == 0:
            recall = _found(detector, stage, made, model, images)
            if recall >= 0.99:
                break
    text = f"a batch of four pictures learnt for {len(losses)} steps: detect finds {recall:.0%} of its truths"
    fine = recall >= ENOUGH or len(losses) < 100
    yield "loop.overfit", [] if fine else [_weak(text, f"loss {losses[0]:.3g} -> {losses[-1]:.3g}", "error")]


def _found(detector: Detector, stage: Stage, made: Scene, model: nn.Module, images: Tensor) -> float:
    """In train mode: over so few steps the running statistics of batch norms have not arrived."""
    with torch.no_grad():
        found = detector.detect(_floats(model(images)), _sizes(stage, made), conf=0.2)
    return _recall(stage, made, found)


def _floats(pred: Any) -> Any:
    return [p.float() for p in pred] if isinstance(pred, (list, tuple)) else pred.float()


def _moved(model: nn.Module, before: dict[str, Tensor]) -> list[Finding]:
    still = [n for n, p in model.named_parameters() if n in before and torch.equal(p.detach(), before[n])]
    if not still:
        return []
    return [
        Finding(
            "warning",
            "optimizer.moves",
            "build_model",
            f"{len(still)} of {len(before)} trainable parameters do not move in {STEPS} steps",
            tensor="parameters",
            expected="every trainable parameter moves",
            got=", ".join(still[:4]),
            fix="use them in forward, or set requires_grad = False",
        )
    ]


def _drawn(stage: Stage, made: Scene) -> Tensor:
    """Rectangles of the classes' colours where the truths are, ``[B, 3, H, W]`` in 0..1."""
    width, height = stage.input_wh
    g = torch.Generator().manual_seed(72)
    images = 0.35 + 0.1 * torch.rand(made.batch, 3, height, width, generator=g)
    for image, boxes, labels in zip(images, made.boxes, made.labels, strict=True):
        for box, label in zip(to_xyxy(boxes), labels.tolist(), strict=True):
            x1, y1, x2, y2 = (box * torch.tensor([width, height] * 2)).round().long().clamp(min=0).tolist()
            colour = torch.rand(3, generator=torch.Generator().manual_seed(label)).view(3, 1, 1)
            image[:, y1:y2, x1:x2] = colour
    return images
