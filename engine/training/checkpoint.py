"""Checkpoints: weights for those who use them, and beside them all that a resumed run needs.

Both files are atomic. Only the state file is read on resume, so a kill between the two leaves a usable pair.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import UserError
from ..files import write_atomically
from ..nets.weights import save_weights

FORMAT = 1


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """``state`` holds tensors, numbers, strings and containers of them."""
    write_atomically(path, lambda temporary: torch.save({"format": FORMAT, **state}, temporary))


def load_state(path: Path) -> dict[str, Any]:
    """Raises ``UserError`` where there is no state, or it is not whole."""
    if not path.is_file():
        raise UserError("has no checkpoint to resume from", where=path.parent.parent, fix="start a new run")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise UserError(
            "is damaged" if not isinstance(error, OSError) else f"cannot be read: {error.strerror or error}",
            where=path,
            fix="start a new run; the weights of this one are in *.safetensors beside it",
        ) from None
    if state.get("format") != FORMAT:
        raise UserError("was written by another version", where=path, fix="start a new run")
    return state


def save_model(path: Path, model: nn.Module, description: Mapping[str, Any]) -> None:
    """The weights alone, with what they belong to."""
    save_weights(path, model.state_dict(), description)


def random_state() -> dict[str, Any]:
    """torch's generators. Everything else random in a run is a pure function of seed, epoch and image."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def restore_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
