"""Darknet's ``.weights``: a header and the layers' values one behind the other, without a name or a length.

Only a cfg says what a value means, so every one is accounted for: a file that ends inside a layer, or goes on
after the last, belongs to another cfg. One that ends between two layers is a part of a network (a backbone
such as ``darknet53.conv.74``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import UserError
from .cfg import Cfg
from .plan import Layer, Plan, plan_for_values
from .spec import Convolution

Values = NDArray[np.float32]
OTHER_CFG = "give the cfg that these weights were made with"
OTHER_FILE = "name a .weights file"


@dataclass(frozen=True)
class Header:
    """``seen``: images trained on, 32 bits of it before version 0.2 and 64 since. ``size`` in bytes."""

    version: tuple[int, int, int]
    seen: int
    size: int


@dataclass(frozen=True)
class Stored:
    """``tensors`` by the names of ``Darknet.state_dict()``. ``rest``: the first layer that the file does not
    hold, None where it holds them all."""

    header: Header
    tensors: dict[str, Tensor]
    rest: Layer | None

    def holds(self, layer: Layer) -> bool:
        return self.rest is None or layer.index < self.rest.index


def read_header(data: bytes, path: Path) -> Header:
    """From a file's first bytes. Raises ``UserError`` where they are no Darknet header."""
    if len(data) >= 16:
        major, minor, revision = struct.unpack_from("<3i", data)
        if 0 <= major < 1000 and 0 <= minor < 1000 and 0 <= revision < 1000:
            wide = major * 10 + minor >= 2
            if not wide or len(data) >= 20:
                (seen,) = struct.unpack_from("<Q" if wide else "<I", data, 12)
                return Header((major, minor, revision), seen, 20 if wide else 16)
    raise UserError(
        "is no Darknet weights file: its header does not make sense",
        where=path,
        fix=f"{OTHER_FILE}, or fetch it again",
    )


def read_weights(path: Path, plan: Plan, whole: bool = False) -> Stored:
    """Every value of the file, as tensors. ``whole``: a part of a network will not do.

    Raises ``UserError`` naming the layer where file and cfg part.
    """
    header, values = _read(path)
    return _stored(path, header, values, plan, whole)


def read_first(path: Path, cfg: Cfg) -> tuple[Stored, bool]:
    """As ``read_weights``, by no more of the cfg's layers than the file holds, and whether more with weights
    follow them. Raises ``UserError``."""
    header, values = _read(path)
    plan = plan_for_values(cfg, len(values))
    stored = _stored(path, header, values, plan, whole=False)
    after = cfg.layers[len(plan.layers) :]
    return stored, cfg.broken is not None or any(section.name == "convolutional" for section in after)


def _read(path: Path) -> tuple[Header, Values]:
    try:
        with path.open("rb") as file:
            header = read_header(file.read(20), path)
            file.seek(header.size)
            body = file.read()
    except FileNotFoundError:
        raise UserError("no such weights file", where=path, fix=OTHER_FILE) from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=path, fix=OTHER_FILE) from None
    if len(body) % 4:
        raise UserError(
            f"ends inside a number: {len(body):,} bytes after the header are no multiple of 4",
            where=path,
            fix="fetch it again",
        )
    return header, np.frombuffer(body, np.dtype("<f4")).astype(np.float32)


def _stored(path: Path, header: Header, values: Values, plan: Plan, whole: bool) -> Stored:
    tensors: dict[str, Tensor] = {}
    place, rest = 0, None
    for layer in plan.layers:
        if not isinstance(layer.spec, Convolution):
            continue
        left = len(values) - place
        if left == 0:
            rest = layer
            break
        if left < layer.stored:
            raise UserError(
                f"ends inside {layer.name}: {left:,} of its {layer.stored:,} values are there",
                where=path,
                fix=f"{OTHER_CFG} ({plan.cfg.source} was read), or fetch them again",
            )
        part = values[place : place + layer.stored]
        for name, array in _parts(part, layer.spec):
            _check(array, name, layer, path)
            tensors[f"layers.{layer.index}.{name}"] = torch.from_numpy(array)
        if layer.spec.normalised:
            tensors[f"layers.{layer.index}.norm.num_batches_tracked"] = torch.tensor(0)
        place += layer.stored
    if place < len(values):
        last = next((layer for layer in reversed(plan.layers) if layer.stored), plan.layers[-1])
        raise UserError(
            f"goes on after {last.name}, the last with weights: {len(values) - place:,} values are left",
            where=path,
            fix=f"{OTHER_CFG} ({plan.cfg.source} was read)",
        )
    if rest is not None and (whole or place == 0):
        raise UserError(
            f"is a part of a network: it ends before {rest.name}, {place:,} of {plan.stored:,} values",
            where=path,
            fix="start a training from it (model.weights), or fetch it again",
        )
    return Stored(header, tensors, rest)


def write_weights(path: Path, plan: Plan, tensors: dict[str, Tensor], seen: int = 0) -> None:
    """``tensors`` by the names of ``Darknet.state_dict()``; version 0.2.5 as Darknet writes. Atomic."""
    from ...files import write_atomically

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(struct.pack("<3iQ", 0, 2, 5, seen))
            for layer in plan.layers:
                if isinstance(layer.spec, Convolution):
                    for name, shape in _places(layer.spec):
                        tensor = tensors[f"layers.{layer.index}.{name}"].detach().float().cpu()
                        array = tensor.reshape(layer.spec.filters, -1).numpy().astype("<f4")
                        turned = layer.spec.flipped and len(shape) == 4
                        file.write((array.T if turned else array).tobytes())

    write_atomically(path, write)


def _places(spec: Convolution) -> list[tuple[str, tuple[int, ...]]]:
    """A layer's tensors in the file's order, with their shapes."""
    kernels = ("conv.weight", (spec.filters, spec.inside // spec.groups, spec.size, spec.size))
    if not spec.normalised:
        return [("conv.bias", (spec.filters,)), kernels]
    names = ("norm.bias", "norm.weight", "norm.running_mean", "norm.running_var")
    return [*((name, (spec.filters,)) for name in names), kernels]


def _parts(values: Values, spec: Convolution) -> Iterator[tuple[str, Values]]:
    place = 0
    for name, shape in _places(spec):
        count = int(np.prod(shape))
        part = values[place : place + count]
        if spec.flipped and len(shape) == 4:
            part = part.reshape(-1, spec.filters).T
        yield name, np.ascontiguousarray(part).reshape(shape)
        place += count


def _check(values: Values, name: str, layer: Layer, path: Path) -> None:
    """What cannot be: most files of another cfg show themselves here, if not by their length."""
    if not np.isfinite(values).all():
        raise UserError(
            f"holds values that are not finite in {layer.name}, {name}",
            where=path,
            fix=f"{OTHER_CFG}, or fetch them again",
        )
    # averages of squares that died out have come to lie a hair below 0 in real files
    if name == "norm.running_var" and (values < -1e-6).any():
        raise UserError(f"holds a negative variance in {layer.name}", where=path, fix=OTHER_CFG)
