"""Where in the picture a cell of the network's output looks: its own place, or by a wrong view another."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ...layout import AXES
from ..findings import Finding
from ..stage import Stage

MIRRORS = (("left to right", (2,)), ("top to bottom", (1,)), ("both ways", (1, 2)))
"""By the axes of ``[N, H, W]``."""
MOST = 12
"""Patches a head."""
DEAF = 0.03
"""Of the strongest change: below it a cell does not answer."""
MOSTLY, MANY_TIMES = 0.6, 2.5
"""Share of the change about the patches in the right reading of the memory; its lead over the declared."""

Cells = list[tuple[int, int]]
Run = Callable[[Tensor], list[Tensor]]


def judge_patches(stage: Stage, run: Run) -> list[Finding]:
    """Change one cell's pixels of an even picture: that cell's prediction must move.

    Where another cell moves most, the memory is read as if its axes lay in another order: if one such reading
    puts the patches in their places, the axes were viewed where they had to be permuted. What moves
    everywhere alike (a normalisation over the whole picture does that) is taken off first.
    """
    for k, head in enumerate(stage.heads):
        if head.grid_h < 3 or head.grid_w < 3:
            continue
        cells = _cells(head.grid_h, head.grid_w)
        change = _change(stage, run, k, cells)
        if float(change.abs().max()) < 1e-9:
            text = "a change of the picture does not change the prediction"
            return [_patch_finding(text, stage, "no change", k)]
        spread = _spread(stage, k, change)
        own = _local(spread, cells)
        if own >= 0.75:
            continue
        if own <= 0.5 and (order := _order(stage, k, change, cells)):
            text = (
                f"the prediction lies in memory as [b {' '.join(order)}], but is "
                f"handed out as {stage.layout.order!r}: a view where a permute is wanted"
            )
            return [_patch_finding(text, stage, f"{own:.0%} of the patched cells moved most", k)]
        for name, dims in MIRRORS:
            if own <= 0.5 and _fits(spread.flip(dims), cells, spread):
                text = f"the grid is mirrored {name}: a change of the picture moves the cell opposite to it"
                fix = f"no flip of the features or of the prediction along {'/'.join('byx'[d] for d in dims)}"
                got = f"{own:.0%} of the patched cells moved most, nearly all of them in the mirrored grid"
                return [replace(_patch_finding(text, stage, got, k), fix=fix)]
        deaf = [cell for n, cell in enumerate(cells) if _around(spread[n], cell) < DEAF * float(spread.max())]
        if len(deaf) >= len(cells) / 3:
            y, x = deaf[0]
            text = "cells do not look at their own place: a change of the picture there does not move them"
            got = (
                f"{len(deaf)} of {len(cells)} patched cells do not move, the one in row {y}, column {x} first"
            )
            fix = "resample a map to the head's grid (a stride, a pooling), do not cut it"
            return [replace(_patch_finding(text, stage, got, k), fix=fix)]
    return []


def _cells(rows: int, columns: int) -> Cells:
    """Spread over the whole grid, the four corners first, no row a mirror of another."""
    every = [(y, x) for y in range(rows) for x in range(columns)]
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(4)).tolist()
    corners = [(rows - 1, columns - 1), (0, columns - 1), (rows - 1, 0)]
    return (corners + [every[k] for k in order if every[k] not in corners])[:MOST]


def _change(stage: Stage, run: Run, k: int, cells: Cells) -> Tensor:
    """``[N, ...]`` in the declared axes: what each patch moves beyond what moves everywhere."""
    head = stage.heads[k]
    width, height = stage.input_wh
    base = torch.full((len(cells), 3, height, width), 0.5)
    patched = base.clone()
    colour = torch.tensor([1.0, 0.0, 0.6]).view(3, 1, 1)
    s = head.stride
    for n, (y, x) in enumerate(cells):
        patched[n, :, y * s : (y + 1) * s, x * s : (x + 1) * s] = colour
    moved = []
    for first in range(0, len(cells), 4):
        after, before = run(patched[first : first + 4])[k], run(base[first : first + 4])[k]
        moved.append(stage.layout.to_canonical_axes((after - before).contiguous(), head, 5 + head.classes))
    slots = torch.cat(moved)
    everywhere = slots.flatten(1, 2).median(1).values[:, None, None]
    return stage.layout.from_canonical_axes(slots - everywhere).abs()


def _spread(stage: Stage, k: int, change: Tensor) -> Tensor:
    """``[N, H, W]``: how much each cell moved."""
    head = stage.heads[k]
    return stage.layout.to_canonical_axes(change.contiguous(), head, 5 + head.classes).sum((-1, -2))


def _order(stage: Stage, k: int, change: Tensor, cells: Cells) -> tuple[str, ...]:
    """The order of the memory's axes that best puts the patches in their places; empty where none does."""
    if not stage.layout.order.startswith("b"):
        return ()
    declared = _spread(stage, k, change)
    shares = {
        order: _share(spread, cells)
        for order in itertools.permutations("yxac")
        if _fits(spread := _reread(stage, k, change, order), cells, declared)
    }
    return max(shares, key=lambda order: shares[order], default=())


def _reread(stage: Stage, k: int, change: Tensor, order: tuple[str, ...]) -> Tensor:
    head = stage.heads[k]
    sizes = {"y": head.grid_h, "x": head.grid_w, "a": head.anchor_count, "c": 5 + head.classes}
    view = change.reshape([len(change), *[sizes[axis] for axis in order]])
    axes = [0] + [1 + order.index(axis) for axis in AXES[1:]]
    return view.permute(axes).sum((-1, -2))


def _fits(spread: Tensor, cells: Cells, declared: Tensor) -> bool:
    """Next to every patch in its place. On a small grid that may be chance: there most of them exactly, or
    most of the whole change about the patches, of which little is there as ``declared``."""
    _, h, w = spread.shape
    if _local(spread, cells) < 0.9:
        return False
    if h * w >= 40 or _local(spread, cells, room=0) >= 0.5:
        return True
    share = _share(spread, cells)
    return share >= MOSTLY and share >= MANY_TIMES * _share(declared, cells)


def _share(spread: Tensor, cells: Cells) -> float:
    """Of the whole change, what lies in the patched cells and next to them."""
    near = [
        spread[n, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].sum() / spread[n].sum().clamp(min=1e-12)
        for n, (y, x) in enumerate(cells)
    ]
    return float(torch.stack(near).mean())


def _local(spread: Tensor, cells: Cells, room: int = 1) -> float:
    """Share of patches whose strongest cell is the patched one, or no further than ``room`` from it."""
    w = spread.shape[2]
    tops = spread.flatten(1).argmax(1).tolist()
    good = [max(abs(top // w - y), abs(top % w - x)) <= room for top, (y, x) in zip(tops, cells, strict=True)]
    return float(sum(good)) / len(cells)


def _around(spread: Tensor, cell: tuple[int, int]) -> float:
    y, x = cell
    near = spread[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
    return float(near.max().item())


def _patch_finding(message: str, stage: Stage, got: str, k: int) -> Finding:
    where = f" (head {k})" if len(stage.heads) > 1 else ""
    return Finding(
        "error",
        "build_model.patch",
        "build_model",
        message + where,
        channels=("conf", "x", "y", "w", "h", "class"),
        expected="the patched cell's own prediction moves most",
        got=got,
        fix="out.view(B, A, 5 + C, H, W).permute(0, 3, 4, 1, 2)"
        if stage.layout.order == "b y x a c"
        else f"permute to {stage.layout.order!r} before any view",
    )
