"""What a layout's order of axes means for single slots: raw indices, and maps of one value a slot."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..layout import Head, Layout

if TYPE_CHECKING:
    from torch import Tensor

SLOT_AXES = "byxa"


def order_groups(order: str) -> tuple[tuple[str, ...], ...]:
    """``"b (a c) y x"`` -> (("b",), ("a", "c"), ("y",), ("x",)): a group an axis of the tensor."""
    groups: list[tuple[str, ...]] = []
    inside: list[str] | None = None
    for token in order.replace("(", " ( ").replace(")", " ) ").split():
        if token == "(":
            inside = []
        elif token == ")":
            groups.append(tuple(inside or ()))
            inside = None
        elif inside is None:
            groups.append((token,))
        else:
            inside.append(token)
    return tuple(groups)


def slot_groups(order: str) -> tuple[tuple[str, ...], ...]:
    """The groups without the channel: the axes of a map of one value a slot."""
    groups = (tuple(axis for axis in group if axis != "c") for group in order_groups(order))
    return tuple(group for group in groups if group)


def axis_sizes(head: Head, batch: int, channels: int) -> dict[str, int]:
    return {"b": batch, "y": head.grid_h, "x": head.grid_w, "a": head.anchor_count, "c": channels}


def raw_index(order: str, sizes: dict[str, int], at: dict[str, int]) -> tuple[int, ...]:
    """Where (b, y, x, a, c) ``at`` lies in the declared tensor: a number an axis, merged axes merged."""
    index = []
    for group in order_groups(order):
        position = 0
        for axis in group:
            position = position * sizes[axis] + at[axis]
        index.append(position)
    return tuple(index)


def split_index(order: str, sizes: dict[str, int], index: tuple[int, ...]) -> dict[str, int]:
    """The inverse of ``raw_index``; a shorter ``index`` gives the axes it reaches."""
    at = {}
    for group, position in zip(order_groups(order), index, strict=False):
        for axis in reversed(group):
            position, at[axis] = divmod(position, sizes[axis])
    return at


def slot_map(values: Tensor, layout: Layout, head: Head) -> Tensor:
    """A map of one value a slot -> ``[B, H, W, A]``.

    Taken in the declared axes without the channel, in the declared axes with one channel, or as
    ``[B, H, W, A]``, tried in that order. Raises ``ValueError`` where none fits.
    """
    sizes = axis_sizes(head, 1, 1)
    sizes["b"], rest = divmod(values.numel(), max(1, math.prod(sizes.values())))
    without_channel = slot_groups(layout.order)
    declared = tuple(math.prod(sizes[axis] for axis in group) for group in without_channel)
    one_channel = tuple(math.prod(sizes[axis] for axis in group) for group in order_groups(layout.order))
    if not rest and tuple(values.shape) in (declared, one_channel):
        flat = [axis for group in without_channel for axis in group]
        split = values.reshape([sizes[axis] for axis in flat])
        return split.permute([flat.index(axis) for axis in SLOT_AXES])
    if not rest and tuple(values.shape) == tuple(sizes[axis] for axis in SLOT_AXES):
        return values
    raise ValueError(
        f"a map of shape {list(values.shape)} does not hold one value a slot, as {list(declared)} does"
    )
