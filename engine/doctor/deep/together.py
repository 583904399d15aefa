"""All functions in one chain, on predictions that are free to move; and which of them breaks it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...yolo.detector import Detector
from ..calling import Called, Refusal
from ..findings import Finding
from ..inputs import Scene, noise, scene
from ..stage import Stage
from .exchange import ENOUGH, exchanged, recall, sizes

Results = Iterator[tuple[str, list[Finding]]]
PULLS, LONGEST = 90, 2.0
"""Steps on free predictions, and the seconds they may take."""
IN_TURN = ("iou", "decode", "assign", "loss", "detect")
"""The functions in the order in which they are exchanged: what others call comes first."""


@dataclass(frozen=True)
class Descent:
    """``finished``: False where a slow function left no time: what was learnt proves nothing then."""

    recall: float
    first: float
    last: float
    finished: bool

    @property
    def sound(self) -> bool:
        return self.recall >= ENOUGH and self.last < self.first


def probe_together(called: Called, stage: Stage) -> Results:
    """The user's functions and the reference's in one chain: a hundred steps down ``total`` must make
    ``detect`` find the truths. Where they do not, the one whose exchange mends it is named."""
    made = scene(stage, [2, 1, 2], seed=61)
    try:
        with exchanged(called, stage) as detector:
            got = descend(detector, stage, made)
        yield "loop.together", [] if got.sound or not got.finished else _broken(called, stage, made, got)
    except Refusal:
        raise
    except Exception as error:
        yield "loop.together", [_raised(error)]


def mending(called: Called, stage: Stage, made: Scene, until: float) -> tuple[str, Descent] | None:
    """The first function in whose place the reference makes the chain learn; ``loop`` where only all of them
    together do; None where not even that does, or the time (``until``, a ``perf_counter``) is up."""
    for name in [each for each in IN_TURN if called.has(each)]:
        if time.perf_counter() > until:
            return None
        with exchanged(called, stage, [name]) as detector:
            got = descend(detector, stage, made)
        if got.sound:
            return name, got
    got = descend(stage.detector.without_user(), stage, made)
    return ("loop", got) if got.sound else None


def descend(detector: Detector, stage: Stage, made: Scene) -> Descent:
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
        with torch.no_grad():  # Adam by hand: these are no parameters of a network
            for p, g, m, v in zip(leaves, moved, means, squares, strict=True):
                g = torch.zeros_like(p) if g is None else g
                m.lerp_(g, 0.1)
                v.lerp_(g * g, 0.01)
                p -= 0.2 * (m / (1 - 0.9 ** (step + 1))) / ((v / (1 - 0.99 ** (step + 1))).sqrt() + 1e-9)
        if time.perf_counter() - started > LONGEST:
            return Descent(0.0, first, last, finished=False)
    with torch.no_grad():
        found = detector.detect(stage.declared_pred(leaves), sizes(stage, made), conf=0.3)
    return Descent(recall(stage, made, found), first, last, finished=True)


def _broken(called: Called, stage: Stage, made: Scene, got: Descent) -> list[Finding]:
    mended = mending(called, stage, made, time.perf_counter() + LONGEST)
    message = f"going down the loss for {PULLS} steps, detect finds {got.recall:.0%} of the truths"
    name = "loop"
    if mended is not None and mended[0] != "loop":
        name = mended[0]
        message += f"; with the reference's {name} in place {mended[1].recall:.0%}"
    return [
        Finding(
            "warning",
            "loop.together",
            name,
            message,
            tensor="gradient",
            expected=f"at least {ENOUGH:.0%} of the truths, by a loss that falls",
            got=f"loss {got.first:.3g} -> {got.last:.3g}",
            fix="look at the cells of a truth that is not found: `yolotui inspect` on this config",
        )
    ]


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
