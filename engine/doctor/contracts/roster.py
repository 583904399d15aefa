"""Whose parameters are whose: the model's, by name, against the optimizers'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Optimizer = torch.optim.Optimizer


def innermost(model: nn.Module) -> nn.Module:
    """The network inside ``torch.compile`` and data-parallel wrappers: the same parameters, its own names."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and type(model).__name__ in ("DataParallel", "DistributedDataParallel"):
            inner = getattr(model, "module", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def every_optimizer(given: Any) -> list[Optimizer]:
    """The optimizers in ``given`` (one, a list, a dict), then those that wrappers such as SAM or Lookahead
    hold: a wrapper's own ``step`` may never be called."""
    waiting = list(given.values()) if isinstance(given, dict) else given
    waiting = list(waiting) if isinstance(waiting, (list, tuple)) else [given]
    found: list[Optimizer] = []
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, Optimizer) and not any(each is one for one in found):
            found.append(each)
        elif each is None or isinstance(each, Optimizer):
            continue
        waiting += [v for v in vars(each).values() if isinstance(v, Optimizer)] if _has_vars(each) else []
    return found


def _has_vars(value: object) -> bool:
    return hasattr(value, "__dict__")


@dataclass(frozen=True)
class Roster:
    """``names`` and ``parameters``: the model's trainable ones, each once. ``groups``: for each, the places
    (optimizer, group) that hold it."""

    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    groups: tuple[tuple[tuple[int, int], ...], ...]
    frozen: tuple[str, ...]
    """Of the model, with ``requires_grad`` off."""
    foreign: tuple[nn.Parameter, ...]
    """In an optimizer and not in the model: of another module, or of a model made anew since."""
    twice: tuple[str, ...]
    """More than once in one optimizer."""
    shared: tuple[str, ...]
    """In more than one independent optimizer."""

    @property
    def missing(self) -> tuple[int, ...]:
        """Trainable and in no optimizer."""
        return tuple(k for k, places in enumerate(self.groups) if not places)

    def of(self, optimizer: int) -> tuple[int, ...]:
        return tuple(k for k, places in enumerate(self.groups) if any(o == optimizer for o, _ in places))


def roster(model: nn.Module, optimizers: Sequence[Optimizer]) -> Roster:
    named = list(innermost(model).named_parameters())
    trainable = [(name, p) for name, p in named if p.requires_grad]
    own = {id(p): name for name, p in named}
    held: dict[int, list[tuple[int, int]]] = {}
    foreign: dict[int, nn.Parameter] = {}
    twice, shared = [], []
    for o, optimizer in enumerate(optimizers):
        for g, group in enumerate(optimizer.param_groups):
            for p in group["params"]:
                places = held.setdefault(id(p), [])
                if any(o == other for other, _ in places):
                    twice.append(own.get(id(p), "a parameter of another module"))
                elif any(not _related(optimizer, optimizers[other]) for other, _ in places):
                    shared.append(own.get(id(p), "a parameter of another module"))
                places.append((o, g))
                if id(p) not in own:
                    foreign[id(p)] = p
    return Roster(
        tuple(name for name, _ in trainable),
        tuple(p for _, p in trainable),
        tuple(tuple(held.get(id(p), ())) for _, p in trainable),
        tuple(name for name, p in named if not p.requires_grad),
        tuple(foreign.values()),
        tuple(dict.fromkeys(twice)),
        tuple(dict.fromkeys(shared)),
    )


def _related(a: Optimizer, b: Optimizer) -> bool:
    """Whether one is a wrapper of the other: the same groups, handed on."""
    return a in every_optimizer(b) or b in every_optimizer(a)


def some(names: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
