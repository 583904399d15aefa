"""The names of the tensors' parts: which channel is which, how the axes lie, what a head is.

Everything inside the reference works on one *canonical* form:

- ``pred``     ``[B, H, W, A, 5 + C]``: conf, x, y, w, h, class logits
- ``targets``  ``[B, H, W, A, 8]``: mask, class, x, y, w, h, weight, iou, the box in 0..1 of the input

A ``Layout`` says how somebody's tensors differ from it and translates both ways.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

DecodeName = Literal["yolov2", "yolov5", "linear"]

PRED = ("conf", "x", "y", "w", "h", "class*")
TARGET = ("mask", "class", "x", "y", "w", "h", "weight", "iou")
CANONICAL_ORDER = "b y x a c"
AXES = "byxac"


@dataclass(frozen=True, eq=False)
class Head:
    """One output grid.

    ``anchors`` is ``[A, 2]``: width and height in grid units (a cell is 1 x 1). ``stride`` is the
    side of a cell in input pixels, ``classes`` a count. ``scale_xy`` lets a centre reach its cell's
    border, as YOLOv4 does: the sigmoid is stretched about its middle by so much (decode ``yolov2``).
    """

    grid_h: int
    grid_w: int
    stride: int
    anchors: Tensor
    classes: int
    scale_xy: float = 1.0

    @property
    def input_h(self) -> int:
        return self.grid_h * self.stride

    @property
    def input_w(self) -> int:
        return self.grid_w * self.stride

    @property
    def anchor_count(self) -> int:
        return len(self.anchors)

    def to(self, device: object) -> Head:
        anchors = self.anchors.to(device)  # type: ignore[call-overload]
        return replace(self, anchors=anchors)


@dataclass(frozen=True)
class Layout:
    """A declared layout of ``pred`` and ``targets`` (the TOML's ``[layout]``).

    ``order`` names the axes, merged ones in brackets: ``"b y x a c"``, ``"b (a c) y x"``.
    ``target_xy`` is ``image`` (0..1 of the input), ``grid`` (in cells) or ``cell`` (fraction inside
    the cell); ``target_wh`` is ``image``, ``grid`` or ``log-anchor`` (log of the size over the anchor).

    Raises ``ValueError`` where the names do not make a layout.
    """

    order: str = CANONICAL_ORDER
    pred: tuple[str, ...] = PRED
    target: tuple[str, ...] = TARGET
    target_xy: Literal["image", "grid", "cell"] = "image"
    target_wh: Literal["image", "grid", "log-anchor"] = "image"
    decode: DecodeName = "yolov2"
    _groups: tuple[tuple[str, ...], ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_groups", _parse_order(self.order))
        if sorted(self.pred) != sorted(PRED):
            raise ValueError(f"pred must hold each of {', '.join(PRED)} once, got {', '.join(self.pred)}")
        unknown = set(self.target) - set(TARGET)
        missing = set(TARGET[:6]) - set(self.target)
        if unknown or missing or len(set(self.target)) != len(self.target):
            raise ValueError(
                f"target must hold {', '.join(TARGET[:6])} once and may hold weight and iou, "
                f"got {', '.join(self.target)}"
            )

    def pred_names(self, classes: int) -> list[str]:
        """The name of every raw channel of ``pred``: ``class*`` becomes class0, class1, ..."""
        names: list[str] = []
        for name in self.pred:
            names += [f"class{k}" for k in range(classes)] if name == "class*" else [name]
        return names

    def pred_shape(self, batch: int, head: Head) -> tuple[int, ...]:
        """The declared shape of ``pred`` for a head."""
        return self._declared_shape(batch, head, 5 + head.classes)

    def target_shape(self, batch: int, head: Head) -> tuple[int, ...]:
        """The declared shape of ``targets`` for a head."""
        return self._declared_shape(batch, head, len(self.target))

    def read_pred(self, pred: Tensor, head: Head) -> Tensor:
        """Declared -> canonical ``[B, H, W, A, 5 + C]``; a view where nothing has to move."""
        return self._channels(self.to_canonical_axes(pred, head, 5 + head.classes), self._pred_index(head))

    def write_pred(self, canonical: Tensor, head: Head) -> Tensor:
        """Canonical ``[B, H, W, A, 5 + C]`` -> declared."""
        index = self._pred_index(head)
        inverse = sorted(range(len(index)), key=index.__getitem__)
        return self.from_canonical_axes(self._channels(canonical, inverse))

    def read_targets(self, targets: Tensor, head: Head) -> Tensor:
        """Declared -> canonical ``[B, H, W, A, 8]``, box in 0..1 of the input, negative slots 0.

        A missing ``weight`` is 2 - w*h, a missing ``iou`` is 0.
        """
        if self.targets_are_canonical:
            return targets
        slots = self.to_canonical_axes(targets, head, len(self.target))
        parts = {name: slots[..., k] for k, name in enumerate(self.target)}
        grid_y, grid_x, anchors = _slot_grid(head, slots)
        if self.target_xy == "cell":
            parts["x"], parts["y"] = parts["x"] + grid_x, parts["y"] + grid_y
        if self.target_xy != "image":
            parts["x"], parts["y"] = parts["x"] / head.grid_w, parts["y"] / head.grid_h
        if self.target_wh == "log-anchor":
            parts["w"], parts["h"] = parts["w"].exp() * anchors[:, 0], parts["h"].exp() * anchors[:, 1]
        if self.target_wh != "image":
            parts["w"], parts["h"] = parts["w"] / head.grid_w, parts["h"] / head.grid_h
        mask = parts["mask"] != 0
        parts.setdefault("weight", 2 - parts["w"] * parts["h"])
        parts.setdefault("iou", parts["w"].new_zeros(parts["w"].shape))
        columns = [parts[name].where(mask, 0) for name in TARGET]
        return _stack(columns)

    def write_targets(self, canonical: Tensor, head: Head) -> Tensor:
        """Canonical ``[B, H, W, A, 8]`` -> declared, negative slots 0."""
        if self.targets_are_canonical:
            return canonical
        parts = {name: canonical[..., k] for k, name in enumerate(TARGET)}
        mask = parts["mask"] != 0
        grid_y, grid_x, anchors = _slot_grid(head, canonical)
        if self.target_xy != "image":
            parts["x"], parts["y"] = parts["x"] * head.grid_w, parts["y"] * head.grid_h
        if self.target_xy == "cell":
            parts["x"], parts["y"] = parts["x"] - grid_x, parts["y"] - grid_y
        if self.target_wh != "image":
            parts["w"], parts["h"] = parts["w"] * head.grid_w, parts["h"] * head.grid_h
        if self.target_wh == "log-anchor":
            parts["w"] = (parts["w"] / anchors[:, 0]).clamp(min=1e-12).log()
            parts["h"] = (parts["h"] / anchors[:, 1]).clamp(min=1e-12).log()
        columns = [parts[name].where(mask, 0) for name in self.target]
        return self.from_canonical_axes(_stack(columns))

    def write_slots(self, values: Tensor) -> Tensor:
        """One value a slot, ``[B, H, W, A]`` -> the declared axes without the channel."""
        declared = self.from_canonical_axes(values.unsqueeze(-1))
        return declared.squeeze(self._groups.index(("c",))) if ("c",) in self._groups else declared

    def read_slots(self, values: Tensor, head: Head) -> Tensor:
        """One value a slot in the declared axes without the channel -> ``[B, H, W, A]``."""
        if ("c",) in self._groups:
            values = values.unsqueeze(self._groups.index(("c",)))
        return self.to_canonical_axes(values, head, 1).squeeze(-1)

    def fill_iou(self, targets: Tensor, head: Head, iou: Tensor) -> None:
        """Write ``iou`` ``[B, H, W, A]`` into the declared ``targets``' iou channel, where there is one."""
        if "iou" in self.target:
            slots = self.to_canonical_axes(targets, head, len(self.target))
            slots[..., self.target.index("iou")] = iou

    def to_canonical_axes(self, tensor: Tensor, head: Head, channels: int) -> Tensor:
        """Declared axes -> ``[B, H, W, A, channels]`` as a view, channels in declared order.

        Raises ``ValueError`` naming both shapes where ``tensor`` does not have the declared one.
        """
        one = math.prod(self._declared_shape(1, head, channels))
        batch = tensor.shape[0] if self._batch_first and tensor.ndim else tensor.numel() // max(1, one)
        expected = self._declared_shape(batch, head, channels)
        if tuple(tensor.shape) != expected:
            raise ValueError(
                f"shape {list(tensor.shape)}, expected {list(expected)} for order {self.order!r}"
            )
        if self.order == CANONICAL_ORDER:
            return tensor
        sizes = {"b": batch, "y": head.grid_h, "x": head.grid_w, "a": head.anchor_count, "c": channels}
        flat = [axis for group in self._groups for axis in group]
        return tensor.view([sizes[axis] for axis in flat]).permute([flat.index(axis) for axis in AXES])

    def from_canonical_axes(self, tensor: Tensor) -> Tensor:
        """``[B, H, W, A, channels]`` -> declared axes."""
        if self.order == CANONICAL_ORDER:
            return tensor
        flat = [axis for group in self._groups for axis in group]
        sizes = dict(zip(AXES, tensor.shape, strict=True))
        shape = [math.prod(sizes[axis] for axis in group) for group in self._groups]
        return tensor.permute([AXES.index(axis) for axis in flat]).reshape(shape)

    @property
    def _batch_first(self) -> bool:
        return self._groups[0] == ("b",)

    @property
    def targets_are_canonical(self) -> bool:
        plain = self.target == TARGET and self.target_xy == "image" and self.target_wh == "image"
        return plain and self.order == CANONICAL_ORDER

    def _declared_shape(self, batch: int, head: Head, channels: int) -> tuple[int, ...]:
        sizes = {"b": batch, "y": head.grid_h, "x": head.grid_w, "a": head.anchor_count, "c": channels}
        return tuple(math.prod(sizes[axis] for axis in group) for group in self._groups)

    def _pred_index(self, head: Head) -> list[int]:
        declared = self.pred_names(head.classes)
        return [declared.index(name) for name in CANONICAL.pred_names(head.classes)]

    @staticmethod
    def _channels(tensor: Tensor, index: Sequence[int]) -> Tensor:
        if list(index) == list(range(len(index))):
            return tensor
        return tensor[..., list(index)]


def _parse_order(order: str) -> tuple[tuple[str, ...], ...]:
    tokens = re.findall(r"\([^()]*\)|\S+", order)
    groups = tuple(tuple(token.strip("()").split()) for token in tokens)
    flat = sorted(axis for group in groups for axis in group)
    whole = all(token.startswith("(") == token.endswith(")") for token in tokens)
    if flat != sorted(AXES) or not whole or not all(groups):
        raise ValueError(f"order must name each of b y x a c once, got {order!r}")
    return groups


def _slot_grid(head: Head, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row and column of each slot, ``[H, 1, 1]`` and ``[W, 1]``, and the anchors, on ``like``'s device."""
    anchors = head.anchors.to(like)
    rows = like.new_ones(head.grid_h).cumsum(0) - 1
    columns = like.new_ones(head.grid_w).cumsum(0) - 1
    return rows.view(-1, 1, 1), columns.view(-1, 1), anchors


def _stack(columns: Sequence[Tensor]) -> Tensor:
    import torch

    return torch.stack(list(columns), dim=-1)


CANONICAL = Layout()
