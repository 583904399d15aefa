"""Indices, channel names and conditions, applied to values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .errors import ExpressionError
from .nearest import nearest
from .tree import At, Mask, Rest, Span
from .values import CHANNEL, Axis, Value

GROUPS = {"xy": ("x", "y"), "wh": ("w", "h"), "xywh": ("x", "y", "w", "h")}


def take_index(value: Value, parts: Sequence[At | Span | Rest | tuple[Value, Mask]], column: int) -> Value:
    """``value[parts]`` as torch has it; a condition comes with its value, and covers as many axes as that."""
    selectors = _spread(value, parts, column)
    axis, conditions = 0, []
    for part in selectors:
        if isinstance(part, tuple):
            conditions.append((axis, *part))
            axis += part[0].ndim
        elif isinstance(part, At):
            value = _pin(value, axis, part)
        else:
            value = _cut(value, axis, part)
            axis += 1
    if len(conditions) > 1:
        raise ExpressionError("one condition an index, join them with &", conditions[1][2].column)
    for start, condition, mask in conditions:
        value = _keep_true(value, start, _as_mask(condition, mask.column), mask.column)
    return value


def _spread(
    value: Value, parts: Sequence[At | Span | Rest | tuple[Value, Mask]], column: int
) -> list[At | Span | tuple[Value, Mask]]:
    """One selector an axis: ``...`` and what is left out become ``:``."""
    widths = [0 if isinstance(p, Rest) else p[0].ndim if isinstance(p, tuple) else 1 for p in parts]
    missing = value.ndim - sum(widths)
    if missing < 0:
        used = 0
        for part, width in zip(parts, widths, strict=True):
            used += width
            if used > value.ndim:
                at = part[1].column if isinstance(part, tuple) else part.column
                raise ExpressionError(f"too many indices for shape {value.shape_text}", at)
    whole = Span(None, None, None, column)
    selectors: list[At | Span | tuple[Value, Mask]] = []
    for part in parts:
        if isinstance(part, Rest):
            selectors += [whole] * missing
            missing = 0
        else:
            selectors.append(part)
    return selectors + [whole] * missing


def _pin(value: Value, axis: int, part: At) -> Value:
    size = value.shape[axis]
    if not -size <= part.value < size:
        name = value.axes[axis].name
        what = f"axis {name!r}" if name else f"axis {axis}"
        raise ExpressionError(f"{part.value} is outside {what} of size {size}", part.column)
    at = part.value % size
    fixed = {**value.fixed, **{key: int(places[at]) for key, places in value.axes[axis].coords.items()}}
    return replace(
        value,
        tensor=value.tensor.select(axis, at),
        axes=value.axes[:axis] + value.axes[axis + 1 :],
        fixed=fixed,
    )


def _cut(value: Value, axis: int, part: Span) -> Value:
    if part.start is None and part.stop is None and part.step is None:
        return value
    window = slice(part.start, part.stop, part.step)
    start, stop, step = window.indices(value.shape[axis])
    stop = max(start, stop)
    tensor = value.tensor[(slice(None),) * axis + (slice(start, stop, step),)]
    cut = value.axes[axis].take(slice(start, stop, step))
    return replace(value, tensor=tensor, axes=(*value.axes[:axis], cut, *value.axes[axis + 1 :]))


def take_channel(value: Value, name: str, column: int) -> Value:
    """``value.w``: the channels of that name; a group (``xy wh xywh class``) keeps the axis."""
    found = next(((k, axis) for k, axis in enumerate(value.axes) if axis.channel_keys), None)
    if found is None:
        pinned = [str(channels) for channels in value.channels()]
        why = f"it is {' and '.join(pinned)} already" if pinned else "it has no channels"
        raise ExpressionError(f".{name} does not fit: {why}", column)
    k, axis = found
    keys = axis.channel_keys
    columns = [[value.names[key][at] for at in axis.coords[key].tolist()] for key in keys]
    merged = len(keys) < len(axis.coords)
    shared = [names[0] if len(set(names)) == 1 else "" for names in zip(*columns, strict=True)]
    wanted = _wanted(name, shared)
    if not wanted or not set(wanted) <= set(shared):
        known = list(dict.fromkeys(filter(None, shared)))
        text = " ".join(dict.fromkeys(known)) if len(known) <= 8 else " ".join([*known[:6], "..."])
        raise ExpressionError(f"no channel {name!r} here ({text or 'none'}){nearest(name, known)}", column)
    if merged:
        positions = [i for i, channel in enumerate(shared) if channel in wanted]
    else:
        positions = [shared.index(channel) for channel in wanted]
    if len(wanted) > 1 or name != wanted[0]:
        return _select(value, k, torch.tensor(positions))
    if not merged:
        return _pin(value, k, At(positions[0], column))
    value = _select(value, k, torch.tensor(positions))
    pinned_at = {key: int(value.axes[k].coords[key][0]) for key in keys}
    left = Axis({key: at for key, at in value.axes[k].coords.items() if key not in keys})
    axes = (*value.axes[:k], left, *value.axes[k + 1 :])
    return replace(value, axes=axes, fixed={**value.fixed, **pinned_at})


def _wanted(name: str, known: Sequence[str]) -> tuple[str, ...]:
    if name in known:
        return (name,)
    if name in ("class", "classes"):
        return tuple(dict.fromkeys(channel for channel in known if re.fullmatch(r"class\d+", channel)))
    return GROUPS.get(name, ())


def _select(value: Value, axis: int, positions: Tensor) -> Value:
    taken = value.axes[axis].take(positions)
    tensor = value.tensor.index_select(axis, positions)
    return replace(value, tensor=tensor, axes=(*value.axes[:axis], taken, *value.axes[axis + 1 :]))


def take_where(value: Value, condition: Value, column: int) -> Value:
    """``value where condition``: the places where it holds, as one leading axis.

    The condition's axes are found in the value by what they are (a condition on ``b y x a`` selects slots of
    ``pred[..., 1:5]``, and of ``pred[0, :, :, 2]`` those of image 0 and anchor 2), else by equal shapes.
    """
    mask = _as_mask(condition, column)
    aligned = _align(value, condition, mask)
    if aligned is None:
        if value.shape[: mask.ndim] != tuple(mask.shape) or not mask.ndim:
            raise ExpressionError(
                f"the condition {condition.shape_text} does not fit {value.shape_text}", column
            )
        return _keep_true(value, 0, mask, column)
    mask, used = aligned
    order = [*used, *(k for k in range(value.ndim) if k not in used)]
    moved = replace(value, tensor=value.tensor.permute(order), axes=tuple(value.axes[k] for k in order))
    return _keep_true(moved, 0, mask, column)


def _align(value: Value, condition: Value, mask: Tensor) -> tuple[Tensor, list[int]] | None:
    """The mask over the value's own axes ``used``, in their order; None where keys do not tell."""
    picks: list[Tensor] = []
    used: set[int] = set()
    for axis in condition.axes:
        places = {key: at for key, at in axis.coords.items() if not key.startswith(CHANNEL)}
        if not places:
            k = next((k for k, own in enumerate(value.axes) if _same_channels(own, axis)), None)
            if k is None:
                return None
            pick: Tensor | None = torch.arange(value.shape[k])
        elif len(places) > 1:
            k = next((k for k, own in enumerate(value.axes) if _same_places(own, places)), None)
            if k is None:
                return None
            pick = torch.arange(value.shape[k])
        else:
            ((key, at),) = places.items()
            k = next((k for k, own in enumerate(value.axes) if key in own.coords), None)
            wanted = torch.tensor([value.fixed[key]]) if k is None and key in value.fixed else None
            wanted = value.axes[k].coords[key] if k is not None else wanted
            pick = None if wanted is None else _positions(at, wanted)
        if pick is None:
            return None
        shape = [1] * value.ndim
        if k is not None:
            used.add(k)
            shape[k] = -1
            picks.append(pick.view(shape))
        else:
            picks.append(pick.view(shape) if value.ndim else pick.squeeze(0))
    if not used:
        return None
    ordered = sorted(used)
    spread = mask[tuple(picks)]
    shape = [value.shape[k] if k in used else 1 for k in range(value.ndim)]
    return spread.expand(shape).reshape([value.shape[k] for k in ordered]), ordered


def _positions(at: Tensor, wanted: Tensor) -> Tensor | None:
    """Where each of ``wanted`` stands in ``at``; None where one does not."""
    if torch.equal(at, wanted):
        return torch.arange(len(at))
    if not len(at):
        return None
    place = at.new_full((int(max(at.max(), wanted.max() if len(wanted) else 0)) + 1,), -1)
    place[at] = torch.arange(len(at))
    found = place[wanted]
    return None if bool((found < 0).any()) else found


def _same_channels(own: Axis, other: Axis) -> bool:
    """Two axes of channels alone, of one size."""
    if not own.coords or not other.coords or set(own.coords) != set(own.channel_keys):
        return False
    return len(next(iter(own.coords.values()))) == len(next(iter(other.coords.values())))


def _same_places(own: Axis, places: dict[str, Tensor]) -> bool:
    return all(key in own.coords and torch.equal(own.coords[key], at) for key, at in places.items())


def _as_mask(condition: Value, column: int) -> Tensor:
    if condition.tensor.dtype != torch.bool:
        raise ExpressionError("a condition is needed here, as in mask > 0", column)
    return condition.tensor


def _keep_true(value: Value, start: int, mask: Tensor, column: int) -> Value:
    covered = value.shape[start : start + mask.ndim]
    if covered != tuple(mask.shape) or not mask.ndim:
        raise ExpressionError(
            f"a condition of shape {list(mask.shape)} does not fit {value.shape_text}", column
        )
    where = mask.nonzero()
    tensor = value.tensor[(slice(None),) * start + (mask,)]
    coords: dict[str, Tensor] = {}
    for k in range(mask.ndim):
        for key, at in value.axes[start + k].coords.items():
            coords[key] = at[where[:, k]]
    order = [key for key in ("b", "y", "x", "a") if key in coords]
    ordered = {key: coords[key] for key in [*order, *(key for key in coords if key not in order)]}
    axes = (*value.axes[:start], Axis(ordered), *value.axes[start + mask.ndim :])
    return replace(value, tensor=tensor, axes=axes)
