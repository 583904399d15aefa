"""The user's network: shape, gradients to every parameter, where in the picture a cell looks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..calling import Called
from ..findings import Finding
from ..inputs import generator
from ..stage import Stage
from ..subject import seed_everything
from .gaze import judge_gaze
from .patch import judge_patches
from .range import awakened, judge_range

Results = Iterator[tuple[str, list[Finding]]]


def probe_model(called: Called, stage: Stage, classes: list[str], need_gradient: bool = True) -> Results:
    """Built for the stage's heads and tried on random pictures of the input's size."""
    seed_everything()
    model = called.call("build_model", stage.given_heads(), list(classes))
    if not isinstance(model, nn.Module):
        raise called.refusal(
            "build_model",
            "type",
            f"build_model returns {type(model).__name__}",
            expected="a torch.nn.Module",
            got=type(model).__name__,
            fix="return the module itself",
        )
    width, height = stage.input_wh
    images = torch.rand(2, 3, height, width, generator=generator(1))
    preds = _run(called, stage, model.train(), images)
    yield "build_model.call", []
    if need_gradient:
        yield "build_model.gradient", _gradients(model, preds)
    model.eval()
    with torch.no_grad():
        alone = _run(called, stage, model, images[:1])
        both = _run(called, stage, model, images)
    yield "build_model.batch", _independent(stage, alone, both) or _leaking(called, stage, model, images)
    awake = awakened(model)

    def run(network: nn.Module, pictures: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return _run(called, stage, network, pictures)

    begun = time.perf_counter()
    run(awake, images[:1])
    seconds = time.perf_counter() - begun
    patches = judge_patches(stage, lambda pictures: run(awake, pictures))
    gaze = lambda pictures: _run(called, stage, awake, pictures)  # noqa: E731
    yield "build_model.patch", patches or judge_gaze(stage, gaze, seconds)
    yield "build_model.range", judge_range(stage, awake, lambda: run(awake, images[:1]))


def _run(called: Called, stage: Stage, model: nn.Module, images: Tensor) -> list[Tensor]:
    try:
        got: Any = model(images)
    except Exception as error:
        raise called.raised("build_model", error) from error
    parts = list(got) if len(stage.heads) > 1 and isinstance(got, (list, tuple)) else [got]
    wanted = [list(stage.layout.pred_shape(len(images), head)) for head in stage.heads]
    shapes = [list(p.shape) if isinstance(p, Tensor) else type(p).__name__ for p in parts]
    if shapes != wanted:
        expected, shown = (wanted, shapes) if len(stage.heads) > 1 else (wanted[0], shapes[0])
        raise called.refusal(
            "build_model",
            "shape",
            f"the network gives {shown} for images {list(images.shape)}",
            expected=f"{expected} for order {stage.layout.order!r}",
            got=str(shown),
            fix="view as [B, A, 5 + C, H, W], then permute to the declared order",
        )
    return [p.float() for p in parts]


def _gradients(model: nn.Module, preds: list[Tensor]) -> list[Finding]:
    g = generator(2)
    total = torch.stack([(p * torch.randn(p.shape, generator=g)).sum() for p in preds]).sum()
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not total.requires_grad or not named:
        return [_gradient_finding("error", "no parameter of the network gets a gradient", "none does")]
    model.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    dead = [name for name, p in named if p.grad is None]
    model.zero_grad(set_to_none=True)
    if not dead:
        return []
    share = len(dead) / len(named)
    weights = sum(p.numel() for name, p in named if name in set(dead)) / sum(p.numel() for _, p in named)
    text = f"{len(dead)} of {len(named)} trainable parameters get no gradient, {dead[0]} the first"
    return [
        _gradient_finding("error" if share > 0.3 and weights > 0.3 else "warning", text, ", ".join(dead[:4]))
    ]


def _gradient_finding(severity: Any, message: str, got: str) -> Finding:
    return Finding(
        severity,
        "build_model.gradient",
        "build_model",
        message,
        tensor="parameters",
        expected="a gradient for every trainable parameter",
        got=got,
        fix="use every layer in forward, without detach() or no_grad(); or set requires_grad = False",
    )


def _batch_axis(stage: Stage, head: int) -> int:
    one, two = (stage.layout.pred_shape(count, stage.heads[head]) for count in (1, 2))
    return next(axis for axis, (a, b) in enumerate(zip(one, two, strict=True)) if a != b)


def _independent(stage: Stage, alone: list[Tensor], both: list[Tensor]) -> list[Finding]:
    for k, (one, two) in enumerate(zip(alone, both, strict=True)):
        axis = _batch_axis(stage, k)
        scale = float(two.abs().mean()) + 1e-6
        apart = float((one.select(axis, 0) - two.select(axis, 0)).abs().max())
        if apart > 0.02 * scale + 1e-3:
            return [_batch_finding(f"up to {apart:.3g} apart")]
    return []


def _leaking(called: Called, stage: Stage, model: nn.Module, images: Tensor) -> list[Finding]:
    """However little it is: the first image's prediction has no gradient at all by the second's pixels."""
    leaves = images.clone().requires_grad_()
    g = generator(3)
    with torch.enable_grad():
        mine = [p.select(_batch_axis(stage, k), 0) for k, p in enumerate(_run(called, stage, model, leaves))]
        total = torch.stack([(p * torch.randn(p.shape, generator=g)).sum() for p in mine]).sum()
    if not total.requires_grad:
        return []
    (moved,) = torch.autograd.grad(total, leaves, allow_unused=True)
    if moved is None or not bool((moved[1].abs() > 0).any()):
        return []
    return [_batch_finding(f"a gradient by the other's pixels, up to {float(moved[1].abs().max()):.3g}")]


def _batch_finding(got: str) -> Finding:
    return Finding(
        "error",
        "build_model.batch",
        "build_model",
        "in eval mode an image's prediction depends on the other images of its batch",
        expected="the same prediction alone and in a batch",
        got=got,
        fix="keep the batch axis apart in every view, reshape and attention (batch_first)",
    )
