"""One root cause first: order of the findings, and which of them are consequences of which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .findings import PIPELINE, SEVERITIES, Finding


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Errors, warnings, infos; among errors, root causes in the pipeline's order before consequences.

    A finding is a consequence where a probe showed it (``follows``: it vanished when that function was
    replaced by the reference), or where it concerns the same loss term or channels of the same function.
    What the data show comes after the functions: those were probed with made inputs, so nothing in the data
    can be why one failed. What the data show of the config (anchors that do not meet them) comes after what
    is wrong in the data itself.
    """

    def key(item: tuple[int, Finding]) -> tuple[int, int, float, int]:
        place, finding = item
        severity = SEVERITIES.index(finding.severity)
        return severity, int(bool(finding.follows)), _rank(finding), place

    listed = [finding for _, finding in sorted(enumerate(findings), key=key)]
    return [_linked(finding, place, listed) for place, finding in enumerate(listed)]


def _rank(finding: Finding) -> float:
    if finding.probe == "assign.collisions" and finding.severity != "error":
        return len(PIPELINE)
    if finding.probe.startswith("data."):
        return PIPELINE.index("data")
    if finding.probe == "loop.together" and finding.function == "loop":
        return PIPELINE.index("data") - 0.5
    return PIPELINE.index(finding.function) if finding.function in PIPELINE else len(PIPELINE)


def _linked(finding: Finding, place: int, listed: Sequence[Finding]) -> Finding:
    if finding.severity != "error":
        return finding
    for earlier, root in enumerate(listed[:place]):
        if root.severity != "error" or root.follows:
            continue
        explained = finding.follows == root.function
        # a plain error of another function stands on its own: it was probed with reference inputs
        same = root.function == finding.function and _related(root, finding)
        if explained or same:
            return replace(finding, consequence_of=earlier)
    return finding


def _related(root: Finding, finding: Finding) -> bool:
    return bool(root.term and root.term == finding.term) or bool(set(root.channels) & set(finding.channels))
