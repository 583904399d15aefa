"""Functions that call each other: whose fault it is, by putting the reference in one place at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from .bench import Bench, Outcome, Probe, gather
from .calling import swapped
from .decode.probe import cuts_gradient
from .findings import Finding
from .iou import pairs
from .loss.probe import probe_loss
from .stage import BOX_NAMES, Stage, references
from .subject import Subject

Results = Iterator[tuple[str, list[Finding]]]
HELPERS = ("iou", "decode")
"""What a loss or a detect calls of the user's own."""


def in_place(bench: Bench, function: str, probe: Probe) -> None:
    """With the reference standing in for the user's functions that have already failed.

    What fails only with the user's own failed function in place is listed as its consequence.
    """
    bench.staged(function, _swapping(bench, bench.unfit - {function}, probe))
    if function in bench.failed:
        return
    for helper in [name for name in HELPERS if name in bench.failed]:
        outcome = gather(_swapping(bench, bench.unfit - {helper}, probe)(bench.stages[0]))
        if errors := _errors(outcome):
            bench.findings.append(bench.called.placed(_consequence(errors[0], helper)))
            return


def _consequence(finding: Finding, helper: str) -> Finding:
    message = f"{finding.message} (not with the reference's {helper} in place)"
    return replace(finding, follows=helper, message=message)


def _swapping(bench: Bench, names: set[str], probe: Probe) -> Probe:
    def guarded(stage: Stage) -> Results:
        stand_in = {name: f for name, f in references(stage).items() if name in names}
        with swapped(bench.called.user, stand_in):
            yield from probe(stage)

    return guarded


def _errors(outcome: Outcome) -> list[Finding]:
    return [f for found in outcome.values() for f in found if f.severity == "error"]


def examine_loss(subject: Subject, bench: Bench) -> None:
    """The loss; and where it fails, whether a decode or iou that seemed sound cuts the gradient."""

    def probe(stage: Stage) -> Results:
        return probe_loss(bench.called, stage, subject.declared, bench.tables)

    before = len(bench.findings)
    in_place(bench, "loss", probe)
    if "loss" not in bench.failed:
        return
    for helper in HELPERS:
        if not bench.called.has(helper) or helper in bench.failed:
            continue
        if not _cuts(bench, helper):
            continue
        swapped_in = _swapping(bench, (bench.unfit - {"loss"}) | {helper}, probe)
        if not any(_errors(gather(swapped_in(stage))) for stage in bench.stages[:2]):
            errors = [f for f in bench.findings[before:] if f.severity == "error"]
            bench.findings[before:] = [
                _consequence(f, helper) if f.severity == "error" else f for f in bench.findings[before:]
            ]
            bench.keep(helper, {f"{helper}.gradient": [_cut(bench, helper, errors[0])]})
            return


def _cuts(bench: Bench, helper: str) -> bool:
    """Whether a gradient that the reference hands back is lost in the user's function."""
    if helper == "decode":
        return bool(cuts_gradient(bench.called, bench.stages[0]))
    a, b = pairs()
    got = bench.called.call("iou", a.requires_grad_(), b)
    if not got.requires_grad:
        return True
    (moved,) = torch.autograd.grad(got.sum(), a, allow_unused=True)
    return moved is None or not bool((moved != 0).any(0).all())


def _cut(bench: Bench, helper: str, seen: Finding) -> Finding:
    return Finding(
        "error",
        f"{helper}.gradient",
        helper,
        f"{helper} gives the right values, but no gradient comes back through it where loss needs it",
        tensor="gradient",
        channels=tuple(c for c in seen.channels if c in BOX_NAMES) or BOX_NAMES,
        expected="a gradient with respect to its input",
        got=seen.message,
        fix="no .detach(), .data, .item(), numpy or torch.no_grad() between input and result",
    )


def gradients_reach(subject: Subject, bench: Bench) -> None:
    """The reference loss learns boxes through the user's decode (and iou): a cut there stops it."""
    called, stage = bench.called, bench.stages[0]
    if called.has("decode") and "decode" not in bench.failed:
        cut = cuts_gradient(called, stage)
        found = []
        if cut:
            text = f"no gradient of {' '.join(cut)}"
            found.append(
                replace(_cut(bench, "decode", Finding("error", "", "", text, channels=cut)), got=text)
            )
        bench.keep("decode", {"decode.gradient": found})
