"""Which channel of pred moves what of a detection."""

from __future__ import annotations

import torch
from torch import Tensor

from ..calling import Called
from ..findings import Table
from ..inputs import perfect
from ..stage import GROUPS, Stage, columns
from .run import Pictures, run_detect, strongest

COLUMNS = ("x1", "y1", "x2", "y2", "score", "class")
EXPECTED = {
    "conf": {"score"},
    "x": {"x1", "x2"},
    "y": {"y1", "y2"},
    "w": {"x1", "x2"},
    "h": {"y1", "y2"},
    "class": {"score"},
}


def influence(called: Called, stage: Stage, shown: Pictures) -> Table:
    """Mean absolute change of the strongest detection's columns when a channel group of the objects' slots
    is moved; a detection that comes or goes counts as a change of its score."""
    base = perfect(stage, shown.made, sure=4.0)
    before = run_detect(called, stage, base, shown.sizes)
    rows = []
    for group in GROUPS:
        moved = [p.clone() for p in base]
        for pred, positive in zip(moved, shown.made.positive, strict=True):
            picked = pred[positive]
            if group == "class":
                picked[:, 5:] *= 0.25
            else:
                picked[:, columns(group)] += {"conf": -1.5}.get(group, 0.25)
            pred[positive] = picked
        after = run_detect(called, stage, moved, shown.sizes)
        rows.append(_change(before, after))
    expected = tuple(
        tuple(None if group == "class" and name == "class" else name in EXPECTED[group] for name in COLUMNS)
        for group in GROUPS
    )
    return Table(
        "detect: which channel of pred moves what of a detection", GROUPS, COLUMNS, tuple(rows), expected
    )


def _change(before: list[Tensor], after: list[Tensor]) -> tuple[float, ...]:
    total = torch.zeros(6)
    for one, two in zip(before, after, strict=True):
        a, b = strongest(one), strongest(two)
        if a is not None and b is not None:
            total += (a - b).abs()
        elif a is not None or b is not None:
            total[4] += 1
        # of one sure object: where detect lets the empty slots through, their number says nothing
        total[4] += float(len(one) == 1 and len(two) > 1)
    return tuple((total / max(1, len(before))).tolist())


def misread(table: Table) -> tuple[set[str], set[str]]:
    """Groups that move nothing, and groups that move what is not theirs."""
    missing, extra = set(), set()
    for r, group in enumerate(table.rows):
        moved = {name for c, name in enumerate(table.columns) if table.got[r][c] > (1e-4 if c > 3 else 0.02)}
        if not moved & EXPECTED[group]:
            missing.add(group)
        if group in ("conf", "class") and moved & {"x1", "y1", "x2", "y2"} and not moved & {"score"}:
            extra.add(group)
        if group not in ("conf", "class") and "score" in moved:
            extra.add(group)
    return missing, extra
