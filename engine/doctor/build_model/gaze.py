"""Which pixels a cell's prediction follows: those of its own place, whatever a norm over the picture adds."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from ..findings import Finding
from ..inputs import generator
from ..stage import GROUPS, Stage

OWN, ELSEWHERE = 0.1, 0.6
"""Share of a cell's gradient in its own neighbourhood, below which it does not look there; and in another
place of that size, above which it looks there (a network that looks everywhere looks at no place)."""
SECONDS = 1.0
"""What the forward pass of the probe may take at most: larger networks are left to the patches."""

Cells = list[tuple[int, int]]


def judge_gaze(stage: Stage, run: Callable[[Tensor], list[Tensor]], seconds: float) -> list[Finding]:
    """Four cells of each head, by the gradient of their predictions with respect to the picture.

    ``run`` keeps the graph. ``seconds``: of one picture through the network. What every pixel moves alike, as
    in a normalisation over the whole picture, is taken off first.
    """
    width, height = stage.input_wh
    asked = [(k, cell) for k, head in enumerate(stage.heads) for cell in _cells(head.grid_h, head.grid_w)]
    if not asked or seconds * len(asked) > SECONDS:
        return []
    g = generator(8)
    images = torch.rand(len(asked), 3, height, width, generator=g).requires_grad_()
    begun = time.perf_counter()
    preds = run(images)
    if time.perf_counter() - begun > SECONDS or not all(p.requires_grad for p in preds):
        return []
    total = torch.zeros(())
    for n, (k, (y, x)) in enumerate(asked):
        head = stage.heads[k]
        slots = stage.layout.to_canonical_axes(preds[k], head, 5 + head.classes)[n, y, x]
        total = total + (slots * torch.randn(slots.shape, generator=g)).sum()
    (moved,) = torch.autograd.grad(total, images, allow_unused=True)
    if moved is None:  # cut off from the picture: the parameters' gradients tell that
        return []
    for k, head in enumerate(stage.heads):
        away: list[tuple[tuple[int, int], tuple[int, int]]] = []
        own = [n for n, (other, _) in enumerate(asked) if other == k]
        for n in own:
            seen = _looks_at(moved[n].abs().sum(0), asked[n][1], head.stride)
            if seen is not None:
                away.append((asked[n][1], seen))
        if own and 2 * len(away) >= len(own):
            return [_finding(stage, k, away, len(own))]
    return []


def _cells(rows: int, columns: int) -> Cells:
    if rows < 3 or columns < 3:
        return []
    return [(rows - 1, columns - 1), (0, columns - 1), (rows - 1, 0), (rows // 2, columns // 2)]


def _looks_at(pixels: Tensor, cell: tuple[int, int], stride: int) -> tuple[int, int] | None:
    """The cell about which nearly all of the gradient lies, where that is not its own neighbourhood."""
    blocks = pixels[None, None]
    side = max(stride // 4, 1)
    fine = torch.nn.functional.avg_pool2d(blocks, side)[0, 0]
    fine = (fine - fine.median()).clamp(min=0)
    whole = float(fine.sum())
    if whole <= 0:
        return None
    per = stride / side
    y, x = cell
    top, bottom = int(max((y - 1) * per, 0)), int((y + 2) * per)
    left, right = int(max((x - 1) * per, 0)), int((x + 2) * per)
    if float(fine[top:bottom, left:right].sum()) / whole >= OWN:
        return None
    size = min(int(3 * per) | 1, *(s - 1 + s % 2 for s in fine.shape))
    sums = torch.nn.functional.avg_pool2d(fine[None, None], size, 1)[0, 0] * size * size
    at = int(sums.argmax())
    if float(sums.max()) / whole < ELSEWHERE:
        return None
    row, column = at // sums.shape[1] + size // 2, at % sums.shape[1] + size // 2
    return int(row / per), int(column / per)


def _finding(
    stage: Stage, k: int, away: list[tuple[tuple[int, int], tuple[int, int]]], count: int
) -> Finding:
    (y, x), (row, column) = away[0]
    where = f" (head {k})" if len(stage.heads) > 1 else ""
    return Finding(
        "error",
        "build_model.patch",
        "build_model",
        f"cells do not look at their own place of the picture{where}",
        channels=GROUPS,
        expected="a cell's prediction follows the pixels around the cell",
        got=f"the cell in row {y}, column {x} follows those about row {row}, column {column}; "
        f"so {len(away)} of {count} cells",
        fix="resample a map to the head's grid (a stride, a pooling), do not cut it; no flip, no wrong view",
    )
