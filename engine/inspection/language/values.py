"""A tensor that knows, through every slice and sum, which slots and channels its numbers belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

CHANNEL = "c:"
"""Keys of coordinates: a letter of ``b y x a`` (``row`` and ``col`` in images), or ``c:`` and the tensor
whose channel it is. A key met a second time in another place gets a ``'``."""


@dataclass(frozen=True, eq=False)
class Axis:
    """``coords``: for each key the position in the tensor it came from, one an index of this axis. A merged
    axis has several keys, a selection of slots has all of its slots' keys, an unknown axis none."""

    coords: Mapping[str, Tensor]

    @property
    def name(self) -> str:
        """``b``, ``c``, ``a c`` ..."""
        letters = dict.fromkeys("c" if key.startswith(CHANNEL) else key for key in self.coords)
        return " ".join(letters)

    @property
    def channel_keys(self) -> list[str]:
        return [key for key in self.coords if key.startswith(CHANNEL)]

    def take(self, positions: Tensor | slice) -> Axis:
        return Axis({key: at[positions] for key, at in self.coords.items()})


@dataclass(frozen=True, eq=False)
class Channels:
    """The channels of one tensor that a value is made of."""

    tensor: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(abbreviate(self.names))


@dataclass(frozen=True, eq=False)
class Value:
    tensor: Tensor
    axes: tuple[Axis, ...] = ()
    fixed: Mapping[str, int] = field(default_factory=dict)
    """Keys that an index has pinned to one position."""
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The channel names that the positions of a ``c:`` key stand for."""
    pooled: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Channels that a reduction has gone over."""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def ndim(self) -> int:
        return self.tensor.ndim

    @property
    def shape_text(self) -> str:
        """``[4, 13, 13]`` with the axes' names: ``[b 4, y 13, x 13]``."""
        parts = [f"{axis.name} {size}".strip() for axis, size in zip(self.axes, self.shape, strict=True)]
        return f"[{', '.join(parts)}]"

    def channels(self) -> list[Channels]:
        """Which channels, a tensor at a time, in the order first met."""
        found = []
        for key, names in self.names.items():
            at = self._channel_positions(key)
            if at is not None:
                found.append(Channels(key[len(CHANNEL) :].rstrip("'"), tuple(names[i] for i in at)))
        return found

    def labels(self, axis: int, start: int = 0, stop: int | None = None) -> list[str]:
        """What an axis' indices are: channel names, or positions, ``a2 x`` where two axes are merged."""
        coords = {key: at[start:stop].tolist() for key, at in self.axes[axis].coords.items()}
        size = len(range(*slice(start, stop).indices(self.shape[axis])))
        if not coords:
            return [str(k) for k in range(start, start + size)]
        channels = [key for key in coords if key.startswith(CHANNEL)]
        places = [key for key in coords if key not in channels]
        labels = []
        for k in range(size):
            names = dict.fromkeys(self.names[key][coords[key][k]] for key in channels)
            if len(places) > 1:
                place = "[" + ", ".join(str(coords[key][k]) for key in places) + "]"
            else:
                place = "".join(f"{key if channels else ''}{coords[key][k]}" for key in places)
            labels.append(" ".join(part for part in (place, "/".join(names)) if part))
        return labels

    def selection(self) -> str:
        """What is selected of what: ``b=0 y=: x=: a=2 c=x y w h``."""
        found: dict[str, str] = {
            key: str(at) for key, at in self.fixed.items() if not key.startswith(CHANNEL)
        }
        for axis in self.axes:
            for key, at in axis.coords.items():
                if not key.startswith(CHANNEL):
                    found[key] = _range_text(at)
        order = [key for key in ("b", "y", "x", "a", "row", "col") if key in found]
        parts = [f"{key}={found[key]}" for key in order]
        channels = "; ".join(str(channels) for channels in self.channels())
        return " ".join([*parts, f"c={channels}"] if channels else parts)

    def _channel_positions(self, key: str) -> list[int] | None:
        if key in self.fixed:
            return [self.fixed[key]]
        if key in self.pooled:
            return list(self.pooled[key])
        for axis in self.axes:
            if key in axis.coords:
                at = axis.coords[key]
                return list(dict.fromkeys(at.tolist())) if len(axis.coords) > 1 else at.tolist()
        return None


def abbreviate(names: tuple[str, ...]) -> list[str]:
    """Four and more classes in a row become ``class0..class19``."""
    short: list[str] = []
    run: list[str] = []
    for name in (*names, ""):
        follows = bool(run) and name.startswith("class") and name[5:].isdigit()
        if follows and int(name[5:]) == int(run[-1][5:]) + 1:
            run.append(name)
            continue
        short += [f"{run[0]}..{run[-1]}"] if len(run) > 3 else run
        run = [name] if name.startswith("class") and name[5:].isdigit() else []
        short += [name] if name and not run else []
    return short


def broadcast_shape(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...] | None:
    """As torch has it; None where the two do not go together."""
    size = max(len(left), len(right))
    padded = [(1,) * (size - len(shape)) + shape for shape in (left, right)]
    shape = []
    for one, other in zip(*padded, strict=True):
        if one != other and 1 not in (one, other):
            return None
        shape.append(other if one == 1 else one)
    return tuple(shape)


def combine(left: Value, right: Value, tensor: Tensor) -> Value:
    """The axes and channels of an elementwise result: what both sides agree on, and both sides' channels."""
    right = _rename(left, right)
    fixed: dict[str, int | None] = {}
    axes: list[Axis] = []
    for k in range(-tensor.ndim, 0):
        coords: dict[str, Tensor] = {}
        dropped: set[str] = set()
        for value in (left, right):
            if -k > value.ndim:
                continue
            axis = value.axes[k]
            if value.shape[k] != tensor.shape[k]:  # one index stands for all of the other's
                fixed.update({key: int(at[0]) for key, at in axis.coords.items() if key.startswith(CHANNEL)})
                continue
            for key, at in axis.coords.items():
                if key in coords and not torch.equal(coords[key], at):
                    dropped.add(key)
                coords.setdefault(key, at)
        axes.append(Axis({key: at for key, at in coords.items() if key not in dropped}))
    for value in (left, right):
        for key, pinned in value.fixed.items():
            fixed[key] = pinned if fixed.get(key, pinned) == pinned else None
    spread = {key for axis in axes for key in axis.coords}
    kept = {key: pinned for key, pinned in fixed.items() if pinned is not None and key not in spread}
    return Value(tensor, tuple(axes), kept, {**left.names, **right.names}, {**left.pooled, **right.pooled})


def _rename(left: Value, right: Value) -> Value:
    """Keep apart the channels of one tensor that stand in other places on the two sides."""
    new_names: dict[str, str] = {}
    for key in right.names:
        if key in left.names and not _same_place(left, right, key):
            new = key
            while new in left.names or new in right.names:
                new += "'"
            new_names[key] = new
    if not new_names:
        return right
    return replace(
        right,
        axes=tuple(Axis({new_names.get(k, k): at for k, at in axis.coords.items()}) for axis in right.axes),
        fixed={new_names.get(k, k): at for k, at in right.fixed.items()},
        names={new_names.get(k, k): names for k, names in right.names.items()},
        pooled={new_names.get(k, k): at for k, at in right.pooled.items()},
    )


def _same_place(left: Value, right: Value, key: str) -> bool:
    """Whether a key means the same channels, at the same axis counted from the last, on both sides."""
    if left.names[key] != right.names[key] or left.fixed.get(key) != right.fixed.get(key):
        return False
    if left.pooled.get(key) != right.pooled.get(key):
        return False
    mine, theirs = (
        {k - value.ndim: axis.coords[key] for k, axis in enumerate(value.axes) if key in axis.coords}
        for value in (left, right)
    )
    return mine.keys() == theirs.keys() and all(torch.equal(at, theirs[k]) for k, at in mine.items())


def _range_text(at: Tensor) -> str:
    """``0:13``, ``0:13:2``, or the numbers themselves."""
    numbers = list(dict.fromkeys(at[:100_000].tolist()))
    if len(numbers) > 1:
        step = numbers[1] - numbers[0]
        if step > 0 and numbers == list(range(numbers[0], numbers[-1] + 1, step)):
            return f"{numbers[0]}:{numbers[-1] + 1}" + (f":{step}" if step > 1 else "")
        return ",".join(map(str, numbers[:4])) + ("..." if len(numbers) > 4 else "")
    return str(numbers[0]) if numbers else "none"
