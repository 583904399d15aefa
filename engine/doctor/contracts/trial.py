"""The training contracts in the trainer's own step: a few steps on one drawn batch, judged as they happen."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...blueprint import Blueprint
from ...learning.optimizer import set_rate
from ...nets.compact import CHOICES
from ..calling import Called
from ..deep.painted import painted
from ..findings import Finding
from ..inputs import scene
from ..stage import Stage
from ..subject import Subject
from .graph import reached
from .judge import LoopJudge
from .plain import PlainOptimizer
from .roster import some
from .settings import epoch_steps
from .warmed import bad_rate, rate_at

STEPS, SECONDS = 7, 2.0
"""Steps taken, and how long they may take together: a large network takes fewer."""
STAND_IN_WIDTH = 6
NETWORK = (
    "missing",
    "stale",
    "twice",
    "cut",
    "still",
    "undone",
    "mode",
    "norm",
    "asleep",
    "step",
    "backward",
)
"""Contracts that, in a step that is known to be right, only the network itself can break."""
RATE = ("diverges", "update")


def probe_trial(subject: Subject, stage: Stage) -> Iterator[tuple[str, list[Finding]]]:
    """A few steps as the trainer takes them, on a drawn batch. The network is the config's (the user's, where
    ``build_model`` is theirs); a slow one of ours is stood in for by a small one.

    The warm-up is drawn together into the first of a few steps. Where they look too large, what counts is
    whether they are in the whole warm-up too.
    """
    called, config, blueprint = subject.called, subject.config, subject.blueprint
    steps = epoch_steps(config.train, subject.images)
    made = scene(stage, [2, 1], seed=81)
    images = painted(stage, made)
    detector = replace(stage.detector, user=called.user)
    network, own = _network(blueprint, called)
    encoded = detector.encode([b.clone() for b in made.boxes], [k.clone() for k in made.labels])

    def total_of(network: nn.Module) -> Tensor:
        return detector.loss(_floats(network(images)), encoded, seen=10**9)["total"]  # type: ignore[no-any-return]

    optimizer = PlainOptimizer.of(network, config.train)
    network.train()
    judge = LoopJudge(network, optimizer)
    found: list[Finding] = []
    begun = time.perf_counter()
    for k in range(STEPS):
        total = total_of(network)
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if config.train.clip:
            nn.utils.clip_grad_norm_(network.parameters(), config.train.clip)
        set_rate(optimizer, rate_at(config.train, min(1.0, k / (STEPS // 2)), steps))
        optimizer.step()
        # after the first step, what is not finite may come of the steps alone
        found += [f if not k else _weaker(f) for f in judge.step({"total": total})]
        if time.perf_counter() - begun > SECONDS or not math.isfinite(float(total.detach())):
            break
    found += judge.end()
    judge.close()
    if any(_name(f) in RATE for f in found):
        found = [f for f in found if _name(f) not in (*RATE, "finite")]  # nor is what such steps lead to
        if own:
            fresh = _network(blueprint, called)[0].train()
            found += bad_rate(fresh, total_of, config.train, steps)
    moved = [_placed(f, called, own) for f in found]
    yield "loop.contracts", [f for f in moved if f is not None]


def probe_registered(called: Called, blueprint: Blueprint) -> Iterator[tuple[str, list[Finding]]]:
    """Before all else of a network: what else it shows is a consequence where layers are not its own."""
    width, height = blueprint.input_wh
    try:
        network = blueprint.network(called.user).train()
        made = network(torch.rand(2, 3, height, width))
        total = sum(each.float().sum() for each in (made if isinstance(made, (list, tuple)) else [made]))
    except Exception:  # said in full by the probes of build_model
        return
    if isinstance(total, Tensor):
        yield "build_model.registered", _unregistered(network, total)


def _network(blueprint: Blueprint, called: Called) -> tuple[nn.Module, bool]:
    """And whether it is the one that would be trained."""
    torch.manual_seed(0)
    if called.has("build_model") or blueprint.model.name == "compact":
        return blueprint.network(called.user), True
    small = stand_in(blueprint, STAND_IN_WIDTH)
    return (blueprint.network(), True) if small is None else (small.network(), False)


def stand_in(blueprint: Blueprint, width: int) -> Blueprint | None:
    """The same heads on our compact network of this width; None where it has no such strides."""
    strides = [head.stride for head in blueprint.heads()]
    if not all(stride in CHOICES for stride in strides):
        return None
    changes = {"name": "compact", "width": width, "strides": strides}
    return replace(blueprint, model=blueprint.model.model_copy(update=changes))


def _unregistered(network: nn.Module, total: Tensor) -> list[Finding]:
    held = {id(p) for p in network.parameters()}
    lost = [p for p in reached(total) if id(p) not in held]
    if not lost:
        return []
    shapes = [" x ".join(map(str, p.shape)) or "1" for p in lost]
    return [
        Finding(
            "error",
            "build_model.registered",
            "build_model",
            f"{len(lost)} parameters are used and are not the network's: never trained, moved or saved",
            tensor="parameters",
            expected="every layer an attribute of the module, or in an nn.ModuleList or nn.ModuleDict",
            got=f"parameters of shape {some(shapes)} outside model.parameters()",
            fix="put layers that stand in a plain list or dict into an nn.ModuleList or nn.ModuleDict",
        )
    ]


def _weaker(f: Finding) -> Finding:
    return replace(f, severity="warning") if f.probe == "contract.finite" else f


def _placed(f: Finding, called: Called, own: bool) -> Finding | None:
    """Blamed on what can be to blame here: the step and the optimizer are the trainer's own."""
    name = _name(f)
    if name in RATE:
        # a drawn batch, a warm-up of a few steps and a loss of any scale: no proof
        return replace(f, severity="warning", function="config", fix=f"train.lr: {f.fix}") if own else None
    if name == "finite":
        return replace(f, function="loss" if called.has("loss") else "config")
    if name in NETWORK:
        return replace(f, function="build_model") if called.has("build_model") else None
    return f


def _name(f: Finding) -> str:
    return f.probe.removeprefix("contract.").split(".")[0]


def _floats(pred: Any) -> Any:
    return [p.float() for p in pred] if isinstance(pred, (list, tuple)) else pred.float()
