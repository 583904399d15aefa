"""A box that comes out wrong in all four numbers: which of them are at fault, and which only follow.

An IoU has one value for four numbers, so a wrong x moves the minimum of w too. Scenes tell them apart: where
the fault is in the cell it goes in the first cell, or on the diagonal; in the anchor, with some anchors.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from ..findings import Finding
from ..inputs import Scene, in_slots
from ..stage import BOX_NAMES, Stage
from .run import Trial

SECONDS = 2.5
"""What the trying may take."""

Judge = Callable[[Trial], list[Finding]]


def narrowed(trial: Trial, findings: list[Finding], judge: Judge) -> list[Finding]:
    """The findings, those about the whole box with the channels that ``judge`` proves to be the cause."""
    deadline = time.perf_counter() + SECONDS
    return [
        _narrowed(trial, f, judge, deadline) if set(f.channels) >= set(BOX_NAMES) else f for f in findings
    ]


def _narrowed(trial: Trial, finding: Finding, judge: Judge, deadline: float) -> Finding:
    stage = trial.stage

    def sound(scene: Scene) -> bool:
        if time.perf_counter() > deadline:
            return False
        return not any(f.severity == "error" for f in judge(Trial(trial.called, stage, scene)))

    for name, cells in (("in the first cell", (0, 0)), ("where row and column are equal", (2, 2))):
        slots = [(k, *cells, head.anchor_count - 1) for k, head in enumerate(stage.heads)]
        if _within(stage, slots) and sound(in_slots(stage, [[slot] for slot in slots])):
            cause = (
                "the cell is missing, or not in the boxes' unit" if cells == (0, 0) else "they are swapped"
            )
            return _said(finding, name, cause, ("x", "y"))
    for k, head in enumerate(stage.heads):
        fine = [
            all(  # in one cell alone it may be so by chance
                _within(stage, [slot]) and sound(in_slots(stage, [[slot]]))
                for slot in ((k, 1, 2, a), (k, 0, 1, a))
            )
            for a in range(head.anchor_count)
        ]
        if any(fine) and not all(fine) and time.perf_counter() < deadline:
            right = ", ".join(str(a) for a, good in enumerate(fine) if good)
            where = f" of head {k}" if len(stage.heads) > 1 else ""
            return _said(finding, f"for anchor {right}{where}", "the others read another's size", ("w", "h"))
    return finding


def _said(finding: Finding, where: str, cause: str, channels: tuple[str, ...]) -> Finding:
    return replace(finding, message=f"{finding.message}; it is right {where}: {cause}", channels=channels)


def _within(stage: Stage, slots: list[tuple[int, int, int, int]]) -> bool:
    return all(y < stage.heads[k].grid_h and x < stage.heads[k].grid_w for k, y, x, _ in slots)
