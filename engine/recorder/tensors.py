"""From the tensors of somebody's step to a snapshot: whatever form they came in, part by part.

A part that does not fit is left out, with one line that says why. Copies are made by numpy: a torch operation
on large tensors would start a second team of threads beside the loop's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..layout import Head, Layout
from ..runs.snapshots import CodePlace, Snapshot, channel_count, make_snapshot
from .declared import Declared
from .observed import Given

Say = Callable[[str, str], None]
"""A kind of complaint, and its one line: each kind is said once."""

NO_LABEL = -1
"""The class of a truth that came without one."""
COLUMNS = 6
"""Image, class, cx, cy, w, h: a row a truth."""


def as_snapshot(
    given: Given,
    declared: Declared,
    *,
    step: int,
    epoch: int,
    terms: Mapping[str, float],
    reason: str,
    place: CodePlace | None,
    versions: Mapping[str, str],
    say: Say,
) -> Snapshot | None:
    """On the CPU; ``place``: where the loop calls the recorder. None where no part fits, or the loop has
    overwritten one of the tensors since."""
    layout, heads = declared.layout, declared.heads
    parts: dict[str, Any] = {}
    batch = 0
    for name in ("pred", "targets", "decoded", "grad"):
        read = _by_head(name, getattr(given, name), layout, heads, batch, say)
        if read is not None:
            parts[name] = read
            batch = batch or _batch(name, read[0], layout, heads[0])
    images = None if given.images is None else _images(given.images, heads, batch, say)
    if images is not None:
        parts["images"] = images
        batch = batch or len(images)
    if given.boxes is not None and batch:
        truths = read_truths(given.boxes, given.labels, batch, say)
        if truths is not None:
            parts["boxes"], parts["labels"] = truths
    if given.maps and heads:
        parts["maps"] = _maps(given.maps, layout, heads, say)
    if given.overwritten or not parts:
        return None
    own = [("decode", "decoded" in parts), ("assign", "targets" in parts and given.labels is not None)]
    try:
        return make_snapshot(
            step=step,
            epoch=epoch,
            layout=layout,
            heads=heads,
            reason=reason,
            terms=dict(terms),
            classes=declared.classes,
            paths=given.paths if len(given.paths) == batch else (),
            functions={name: place for name, there in own if there and place is not None},
            profile=declared.profile,
            versions=dict(versions),
            **parts,
        )
    except ValueError as error:
        say("snapshot", f"no snapshots: {error}")
        return None


def copied(value: Any) -> Tensor:
    """A float32, integer or bool copy on the CPU that nobody else holds."""
    if not isinstance(value, Tensor):
        array = np.array(value, order="C")
        return torch.from_numpy(array.astype(np.float32) if array.dtype.kind == "f" else array)
    held = value.detach()
    if held.device.type != "cpu":
        held = held.cpu()
        return held.float() if held.is_floating_point() else held
    if held.dtype == torch.bfloat16:
        return held.float()
    array = held.numpy()
    return torch.from_numpy(np.array(array, np.float32 if array.dtype.kind == "f" else None, order="C"))


def _by_head(
    name: str, values: list[Any] | None, layout: Layout, heads: Sequence[Head], batch: int, say: Say
) -> list[Tensor] | None:
    if values is None:
        return None
    if not heads:
        if name in ("pred", "decoded"):
            say("heads", f"{name} cannot be read without its grid: give watch() a head")
        return None
    if len(values) != len(heads):
        say(name, f"{name} left out: {len(values)} tensor(s) for {len(heads)} head(s)")
        return None
    try:
        for value, head in zip(values, heads, strict=True):
            _fits(value.shape, layout, head, channel_count(name, layout, head))
        read = [copied(value) for value in values]
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        say(name, f"{name} left out: {' '.join(str(error).split())}")
        return None
    if batch and _batch(name, read[0], layout, heads[0]) != batch:
        own = _batch(name, read[0], layout, heads[0])
        say(name, f"{name} left out: it is of {own} images, pred of {batch}")
        return None
    return read


def _fits(shape: Sequence[int], layout: Layout, head: Head, channels: int) -> None:
    layout.to_canonical_axes(torch.empty(tuple(shape), device="meta"), head, channels)


def _batch(name: str, tensor: Tensor, layout: Layout, head: Head) -> int:
    return int(layout.to_canonical_axes(tensor, head, channel_count(name, layout, head)).shape[0])


def _maps(
    maps: Mapping[str, Any], layout: Layout, heads: Sequence[Head], say: Say
) -> dict[str, list[Tensor]]:
    from ..runs.declared_axes import slot_map

    fitting = {}
    for term, values in maps.items():
        try:
            read = [copied(value) for value in values]
            for value, head in zip(read, heads, strict=True):
                slot_map(value, layout, head)
            fitting[str(term)] = read
        except (ValueError, TypeError, RuntimeError) as error:
            say(f"maps.{term}", f"maps[{term!r}] left out: {' '.join(str(error).split())}")
    return fitting


# images


def _images(value: Any, heads: Sequence[Head], batch: int, say: Say) -> Tensor | None:
    try:
        array = to_pixels(copied(value).numpy())
    except (ValueError, TypeError, RuntimeError) as error:
        say("images", f"images left out: {error}")
        return None
    if batch and len(array) != batch:
        say("images", f"images left out: {len(array)} of them, pred is of {batch}")
        return None
    height, width = array.shape[2:]
    if heads and (height, width) != (heads[0].input_h, heads[0].input_w):
        head = heads[0]
        say(
            "input",
            f"images are {width}x{height}, but the head says {head.grid_w}x{head.grid_h} cells of "
            f"{head.stride} px = {head.input_w}x{head.input_h}: boxes will be drawn in the wrong places",
        )
    return torch.from_numpy(array)


def to_pixels(array: NDArray[Any]) -> NDArray[np.uint8]:
    """``[B, 3, H, W]`` or ``[B, H, W, 3]`` (1 channel will do), 0..255, 0..1 or normalised -> uint8.

    Normalised images are stretched between their least and their greatest value. A float array is written
    over: it is several times faster. Raises ``ValueError``.
    """
    if array.ndim == 3:
        array = array[None]
    if array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or not array.size:
        raise ValueError(f"shape {list(array.shape)}, expected [B, 3, H, W]")
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not math.isfinite(low) or not math.isfinite(high):
            array = np.nan_to_num(array, posinf=0.0, neginf=0.0)
            low, high = float(array.min()), float(array.max())
        if low >= -1e-3 and high <= 1.001:
            low, high = 0.0, 1.0
        elif low >= 0 and 32 < high <= 255.5:
            low, high = 0.0, 255.0
        array -= low
        array *= 255 / (high - low) if high > low else 0.0
        array += 0.5
        np.clip(array, 0, 255, out=array)
    if array.shape[1] == 1:
        array = np.repeat(array, 3, axis=1)
    return np.ascontiguousarray(array, np.uint8)


# truths


def read_truths(boxes: Any, labels: Any, batch: int, say: Say) -> tuple[list[Tensor], list[Tensor]] | None:
    """Boxes and classes an image. ``boxes``: a list of ``[N, 4]`` cx, cy, w, h in 0..1, or one tensor
    ``[N, 6]`` of image, class, cx, cy, w, h."""
    try:
        if isinstance(boxes, (list, tuple)):
            if len(boxes) != batch:
                raise ValueError(f"{len(boxes)} entries for {batch} images")
            read = [copied(each).reshape(-1, 4).float() for each in boxes]
            if labels is None:
                classes = [torch.full((len(each),), NO_LABEL) for each in read]
            else:
                classes = [copied(each).reshape(-1).long() for each in labels]
        else:
            rows = copied(boxes).float()
            if rows.ndim != 2 or rows.shape[1] != COLUMNS:
                raise ValueError(f"shape {list(rows.shape)}, expected a list of [N, 4] or one [N, 6]")
            image = rows[:, 0].long()
            read = [rows[image == b, 2:] for b in range(batch)]
            classes = [rows[image == b, 1].long() for b in range(batch)]
        if [len(each) for each in read] != [len(each) for each in classes]:
            raise ValueError("labels are not as many as boxes")
        if any(bool((each > 2).any()) for each in read):
            raise ValueError("they look like pixels, expected cx, cy, w, h in 0..1 of the input image")
    except (ValueError, TypeError, RuntimeError) as error:
        say("boxes", f"boxes left out: {' '.join(str(error).split())}")
        return None
    return read, classes


def count_objects(boxes: Any) -> int:
    """How many truths a step has, without looking at them."""
    if boxes is None:
        return 0
    if not isinstance(boxes, (list, tuple)):
        return len(boxes)
    return sum([each.shape[0] if isinstance(each, Tensor) else len(each) for each in boxes])
