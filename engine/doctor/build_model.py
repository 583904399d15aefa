"""The user's network: shape, gradients to every parameter, where in the picture a cell looks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..layout import AXES
from .calling import Called
from .findings import Finding
from .inputs import generator
from .stage import Stage
from .subject import seed_everything

MIRRORS = (("left to right", (2,)), ("top to bottom", (1,)), ("both ways", (1, 2)))
"""By the axes of ``[N, H, W]``."""
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
    yield "build_model.batch", _independent(alone, both)
    yield "build_model.patch", _patches(called, stage, model, images)


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


def _independent(alone: list[Tensor], both: list[Tensor]) -> list[Finding]:
    for one, two in zip(alone, both, strict=True):
        scale = float(two.abs().mean()) + 1e-6
        if one.shape[1:] == two.shape[1:] and float((one[0] - two[0]).abs().max()) > 0.02 * scale + 1e-3:
            return [
                Finding(
                    "error",
                    "build_model.batch",
                    "build_model",
                    "in eval mode an image's prediction depends on the other images of its batch",
                    expected="the same prediction alone and in a batch",
                    got=f"up to {float((one[0] - two[0]).abs().max()):.3g} apart",
                    fix="keep the batch axis apart in every view and reshape",
                )
            ]
    return []


def _patches(called: Called, stage: Stage, model: nn.Module, images: Tensor) -> list[Finding]:
    """Change one cell's pixels: that cell's prediction must move most, or no cell be special.

    Where another cell moves most, the memory is read as if its axes lay in another order: if one such reading
    puts every patch in its place, the axes were viewed where they had to be permuted.
    """
    for k, head in enumerate(stage.heads):
        if head.grid_h < 3 or head.grid_w < 3:
            continue
        cells = [
            (1, head.grid_w - 2),
            (head.grid_h - 2, 1),
            (head.grid_h // 2, head.grid_w // 4),
            (head.grid_h // 4, head.grid_w // 2),
        ]
        base = images[:1].repeat(len(cells), 1, 1, 1) * 0.2 + 0.4
        patched = base.clone()
        for n, (y, x) in enumerate(cells):
            s = head.stride
            patched[n, :, y * s : (y + 1) * s, x * s : (x + 1) * s] = torch.tensor([1.0, 0.0, 0.6]).view(
                3, 1, 1
            )
        with torch.no_grad():
            before, after = _run(called, stage, model, base)[k], _run(called, stage, model, patched)[k]
        change = (after - before).abs()
        if float(change.max()) < 1e-9:
            return [
                _patch_finding(
                    "error", "a change of the picture does not change the prediction", stage, "no change"
                )
            ]
        own = _local(_spread(stage, k, change), cells)
        if own >= 0.75:
            continue
        for order in itertools.permutations("yxac"):
            if _local(_reread(stage, k, change, order), cells) == 1.0 and own <= 0.5:
                text = (
                    f"the prediction lies in memory as [b {' '.join(order)}], but is "
                    f"handed out as {stage.layout.order!r}: a view where a permute is wanted"
                )
                return [_patch_finding("error", text, stage, f"{own:.0%} of the patched cells moved most")]
        spread = _spread(stage, k, change)
        for name, dims in MIRRORS:
            if own <= 0.5 and _local(spread.flip(dims), cells) == 1.0:
                text = f"the grid is mirrored {name}: a change of the picture moves the cell opposite to it"
                fix = f"no flip of the features or of the prediction along {'/'.join('byx'[d] for d in dims)}"
                got = f"{own:.0%} of the patched cells moved most, all of them in the mirrored grid"
                return [replace(_patch_finding("error", text, stage, got), fix=fix)]
    return []


def _spread(stage: Stage, k: int, change: Tensor) -> Tensor:
    """``[N, H, W]``: how much each cell moved."""
    head = stage.heads[k]
    return stage.layout.to_canonical_axes(change.contiguous(), head, 5 + head.classes).sum((-1, -2))


def _reread(stage: Stage, k: int, change: Tensor, order: tuple[str, ...]) -> Tensor:
    head = stage.heads[k]
    sizes = {"y": head.grid_h, "x": head.grid_w, "a": head.anchor_count, "c": 5 + head.classes}
    view = change.reshape([len(change), *[sizes[axis] for axis in order]])
    axes = [0] + [1 + order.index(axis) for axis in AXES[1:]]
    return view.permute(axes).sum((-1, -2))


def _local(spread: Tensor, cells: list[tuple[int, int]]) -> float:
    """Share of patches whose strongest cell is the patched one or next to it."""
    _, h, w = spread.shape
    good = 0
    for n, (y, x) in enumerate(cells):
        top = int(spread[n].flatten().argmax())
        good += max(abs(top // w - y), abs(top % w - x)) <= 1
    del h
    return good / len(cells)


def _patch_finding(severity: Any, message: str, stage: Stage, got: str) -> Finding:
    return Finding(
        severity,
        "build_model.patch",
        "build_model",
        message,
        channels=("conf", "x", "y", "w", "h", "class"),
        expected="the patched cell's own prediction moves most",
        got=got,
        fix="out.view(B, A, 5 + C, H, W).permute(0, 3, 4, 1, 2)"
        if stage.layout.order == "b y x a c"
        else f"permute to {stage.layout.order!r} before any view",
    )
