"""Whether a training could begin: the network is built and its weights are read, as before a first step."""

from __future__ import annotations

import torch
from torch import nn

from ..blueprint import Blueprint
from ..nets.weights import load_what_fits
from ..predictor import find_weights
from .calling import Called


def begin(blueprint: Blueprint, called: Called) -> None:
    """Raises ``UserError``: the trainer's own, where it would refuse. Nothing is kept."""
    weights = blueprint.model.weights
    if not called.has("build_model"):
        with torch.device("meta"):  # shapes without values: a large network costs nothing
            model: nn.Module | None = blueprint.network()
    else:
        model = _users(blueprint, called) if weights else None
    if model is not None and weights:
        load_what_fits(model, find_weights(weights))


def _users(blueprint: Blueprint, called: Called) -> nn.Module | None:
    """None where it cannot be built: a finding of its own."""
    try:
        with torch.random.fork_rng(devices=[]):
            return blueprint.network(called.user)
    except Exception:
        return None
