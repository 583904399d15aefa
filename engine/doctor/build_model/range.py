"""The network gives pred itself, logits: no channel is squeezed into 0..1 or kept above 0."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..findings import Finding
from ..stage import GROUPS, Stage, columns

LOUD = 1e4
LAYERS, SECONDS = 24, 2.0
"""The last layers that were run, as many as the time allows: the output's are among them."""


def awakened(model: nn.Module) -> nn.Module:
    """A copy whose all-zero weights (a head that begins at nothing) hold small random numbers."""
    try:
        made = copy.deepcopy(model)
    except Exception:  # a module may hold what cannot be copied: then it is tried as it is
        return model
    g = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for weight in made.parameters():
            if weight.ndim > 1 and not bool(weight.any()):
                weight.add_(0.05 * torch.randn(weight.shape, generator=g).to(weight))
    return made.eval()


def judge_range(stage: Stage, model: nn.Module, run: Callable[[], list[Tensor]]) -> list[Finding]:
    """The last layers are made very loud, with either sign, one at a time: each channel must follow without
    bound. One that comes to rest at 0 and 1, at -1 and 1, or is never negative passes through a function that
    decode and loss take once more."""
    seen: dict[tuple[int, str], list[Tensor]] = {}
    deadline = time.perf_counter() + SECONDS
    for layer in _last_layers(model, run):
        if time.perf_counter() > deadline:
            break
        for sign in (LOUD, -LOUD):
            with torch.no_grad():
                layer.weight.mul_(sign)  # type: ignore[operator]
            preds = run()
            with torch.no_grad():
                layer.weight.div_(sign)  # type: ignore[operator]
            for key, values in _by_group(stage, preds).items():
                seen.setdefault(key, []).append(values)
    bounds = {group: text for (_, group), values in seen.items() if (text := _bound(values))}
    if not bounds:
        return []
    kinds = sorted(set(bounds.values()))
    names = tuple(group for group in GROUPS if group in bounds)
    return [
        Finding(
            "error",
            "build_model.range",
            "build_model",
            f"{' '.join(names)} of the prediction {' and '.join(kinds)}, where raw numbers are wanted: "
            "decode, loss and detect take the sigmoid, exp or softmax themselves",
            channels=names,
            expected="raw numbers without bound, below 0 too",
            got=f"{' '.join(names)} {' and '.join(kinds)} however loud the last layer",
            fix="no activation after the output layer",
        )
    ]


def _last_layers(model: nn.Module, run: Callable[[], list[Tensor]]) -> list[nn.Module]:
    called: list[nn.Module] = []
    kinds = (nn.Conv2d, nn.Linear, nn.ConvTranspose2d)
    hooks = [
        m.register_forward_hook(lambda module, *_: called.append(module))
        for m in model.modules()
        if isinstance(m, kinds)
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return list(dict.fromkeys(reversed(called)))[:LAYERS]


def _by_group(stage: Stage, preds: list[Tensor]) -> dict[tuple[int, str], Tensor]:
    """By head and channel group: each head has output layers of its own."""
    found = {}
    for k, (pred, head) in enumerate(zip(preds, stage.heads, strict=True)):
        rows = stage.layout.read_pred(pred, head).flatten(0, 3)
        for group in GROUPS:
            found[k, group] = rows[:, columns(group)].flatten()
    return found


def _bound(trials: list[Tensor]) -> str:
    """What bounds a channel in every trial; empty where nothing does, or none of the layers is its own."""
    finite = [t.float() for t in trials if bool(torch.isfinite(t).all())]
    values = torch.stack(finite) if finite else torch.zeros(0, 0)
    if not values.numel():
        return ""
    low, high = float(values.min()), float(values.max())

    def rests(*ends: float) -> bool:
        """Whether a trial drove nearly all values to these ends."""
        close = torch.stack([(values - end).abs() < 1e-3 for end in ends]).any(0)
        return bool((close.float().mean(1) > 0.9).any())

    if low >= 0 and high <= 1 + 1e-4 and high > 0.9 and rests(0.0, 1.0):
        return "stays between 0 and 1"
    if low >= -1 - 1e-4 and high <= 1 + 1e-4 and low < -0.9 and rests(-1.0, 1.0):
        return "stays between -1 and 1"
    if low >= 0 and high > 100 and bool(((values < 1e-3).float().mean(1) > 0.3).any()):
        return "is never negative"
    return ""
