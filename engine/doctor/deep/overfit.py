"""``--deep``: the network learns a batch by heart; where it does not, whose fault that is."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ...blueprint import Blueprint
from ...yolo.detector import Detector
from ..calling import Called
from ..contracts.plain import PlainOptimizer
from ..contracts.trial import stand_in
from ..findings import Finding
from ..inputs import Scene, scene
from ..stage import Stage
from .exchange import ENOUGH, exchanged, recall, sizes
from .painted import painted
from .together import IN_TURN, descend, mending

Results = Iterator[tuple[str, list[Finding]]]
SECONDS, BY_HEART, AGAIN = 54.0, 24.0, 9.0
"""For all of it; for the first try; for each further one, with a function exchanged."""
LITTLE, MORE = 0.6, 0.25
"""Recall below which a try has failed, and by how much the try that mends it must be better."""
LEAST, PATIENT, STALE = 100, 1.5, 400
"""Steps before a try is called failed; how many times those of the try that mends it; steps without another
truth found after which a try is given up."""
MOVED, LOOK, SLOW = 5, 25, 0.12
"""Steps in which every parameter moves; steps between two looks at what is found; seconds a step above which
a smaller picture is tried."""
RATE, RATES = 1e-3, (1e-4, 1e-2)
FELL = 0.6
"""What is left of a term that has fallen."""
FIXES = {
    "build_model": "look in forward for what keeps pixels from the output or gradients from the weights: "
    "dropout, saturated activations, pooling over the grid, scales far from 1",
    "loss": "look at the terms that did not fall: what in the prediction moves them, and by how much",
    "detect": "give it this config's predictions in `yolotui inspect`, beside the reference's boxes",
}
ROOMY = 24
"""Width of the network that has room for four pictures for certain."""


@dataclass(frozen=True)
class Ground:
    """Where it is tried: the config's detector, perhaps on a smaller picture."""

    called: Called
    blueprint: Blueprint
    stage: Stage
    made: Scene
    images: Tensor
    until: float

    @property
    def left(self) -> float:
        return self.until - time.perf_counter()


@dataclass(frozen=True)
class Learnt:
    """One try. ``terms``: of each its value at the first and the last step; ``pred``: what the network says
    of the batch in the end."""

    steps: int
    recall: float
    terms: dict[str, tuple[float, float]]
    pred: Any
    still: tuple[str, ...]
    """Trainable parameters that did not move in the first steps."""
    parameters: int

    @property
    def finite(self) -> bool:
        return math.isfinite(self.terms["total"][1])

    @property
    def failed(self) -> bool:
        return self.recall < LITTLE and (self.steps >= LEAST or not self.finite)

    def mends(self, before: Learnt) -> bool:
        learnt = self.recall >= max(ENOUGH, before.recall + MORE)
        return learnt and (before.steps >= PATIENT * self.steps or not before.finite)

    @property
    def standing(self) -> list[str]:
        """Terms that did not fall, where others did."""
        kept = [n for n, (first, last) in self.terms.items() if not last <= FELL * first]
        return kept if len(kept) < len(self.terms) else []


def probe_overfit(called: Called, blueprint: Blueprint, stage: Stage) -> Results:
    """The config's network (or the user's) and four drawn pictures. At most a minute."""
    until = time.perf_counter() + SECONDS
    ground = _ground(called, blueprint, stage, until)
    with exchanged(called, ground.stage) as detector:
        got = _learn(ground, detector, _network(ground), min(BY_HEART, ground.left))
    yield "optimizer.moves", _moved(got) if called.has("build_model") else []
    yield "loop.overfit", [_explained(ground, got)] if got.failed else []


# learning


def _ground(called: Called, blueprint: Blueprint, stage: Stage, until: float) -> Ground:
    made = scene(stage, [2, 1, 2, 1], seed=71)
    own = Ground(called, blueprint, stage, made, painted(stage, made), until)
    begun = time.perf_counter()
    with exchanged(called, stage) as detector:
        _learn(own, detector, _network(own), 0.0)
    smaller = _smaller(blueprint)
    if time.perf_counter() - begun < SLOW or smaller is None:
        return own
    try:
        small = Stage("own", smaller.detector())
        made = scene(small, [2, 1, 2, 1], seed=71)
        ground = Ground(called, smaller, small, made, painted(small, made), until)
        with exchanged(called, small) as detector:
            _learn(ground, detector, _network(ground), 0.0)
    except Exception:  # functions that serve the config's own picture only
        return own
    return ground


def _smaller(blueprint: Blueprint) -> Blueprint | None:
    """The same detector for a picture of five by six coarse cells; None where it is hardly larger."""
    coarse = max(head.stride for head in blueprint.heads())
    width, height = blueprint.input_wh
    small = [min(width, 6 * coarse), min(height, 5 * coarse)]
    if small[0] * small[1] > 0.6 * width * height:
        return None
    return replace(blueprint, model=blueprint.model.model_copy(update={"input_size": small}))


def _network(ground: Ground) -> nn.Module:
    torch.manual_seed(0)
    return ground.blueprint.network(ground.called.user)


def _learn(
    ground: Ground, detector: Detector, model: nn.Module, seconds: float, rate: float = RATE
) -> Learnt:
    """At least one step; until all truths are found or the time is up."""
    made, images = ground.made, ground.images
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in trainable.items()}
    optimizer = PlainOptimizer([{"params": list(trainable.values())}], lr=rate)
    encoded = detector.encode([b.clone() for b in made.boxes], [k.clone() for k in made.labels])
    until, steps, found = time.perf_counter() + seconds, 0, 0.0
    best, since = 0.0, 0
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    still: tuple[str, ...] = ()
    model.train()
    while True:
        terms = detector.loss(_floats(model(images)), encoded, seen=10**9)
        optimizer.zero_grad()
        terms["total"].backward()
        optimizer.step()
        steps += 1
        last = {n: float(terms[n].detach()) for n in ("total", *detector.profile.total) if n in terms}
        first = first or last
        if steps == MOVED:
            still = tuple(name for name, p in trainable.items() if torch.equal(p.detach(), before[name]))
        if steps % LOOK == 0:
            found = _found(ground, detector, _pred(model, images))
            best, since = (found, 0) if found > best else (best, since + LOOK)
            if found >= 0.99 or since >= STALE or not math.isfinite(last["total"]):
                break
        if time.perf_counter() >= until:
            break
    both = {name: (value, last.get(name, value)) for name, value in first.items()}
    return Learnt(steps, found, both, _pred(model, images), still, len(trainable))


def _pred(model: nn.Module, images: Tensor) -> Any:
    """In train mode: over so few steps the running statistics of batch norms have not arrived."""
    with torch.no_grad():
        return _floats(model(images))


def _found(ground: Ground, detector: Detector, pred: Any) -> float:
    with torch.no_grad():
        found = detector.detect(_copied(pred), sizes(ground.stage, ground.made), conf=0.2)
    return recall(ground.stage, ground.made, found)


def _floats(pred: Any) -> Any:
    return [p.float() for p in pred] if isinstance(pred, (list, tuple)) else pred.float()


def _copied(pred: Any) -> Any:
    return [p.clone() for p in pred] if isinstance(pred, list) else pred.clone()


# blaming


def _explained(ground: Ground, got: Learnt) -> Finding:
    """The cheap proofs first: reading the same predictions, moving free ones, then learning anew."""
    for name in [n for n in ("iou", "decode", "detect") if ground.called.has(n)]:
        with exchanged(ground.called, ground.stage, [name]) as detector:
            found = _found(ground, detector, got.pred)
        if found >= ENOUGH:
            return _blamed(got, name, found, "in place, of the same predictions")
    made, stage, called = ground.made, ground.stage, ground.called
    if called.user.functions:
        with exchanged(called, stage) as detector:
            free = descend(detector, stage, made)
        if free.finished and not free.sound:
            mended = mending(called, stage, made, ground.until)
            if mended is not None and mended[0] != "loop":
                return _blamed(got, mended[0], mended[1].recall, "in place, on predictions free to move")
    return _anew(ground, got) or _unexplained(got)


def _anew(ground: Ground, got: Learnt) -> Finding | None:
    called = ground.called
    # what comes as far as here is the network's fault as a rule, and with ours in place it is quickly seen
    for name in ["build_model", *[n for n in reversed(IN_TURN) if called.has(n) and n != "detect"]]:
        if ground.left < 2:
            return None
        if name == "build_model":
            found = _other_network(ground, got)
            if found is not None:
                return found
            continue
        with exchanged(called, ground.stage, [name]) as detector:
            again = _learn(ground, detector, _network(ground), min(AGAIN, ground.left))
        if again.mends(got):
            return _blamed(got, name, again.recall, f"in place, in {again.steps} steps")
    return None


def _other_network(ground: Ground, got: Learnt) -> Finding | None:
    """A roomy network of ours in the same place; and the same network at other rates."""
    roomy = stand_in(ground.blueprint, ROOMY)
    own = ground.called.has("build_model")
    if roomy is not None:
        torch.manual_seed(0)
        with exchanged(ground.called, ground.stage) as detector:
            again = _learn(ground, detector, roomy.network(), min(AGAIN, ground.left))
        if again.mends(got):
            if own:
                return _blamed(got, "build_model", again.recall, f"in place, in {again.steps} steps")
            fix = "raise model.width" if ground.blueprint.model.name == "compact" else "choose another model"
            message = f"the network is too small: one of width {ROOMY} finds {again.recall:.0%}"
            return replace(
                _weak(got, f"{_said(got)}; {message} in {again.steps} steps", "config", "warning"), fix=fix
            )
    for rate in RATES:
        if ground.left < 2:
            return None
        with exchanged(ground.called, ground.stage) as detector:
            again = _learn(ground, detector, _network(ground), min(AGAIN, ground.left), rate)
        if again.mends(got):
            message = f"{_said(got)} at a rate of {RATE:g}; {again.recall:.0%} at {rate:g}"
            function = "build_model" if own else "config"
            fix = f"this network wants another learning rate than most: start near {rate:g}"
            return replace(_weak(got, message, function, "warning"), fix=fix)
    return None


def _blamed(got: Learnt, name: str, found: float, where: str) -> Finding:
    return _weak(got, f"{_said(got)}; with the reference's {name} {where}: {found:.0%}", name)


def _unexplained(got: Learnt) -> Finding:
    message = f"{_said(got)}; no single function's exchange for the reference mends it"
    return _weak(got, message, "loop", "warning")


def _said(got: Learnt) -> str:
    return f"four pictures learnt for {got.steps} steps: detect finds {got.recall:.0%} of their truths"


def _weak(got: Learnt, message: str, function: str, severity: Any = "error") -> Finding:
    terms = ", ".join(f"{name} {a:.3g} -> {b:.3g}" for name, (a, b) in got.terms.items())
    still = f" ({', '.join(got.standing)} did not fall)" if got.standing else ""
    return Finding(
        severity,
        "loop.overfit",
        function,
        message,
        tensor="gradient",
        expected=f"at least {ENOUGH:.0%} of the truths, by terms that fall",
        got=terms + still,
        fix=FIXES.get(
            function, "look at the cells of a truth that is not found: `yolotui inspect` on this config"
        ),
        term=got.standing[0] if function == "loss" and got.standing else "",
    )


def _moved(got: Learnt) -> list[Finding]:
    if not got.still:
        return []
    return [
        Finding(
            "warning",
            "optimizer.moves",
            "build_model",
            f"{len(got.still)} of {got.parameters} trainable parameters do not move in {MOVED} steps",
            tensor="parameters",
            expected="every trainable parameter moves",
            got=", ".join(got.still[:4]),
            fix="use them in forward, or set requires_grad = False",
        )
    ]
