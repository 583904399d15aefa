"""``yolotui runs``: the runs in a folder, newest first; a table to search and sort on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.runs.listing import RunInfo, list_runs

from ..console import is_interactive, print_json
from ..run_rows import HEAD, LEFT, cells
from ..table import table

DEFAULT_ROOT = Path("runs")


def show_runs(root: Path, as_json: bool) -> int:
    """Returns the exit code."""
    if root != DEFAULT_ROOT and not root.is_dir():
        raise UserError("no such folder", where=root, fix="name the folder that holds the runs")
    found = list_runs(root)
    if as_json:
        print_json([as_document(info) for info in found])
    elif not found:
        print(f"no runs in {root}/; start one with: yolotui train CONFIG")
    elif is_interactive():
        from ..browsing import browse

        return browse(root, found)
    else:
        print("\n".join(table(HEAD, [cells(info) for info in found], left=LEFT)))
    return 0


def as_document(info: RunInfo) -> dict[str, Any]:
    """A run as ``--json`` has it."""
    return {
        "run": str(info.path),
        "name": info.name,
        "state": info.status,
        "started": info.started,
        "seconds": info.seconds,
        "data": info.data,
        "network": info.network,
        "epochs": info.epochs,
        "total_epochs": info.total_epochs,
        "steps": info.steps,
        "total_steps": info.total_steps,
        "best_map50": info.best_map50,
        "best_map50_95": info.best_map50_95,
        "map50": info.map50,
        "map50_95": info.map50_95,
        "last_total": info.last_total,
        "config": info.config,
        "message": info.message,
    }
