"""Runs beside each other, in tables of text."""

from __future__ import annotations

from engine.runs.compare import Comparison
from engine.runs.parting import Parting

from .format import digits3, duration, shorten, signed
from .run_rows import score
from .table import table

LONGEST_VALUE = 40


def best_lines(found: Comparison) -> list[str]:
    """The runs with their best evaluations."""
    head = ["run", "state", "epochs", "steps", "spent", "best epoch", "mAP50", "50-95", "last total"]
    rows = []
    for run in found.runs:
        info, best = run.info, run.best
        rows.append(
            [
                run.name,
                info.status,
                f"{info.epochs:,}",
                f"{info.steps:,}",
                duration(info.seconds) if info.seconds else "-",
                f"{best.epoch}" if best else "-",
                score(best.map50 if best else None),
                score(best.map50_95 if best else None),
                "-" if info.last_total is None else digits3(info.last_total),
            ]
        )
    return table(head, rows, left=2)


def setting_lines(found: Comparison) -> list[str]:
    """The settings that are not the same everywhere."""
    if not found.differences:
        known = any(run.settings for run in found.runs)
        return ["no setting differs" if known else "no settings are known of these runs"]
    rows = [
        [row.name, *(shorten(value or "(none)", LONGEST_VALUE) for value in row.values)]
        for row in found.differences
    ]
    names = [shorten(run.name, LONGEST_VALUE) for run in found.runs]
    return table(["setting that differs", *names], rows, left=1 + len(names))


def parting_lines(found: Comparison) -> list[str]:
    """Against the first run: the epoch from which on each term is apart."""
    head = ["parts from " + found.runs[0].name, "term", "at epoch", "by", "noise there", "epochs apart"]
    rows = [
        [pair.run, name, *_parting_cells(parting)]
        for pair in found.pairs
        for name, parting in pair.partings.items()
    ]
    return table(head, rows, left=2) if rows else []


def _parting_cells(parting: Parting) -> list[str]:
    apart = f"{parting.apart} of {parting.epochs}"
    if parting.first is None:
        return ["within noise", "", "", apart]
    # The table says how the other run lies to the first, the engine first minus other.
    return [str(parting.first), signed(-parting.difference), digits3(parting.noise), apart]
