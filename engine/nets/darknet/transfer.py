"""Darknet's weights for a network of this program."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from ...errors import UserError
from .beside import cfg_beside
from .cfg import read_cfg
from .network import Darknet
from .weights_file import Stored, read_first, read_weights


def read_exactly(model: nn.Module, path: Path) -> dict[str, Tensor]:
    """The tensors of a file that holds the model's whole network, by the names of ``model.state_dict()``."""
    prefix, network = darknet_in(model, path)
    return _prefixed(read_weights(path, network.plan, whole=True), prefix)


def read_start(model: nn.Module, path: Path) -> tuple[dict[str, Tensor], bool]:
    """The tensors of a file to start from, and whether it holds but a part of its network.

    It is read by the cfg that lies beside it, where there is one, so that a network with other classes can
    start from it; else by the model's own. Raises ``UserError``.
    """
    prefix, network = darknet_in(model, path)
    beside = cfg_beside(path)
    if beside is None:
        stored = read_weights(path, network.plan)
        return _prefixed(stored, prefix), stored.rest is not None
    stored, part = read_first(path, read_cfg(beside, lenient=True))
    return _prefixed(stored, prefix), part


def darknet_in(model: nn.Module, path: Path) -> tuple[str, Darknet]:
    """The Darknet network inside a model, and what its tensors' names begin with there."""
    for name, module in model.named_modules():
        if isinstance(module, Darknet):
            return f"{name}." if name else "", module
    raise UserError(
        "holds Darknet's weights, and the network is none of Darknet's",
        where=path,
        fix='set model.name = "darknet" and model.cfg',
    )


def _prefixed(stored: Stored, prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in stored.tensors.items()}
