"""One place in a head's output, and how it is written in code under a declared layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..layout import Head, Layout
from ..runs.declared_axes import axis_sizes, raw_index


class Slot(NamedTuple):
    """A cell's anchor: sorted by head, then image, row, column, anchor."""

    head: int
    image: int
    y: int
    x: int
    anchor: int

    def __str__(self) -> str:
        return f"[{self.image}, {self.y}, {self.x}, {self.anchor}]"


def unravel(flat: Tensor, shape: Sequence[int]) -> Tensor:
    """Places in a flattened map ``[N]`` -> their indices ``[N, axes]``."""
    columns = []
    for size in reversed(shape):
        columns.append(flat % size)
        flat = flat // size
    return torch.stack(columns[::-1], dim=1)


def tensor_text(name: str, head: int, heads: int) -> str:
    """``pred``, or with several heads ``pred@1``, as the slice language writes it."""
    return f"{name}@{head}" if heads > 1 else name


def raw_text(
    name: str, layout: Layout, heads: Sequence[Head], batch: int, slot: Slot, channel: int, channels: int
) -> str:
    """``pred[0, 4, 7, 2, 1]``: the declared order's own indices, merged axes merged.

    ``channel`` counts in the declared order of the tensor's ``channels`` channels.
    """
    sizes = axis_sizes(heads[slot.head], batch, channels)
    at = {"b": slot.image, "y": slot.y, "x": slot.x, "a": slot.anchor, "c": channel}
    index = ", ".join(str(i) for i in raw_index(layout.order, sizes, at))
    return f"{tensor_text(name, slot.head, len(heads))}[{index}]"
