"""A snapshot: the tensors of one step as one safetensors file (in memory: ``snapshot_ring``).

The file holds, under these names, everything in the run's *declared* layout:

- ``images``                     uint8 ``[B, 3, H, W]``, RGB
- ``pred.k targets.k grad.k``    head ``k``'s tensors in the declared order; ``grad`` is d total / d pred
- ``decoded.k``                  the declared order with 4 channels: cx, cy, w, h in 0..1 of the input
- ``loss.<term>.k``              one value a slot, ``[B, H, W, A]``
- ``boxes.b labels.b``           image ``b``'s truths: ``[N, 4]`` cx, cy, w, h in 0..1, and ``[N]``

Any of them may be missing. Numbers, names and places stand as JSON in the file's metadata. Nothing in a
snapshot can run when it is opened.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import UserError
from ..files import write_atomically
from ..layout import Head, Layout
from .declared_axes import slot_map

FORMAT = "yolotui snapshot"
VERSION = 1
HEAD_TENSORS = ("pred", "targets", "decoded", "grad")


@dataclass(frozen=True)
class CodePlace:
    """Where one of the user's functions stood: its file, the hash of that file, its line."""

    path: str
    line: int
    hash: str = ""

    def __str__(self) -> str:
        return f"{Path(self.path).name}:{self.line}"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One step's tensors on the CPU, by the names of the file, and what is known about them."""

    step: int
    epoch: int
    layout: Layout
    heads: tuple[Head, ...]
    tensors: Mapping[str, Tensor]
    reason: str = ""
    terms: Mapping[str, float] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    """The images' files, one an image of the batch."""
    functions: Mapping[str, CodePlace] = field(default_factory=dict)
    """The user's own functions in place, by name."""
    profile: Mapping[str, Any] = field(default_factory=dict)
    """The ``[loss]`` keys that the step ran under (``box``, ``objectness`` ...), where known."""
    versions: Mapping[str, str] = field(default_factory=dict)

    def tensor(self, name: str, head: int | None = None) -> Tensor | None:
        """``tensor("pred", 0)``, ``tensor("loss.lbox", 1)``, ``tensor("images")``; None where absent."""
        return self.tensors.get(name if head is None else f"{name}.{head}")

    @property
    def map_terms(self) -> tuple[str, ...]:
        """The loss terms that have a map of every head, in the order of ``terms``, then of the names."""
        found = {name[5:].rpartition(".")[0] for name in self.tensors if name.startswith("loss.")}
        whole = {t for t in found if all(f"loss.{t}.{k}" in self.tensors for k in range(len(self.heads)))}
        return (*(t for t in self.terms if t in whole), *sorted(whole - set(self.terms)))

    @property
    def batch(self) -> int:
        """The number of images, from whichever tensor tells it; 0 where none does."""
        images = self.tensors.get("images")
        if images is not None:
            return int(images.shape[0])
        for name in HEAD_TENSORS:
            tensor = self.tensor(name, 0)
            if tensor is not None:
                channels = channel_count(name, self.layout, self.heads[0])
                return int(self.layout.to_canonical_axes(tensor, self.heads[0], channels).shape[0])
        maps = [tensor for name, tensor in self.tensors.items() if name.startswith("loss.")]
        return int(maps[0].shape[0]) if maps else len(self.paths)

    @property
    def nbytes(self) -> int:
        """Bytes held in memory, each storage counted once and whole."""
        storages = {}
        for tensor in self.tensors.values():
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        return sum(storages.values())


def make_snapshot(
    *,
    step: int,
    epoch: int,
    layout: Layout,
    heads: Sequence[Head],
    pred: Sequence[Tensor] | None = None,
    targets: Sequence[Tensor] | None = None,
    decoded: Sequence[Tensor] | None = None,
    grad: Sequence[Tensor] | None = None,
    maps: Mapping[str, Sequence[Tensor]] | None = None,
    images: Tensor | None = None,
    boxes: Sequence[Tensor] | None = None,
    labels: Sequence[Tensor] | None = None,
    **about: Any,
) -> Snapshot:
    """A snapshot from the parts of a step, detached and on the CPU; ``about``: Snapshot's other fields.

    Tensors already on the CPU are not copied: who overwrites them later passes clones. ``maps`` may
    come in the declared axes (see ``declared_axes.slot_map``). Raises ``ValueError`` naming the part that
    does not have the declared shape.
    """
    tensors: dict[str, Tensor] = {}
    if images is not None:
        tensors["images"] = images
    for name, parts in zip(HEAD_TENSORS, (pred, targets, decoded, grad), strict=True):
        tensors.update({f"{name}.{k}": part for k, part in enumerate(parts or ())})
    for term, parts in (maps or {}).items():
        for k, (part, head) in enumerate(zip(parts, heads, strict=True)):
            tensors[f"loss.{term}.{k}"] = slot_map(part, layout, head)
    for name, lists in (("boxes", boxes), ("labels", labels)):
        tensors.update({f"{name}.{b}": part for b, part in enumerate(lists or ())})
    tensors = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    heads = tuple(head.to("cpu") for head in heads)
    snapshot = Snapshot(step, epoch, layout, heads, MappingProxyType(tensors), **about)
    complaint = find_misfit(snapshot)
    if complaint:
        raise ValueError(complaint)
    return snapshot


def channel_count(name: str, layout: Layout, head: Head) -> int:
    return {"targets": len(layout.target), "decoded": 4}.get(name, 5 + head.classes)


def find_misfit(snapshot: Snapshot) -> str:
    """What does not fit the declared layout, or an empty string."""
    batches: dict[int, str] = {}
    for k, head in enumerate(snapshot.heads):
        for name in HEAD_TENSORS:
            tensor = snapshot.tensor(name, k)
            if tensor is None:
                if snapshot.tensor(name, 0) is not None:
                    return f"{name}.{k} is missing, where {name}.0 is there"
                continue
            try:
                channels = channel_count(name, snapshot.layout, head)
                canonical = snapshot.layout.to_canonical_axes(tensor, head, channels)
            except (ValueError, RuntimeError) as error:
                return f"{name}.{k}: {error}"
            batches.setdefault(int(canonical.shape[0]), f"{name}.{k}")
        for name, tensor in snapshot.tensors.items():
            if name.startswith("loss.") and name.endswith(f".{k}"):
                expected = (head.grid_h, head.grid_w, head.anchor_count)
                if tensor.ndim != 4 or tuple(tensor.shape[1:]) != expected:
                    return (
                        f"{name}: shape {list(tensor.shape)}, expected [B, {', '.join(map(str, expected))}]"
                    )
                batches.setdefault(int(tensor.shape[0]), name)
    images = snapshot.tensors.get("images")
    if images is not None:
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
            return f"images: {images.dtype} {list(images.shape)}, expected uint8 [B, 3, H, W]"
        batches.setdefault(int(images.shape[0]), "images")
    if len(batches) > 1:
        return "batch sizes differ: " + ", ".join(f"{name} has {size}" for size, name in batches.items())
    return ""


# on disk


def snapshot_path(folder: str | Path, step: int) -> Path:
    """Where a run keeps the snapshot of a step."""
    return Path(folder) / f"step-{step:08d}.safetensors"


def list_snapshots(folder: str | Path) -> list[tuple[int, Path]]:
    """The (step, file) of every snapshot in a folder, oldest step first, told by the names alone."""
    matches = (
        (re.fullmatch(r"step-(\d+)", path.stem), path) for path in Path(folder).glob("step-*.safetensors")
    )
    return sorted((int(match[1]), path) for match, path in matches if match)


def save(snapshot: Snapshot, path: str | Path) -> None:
    """Write the whole file or none. Raises ``OSError``."""
    about = {
        "format": FORMAT,
        "version": VERSION,
        "step": snapshot.step,
        "epoch": snapshot.epoch,
        "reason": snapshot.reason,
        "terms": {name: _plain(float(value)) for name, value in snapshot.terms.items()},
        "layout": {f.name: getattr(snapshot.layout, f.name) for f in dataclasses.fields(Layout) if f.init},
        "heads": [
            {
                "grid_h": head.grid_h,
                "grid_w": head.grid_w,
                "stride": head.stride,
                "anchors": head.anchors.tolist(),
                "classes": head.classes,
                "scale_xy": head.scale_xy,
            }
            for head in snapshot.heads
        ],
        "classes": list(snapshot.classes),
        "paths": list(snapshot.paths),
        "functions": {name: dataclasses.asdict(place) for name, place in snapshot.functions.items()},
        "profile": dict(snapshot.profile),
        "versions": dict(snapshot.versions),
    }
    tensors = _separate(snapshot.tensors)
    metadata = {"yolotui": json.dumps(about, allow_nan=False)}
    write_atomically(Path(path), lambda temporary: save_file(tensors, temporary, metadata=metadata))


def to_bytes(snapshot: Snapshot) -> bytes:
    """The file as it would be written: for another process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.safetensors"
        save(snapshot, path)
        return path.read_bytes()


def from_bytes(data: bytes) -> Snapshot:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.safetensors"
        path.write_bytes(data)
        found = load(path)
        return dataclasses.replace(found, tensors=dict(found.tensors))


def load(path: str | Path) -> Snapshot:
    """Read a snapshot; its tensors are mapped from the file and read when they are first looked at.

    Raises ``UserError`` naming what was found where a snapshot was expected.
    """
    path = Path(path)
    handle = open_safetensors(path)
    about = own_metadata(handle, path)
    if about is None:
        raise UserError(
            f"is no snapshot, it holds {list_names(handle.keys())}",
            where=path,
            fix="open it as a reference with a declared [layout]",
        )
    try:
        layout = _read_layout(about["layout"])
        heads = tuple(
            Head(
                int(h["grid_h"]),
                int(h["grid_w"]),
                int(h["stride"]),
                torch.tensor(h["anchors"]),
                int(h["classes"]),
                float(h.get("scale_xy", 1)),
            )
            for h in about["heads"]
        )
        snapshot = Snapshot(
            step=int(about["step"]),
            epoch=int(about["epoch"]),
            layout=layout,
            heads=heads,
            tensors=_FileTensors(handle, path),
            reason=str(about["reason"]),
            terms={name: float(value) for name, value in about["terms"].items()},
            classes=tuple(about["classes"]),
            paths=tuple(about["paths"]),
            functions={name: CodePlace(**place) for name, place in about["functions"].items()},
            profile=about["profile"],
            versions=about["versions"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"is a snapshot with broken metadata ({error})", where=path) from None
    complaint = find_misfit(snapshot)
    if complaint:
        raise UserError(f"is a snapshot that does not fit its own layout: {complaint}", where=path)
    return snapshot


def _read_layout(values: Mapping[str, Any]) -> Layout:
    allowed = {name: get_args(hint) for name, hint in get_type_hints(Layout).items()}
    for name in ("target_xy", "target_wh", "decode"):
        if values[name] not in allowed[name]:
            raise ValueError(f"{name} is {values[name]!r}")
    return Layout(
        order=str(values["order"]),
        pred=tuple(values["pred"]),
        target=tuple(values["target"]),
        target_xy=values["target_xy"],
        target_wh=values["target_wh"],
        decode=values["decode"],
    )


class _FileTensors(Mapping[str, Tensor]):
    """The tensors of an open file: each is mapped when first asked for and kept."""

    def __init__(self, handle: Any, path: Path) -> None:
        self._handle = handle
        self._path = path
        self._names = tuple(handle.keys())
        self._read: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._read:
            if name not in self._names:
                raise KeyError(name)
            self._read[name] = self._handle.get_tensor(name)
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def open_safetensors(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise UserError("no such file", where=path) from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"is not a whole safetensors file ({error})", where=path) from None


def own_metadata(handle: Any, path: Path) -> dict[str, Any] | None:
    text = (handle.metadata() or {}).get("yolotui")
    if text is None:
        return None
    try:
        about = json.loads(text)
    except ValueError as error:
        raise UserError(f"is a snapshot with broken metadata ({error})", where=path) from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        return None
    if about.get("version") != VERSION:
        raise UserError(
            f"is a snapshot of version {about.get('version')}, this program reads version {VERSION}",
            where=path,
        )
    return about


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors that share no memory: the format stores each by itself."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        tensor = tensor.contiguous()
        place = tensor.untyped_storage().data_ptr()
        if place in seen or tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size():
            tensor = tensor.clone()
        seen.add(place)
        separate[name] = tensor
    return separate


def _plain(value: float) -> float | str:
    """JSON has no NaN and no infinity: they stand as words that ``float`` reads."""
    return value if math.isfinite(value) else str(value)


def list_names(names: Iterable[str], most: int = 8) -> str:
    names = sorted(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) + more) or "nothing"
