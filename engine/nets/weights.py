"""Weights as safetensors with a description of what they belong to. Nothing in them can be executed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import UserError
from ..files import write_atomically
from .darknet.beside import is_darknets
from .darknet.transfer import read_exactly, read_start

KEY = "yolotui"
BATCHES_SEEN = "num_batches_tracked"


def save_weights(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Atomic; the same tensors and description give the same bytes."""
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    metadata = {KEY: json.dumps(description, sort_keys=True)}
    write_atomically(path, lambda temporary: save_file(whole, temporary, metadata))


def save_halved(source: Path, target: Path) -> None:
    """The same weights in half precision, half as large: for weights that travel with a program."""
    tensors = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in read_tensors(source).items()
    }
    save_weights(target, tensors, read_description(source))


def read_description(path: Path) -> dict[str, Any]:
    """What a weights file says of itself. Raises ``UserError`` where it is none of ours."""
    with _opened(path) as file:
        metadata = file.metadata() or {}
    if KEY not in metadata:
        raise UserError(
            "holds weights that do not say what network they belong to",
            where=path,
            fix="use weights that yolotui wrote",
        )
    description: dict[str, Any] = json.loads(metadata[KEY])
    return description


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Raises ``UserError`` where it is no file of tensors."""
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise UserError("no such weights file", where=path, fix="name a .safetensors file or a run") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"is no safetensors file ({error})", where=path, fix="name a weights file") from None


def load_exactly(model: nn.Module, path: Path) -> None:
    """Every tensor by name and shape. Raises ``UserError`` naming the first that does not fit."""
    tensors = read_exactly(model, path) if is_darknets(path) else read_tensors(path)
    own = model.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        if name not in tensors or name not in own:
            side = "lacks" if name not in tensors else "holds a foreign"
            raise UserError(f"belongs to another network: it {side} {name!r}", where=path)
        if own[name].shape != tensors[name].shape:
            raise UserError(
                f"belongs to another network: {name!r} is {list(tensors[name].shape)}, "
                f"expected {list(own[name].shape)}",
                where=path,
            )
    model.load_state_dict(tensors)


@torch.no_grad()
def load_what_fits(model: nn.Module, path: Path) -> tuple[int, list[str]]:
    """Start from other weights: copy what agrees in name and shape.

    Returns how many tensors were copied and the names of the model's that were not. Raises ``UserError``
    where less than half of the model is covered: that is another network. (Darknet's weights may be a
    part of one by intent.)
    """
    tensors, part = read_start(model, path) if is_darknets(path) else (read_tensors(path), False)
    # a norm's count of batches fits every norm and says nothing
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(BATCHES_SEEN)}
    fitting = [
        name for name, tensor in own.items() if name in tensors and tensors[name].shape == tensor.shape
    ]
    if not fitting or (len(fitting) * 2 < len(own) and not part):
        raise UserError(
            f"belongs to another network: {len(fitting)} of {len(own)} tensors fit",
            where=path,
            fix="check model.name, model.width and model.weights",
        )
    for name in fitting:
        own[name].copy_(tensors[name])
    return len(fitting), [name for name in own if name not in set(fitting)]
