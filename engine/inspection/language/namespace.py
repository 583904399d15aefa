"""The names that an expression can reach: a frame's tensors and maps, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...layout import TARGET, Head, Layout
from ...runs.declared_axes import axis_sizes, order_groups, slot_groups
from ..frames import BOX_NAMES, Frame, Tensors
from ..quantities import list_quantities, quantity_map
from .errors import ExpressionError
from .nearest import nearest
from .values import CHANNEL, Axis, Value

TENSORS = ("pred", "targets", "decoded", "grad", "reference", "reference_pred", "reference_targets", "images")
GROUPS = ("loss", "error", "differ")
"""Names that stand for several maps: ``loss.lbox``, ``error.x``, ``differ.w``."""
COLOURS = ("red", "green", "blue")


@dataclass(frozen=True, eq=False)
class Group:
    """Several maps under one name, of one head."""

    name: str
    members: tuple[str, ...]
    head: int


@dataclass
class Namespace:
    """What a frame offers, by name and head; each value is made when first asked for."""

    frame: Frame
    _kept: dict[tuple[str, int], Value | Group] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Every name that can stand alone, for completion and for the nearest in an error."""
        quantities = [q.name for q in list_quantities(self.frame)]
        alone = [name for name in quantities if "." not in name]
        groups = [group for group in GROUPS if any(name.startswith(f"{group}.") for name in quantities)]
        present = [name for name in TENSORS if self._tensor(name, 0) is not None]
        columns = [c for c in ("mask", "weight") if "targets" in present and c in self.frame.layout.target]
        return [*present, *alone, *columns, *groups, *self.frame.snapshot.map_terms]

    def members(self, name: str, head: int) -> list[str]:
        """What can follow ``name.``: channels, or a group's maps."""
        try:
            value = self.look_up(name, head, 1)
        except ExpressionError:
            return []
        if isinstance(value, Group):
            return list(value.members)
        found = [
            names for key, names in value.names.items() if any(key in axis.coords for axis in value.axes)
        ]
        return list(found[0]) if found else []

    def look_up(self, name: str, head: int, column: int) -> Value | Group:
        """Raises ``ExpressionError`` at ``column`` for a name that is unknown, or known and not captured."""
        key = (name, head)
        if key not in self._kept:
            self._kept[key] = self._make(name, head, column)
        return self._kept[key]

    def member(self, group: Group, name: str, column: int) -> Value:
        if name not in group.members:
            known = " ".join(group.members)
            raise ExpressionError(f"no {group.name}.{name} ({known}){nearest(name, group.members)}", column)
        return self._map(f"{group.name}.{name}", group.name, name, group.head)

    def _make(self, name: str, head: int, column: int) -> Value | Group:
        tensor = self._tensor(name, head)
        if tensor is not None:
            return tensor
        quantities = [q.name for q in list_quantities(self.frame)]
        if name in quantities:
            return self._map(name, name, name, head)
        members = tuple(q.partition(".")[2] for q in quantities if q.startswith(f"{name}."))
        if name in GROUPS and members:
            return Group(name, members, head)
        if name in ("mask", "weight") and f"targets.{name}" in quantities:
            return self._map(f"targets.{name}", "targets", name, head)
        if name in self.frame.snapshot.map_terms:
            return self._map(f"loss.{name}", "loss", name, head)
        if name in (*TENSORS, *GROUPS, "conf", "iou", "mask", "weight"):
            raise ExpressionError(f"{name} is not in this snapshot", column)
        tensors = [t for t in ("pred", "targets", "decoded", "grad") if name in self.members(t, head)]
        if tensors:
            raise ExpressionError(
                f"{name} of which tensor? {' or '.join(f'{t}.{name}' for t in tensors)}", column
            )
        raise ExpressionError(f"unknown name {name!r}{nearest(name, self.names())}", column)

    def _tensor(self, name: str, head: int) -> Value | None:
        frame, reference = self.frame, self.frame.reference
        shape = frame.heads[head]
        box_names: Sequence[str] = BOX_NAMES
        if name == "images":
            return _images(frame.snapshot.tensor("images"))
        if name in ("pred", "grad"):
            return self._raw(frame, name, head, frame.channels(head), name)
        if name == "targets":
            return self._raw(frame, name, head, frame.layout.target, name)
        if name == "decoded":
            own = self._raw(frame, name, head, box_names, name)
            boxes = frame.decoded(head) if own is None else None
            return own if boxes is None else _declare(boxes, frame.layout, shape, box_names, name)
        if name == "reference":
            boxes = frame.reference_boxes(head)
            return None if boxes is None else _declare(boxes, frame.layout, shape, box_names, name)
        if reference is None:
            return None
        # the reference may be laid out in another way: shown in ours, so that the two can be subtracted
        if name == "reference_pred":
            pred = reference.canonical_pred(head)
            if pred is None:
                return None
            order = Layout().pred_names(shape.classes)
            ours = frame.channels(head)
            return _declare(pred[..., [order.index(n) for n in ours]], frame.layout, shape, ours, name)
        if name == "reference_targets":
            targets = reference.targets(head)
            return None if targets is None else _declare(targets, frame.layout, shape, TARGET, name)
        return None

    def _raw(
        self, tensors: Tensors, name: str, head: int, channels: Sequence[str], label: str
    ) -> Value | None:
        raw = tensors.snapshot.tensor(name, head)
        if raw is None:
            return None
        key = (f"raw {name}", head)
        if key not in self.frame.maps:
            self.frame.maps[key] = raw.float()
        shape = tensors.heads[head]
        sizes = axis_sizes(shape, tensors.snapshot.batch, len(channels))
        axes = _axes(order_groups(tensors.layout.order), sizes, label)
        return Value(self.frame.maps[key], axes, {}, {CHANNEL + label: tuple(channels)})

    def _map(self, quantity: str, label: str, name: str, head: int) -> Value:
        """A ``[B, H, W, A]`` map in the declared order, its channel left out."""
        values = quantity_map(self.frame, quantity, head)
        groups = slot_groups(self.frame.layout.order)
        flat = [axis for group in groups for axis in group]
        sizes = dict(zip("byxa", values.shape, strict=True))
        shape = [math.prod(sizes[axis] for axis in group) for group in groups]
        tensor = values.permute(["byxa".index(axis) for axis in flat]).reshape(shape)
        key = CHANNEL + label
        return Value(tensor, _axes(groups, sizes, label), {key: 0}, {key: (name,)})


def _declare(canonical: Tensor, layout: Layout, head: Head, channels: Sequence[str], label: str) -> Value:
    tensor = layout.from_canonical_axes(canonical)
    sizes = axis_sizes(head, canonical.shape[0], len(channels))
    return Value(
        tensor, _axes(order_groups(layout.order), sizes, label), {}, {CHANNEL + label: tuple(channels)}
    )


def _axes(groups: Iterable[Sequence[str]], sizes: dict[str, int], label: str) -> tuple[Axis, ...]:
    axes = []
    for group in groups:
        grids = torch.meshgrid(*(torch.arange(sizes[axis]) for axis in group), indexing="ij")
        keys = [CHANNEL + label if axis == "c" else axis for axis in group]
        axes.append(Axis({key: grid.reshape(-1) for key, grid in zip(keys, grids, strict=True)}))
    return tuple(axes)


def _images(images: Tensor | None) -> Value | None:
    if images is None:
        return None
    keys = ("b", CHANNEL + "images", "row", "col")
    axes = tuple(Axis({key: torch.arange(size)}) for key, size in zip(keys, images.shape, strict=True))
    return Value(images, axes, {}, {CHANNEL + "images": COLOURS})
