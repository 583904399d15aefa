"""``yolotui compare``: runs over each other on a terminal, tables elsewhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from engine.runs.compare import ComparedRun, Comparison, Pair
from engine.runs.compare import compare as read

from ..comparison import best_lines, parting_lines, setting_lines
from ..console import is_interactive, print_json
from .runs import as_document


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
