"""``yolotui compare``: runs over each other on a terminal, tables elsewhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from engine.runs.compare import ComparedRun, Comparison, Pair
from engine.runs.compare import compare as read
from engine.runs.parting import Parting

from ..console import is_interactive, print_json
from ..format import digits3, duration, shorten, signed
from ..table import table
from .runs import as_document, score

LONGEST_VALUE = 40


def compare(paths: list[Path], as_json: bool) -> int:
    """Returns the exit code."""
    found = read(paths)
    if as_json:
        print_json(document(found))
    elif is_interactive():
        from ..browsing import browse_comparison

        return browse_comparison(found)
    else:
        parts = [best_lines(found), setting_lines(found), parting_lines(found), list(found.notes)]
        print("\n\n".join("\n".join(lines) for lines in parts if lines))
    return 0


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


def document(found: Comparison) -> dict[str, Any]:
    """The one document of ``--json``."""
    return {
        "runs": [as_document(run.info) | {"name": run.name, "best": _best(run)} for run in found.runs],
        "terms": {run.name: list(run.terms) for run in found.runs},
        "differing": {
            row.name: dict(zip((run.name for run in found.runs), row.values, strict=True))
            for row in found.differences
        },
        "partings": [_pair(found.runs[0].name, pair) for pair in found.pairs],
        "notes": list(found.notes),
    }


def _best(run: ComparedRun) -> dict[str, Any] | None:
    best = run.best
    if best is None:
        return None
    values = {"epoch": best.epoch, "step": best.step, "map50": best.map50, "map50_95": best.map50_95}
    return values | {"split": best.split, "per_class": dict(best.per_class)}


def _pair(first: str, pair: Pair) -> dict[str, Any]:
    terms = {
        name: {
            "epoch": parting.first,
            "difference": None if math.isnan(parting.difference) else -parting.difference,
            "noise": parting.noise,
            "epochs_apart": parting.apart,
            "epochs_compared": parting.epochs,
        }
        for name, parting in pair.partings.items()
    }
    earliest = pair.first
    summary = {"term": earliest[0], "epoch": earliest[1]} if earliest else None
    return {"first": first, "other": pair.run, "parts": summary, "terms": terms}
