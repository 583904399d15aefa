"""Tensors that somebody else's code dumped, read under a declared layout as a snapshot."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..layout import Head, Layout
from .snapshots import HEAD_TENSORS, Snapshot, list_names, load, make_snapshot, open_safetensors, own_metadata

ALIASES = {
    "pred": "pred",
    "preds": "pred",
    "prediction": "pred",
    "predictions": "pred",
    "target": "targets",
    "targets": "targets",
    "decoded": "decoded",
    "decode": "decoded",
    "grad": "grad",
    "images": "images",
}
_NUMBERED = re.compile(r"(?P<stem>[A-Za-z]+(?:[._][A-Za-z]+)?)[._]?(?P<head>\d+)?")


def read_foreign(
    path: str | Path, layout: Layout, heads: Sequence[Head], classes: Sequence[str] = ()
) -> Snapshot:
    """A ``.npz`` or ``.safetensors`` file under a declared layout.

    Arrays are told by name: ``pred``, ``targets``, ``decoded``, ``grad``, ``loss.<term>``, ``images``;
    with several heads ``pred.0``, ``pred_0`` or ``pred0``. Arrays of other names are left out and named
    in the snapshot's ``reason``. A file that is a snapshot of ours is read as such, by its own layout.

    Raises ``UserError`` naming what was found where something does not fit. Pickled objects are refused.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError("no such file", where=path)
    if path.suffix == ".npz":
        found = _read_npz(path)
    elif path.suffix == ".safetensors":
        handle = open_safetensors(path)
        if own_metadata(handle, path) is not None:
            return load(path)
        found = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118  not a mapping
    else:
        raise UserError("is neither .npz nor .safetensors", where=path, fix="dump it with numpy.savez")
    parts, images, unread = _sort(found)
    if not parts and images is None:
        raise UserError(
            f"holds {list_names(found)}, none of them pred, targets, decoded, grad, loss.<term> or images",
            where=path,
            fix="name the arrays so",
        )
    for name, by_head in parts.items():
        if sorted(by_head) != list(range(len(heads))):
            got = ", ".join(str(k) for k in sorted(by_head))
            raise UserError(
                f"holds {name} for head {got}, the layout has {len(heads)} head(s)",
                where=path,
                fix=f"name them {name}.0 to {name}.{len(heads) - 1}" if len(heads) > 1 else f"name it {name}",
            )
    lists = {name: [by_head[k] for k in range(len(heads))] for name, by_head in parts.items()}
    note = f"; not read: {list_names(unread)}" if unread else ""
    try:
        return make_snapshot(
            step=0,
            epoch=0,
            layout=layout,
            heads=heads,
            images=images,
            maps={name[5:]: values for name, values in lists.items() if name.startswith("loss.")},
            reason=f"read from {path.name}{note}",
            classes=tuple(classes),
            pred=lists.get("pred"),
            targets=lists.get("targets"),
            decoded=lists.get("decoded"),
            grad=lists.get("grad"),
        )
    except ValueError as error:
        raise UserError(
            f"{error}", where=path, fix=f"declare its axes in [layout] order (now {layout.order!r})"
        ) from None


def _sort(found: Mapping[str, Tensor]) -> tuple[dict[str, dict[int, Tensor]], Tensor | None, list[str]]:
    """By name and head: pred, targets, ..., loss.<term>; the images; the names that say nothing."""
    parts: dict[str, dict[int, Tensor]] = {}
    images: Tensor | None = None
    unread: list[str] = []
    for name, tensor in found.items():
        match = _NUMBERED.fullmatch(name)
        stem = match["stem"].replace("_", ".") if match else ""
        known = stem if stem.startswith("loss.") else ALIASES.get(stem)
        if match is None or known is None:
            unread.append(name)
        elif known == "images":
            images = tensor
        else:
            parts.setdefault(known, {})[int(match["head"] or 0)] = tensor
    assert set(parts) <= {*HEAD_TENSORS, *(name for name in parts if name.startswith("loss."))}
    return parts, images, unread


def _read_npz(path: Path) -> dict[str, Tensor]:
    found = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                array = arrays[name]
                if array.dtype.kind not in "fiub":
                    raise UserError(f"{name} holds {array.dtype}, expected numbers", where=path)
                array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
                found[name] = torch.from_numpy(array)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"cannot be read as .npz ({error})", where=path, fix="dump plain arrays") from None
    return found
