"""``yolotui runs``: the runs in a folder, newest first."""

from __future__ import annotations

import time
from pathlib import Path

from engine.errors import UserError
from engine.runs.listing import list_runs

from ..outcome import shorten_path
from ..table import table

DEFAULT_ROOT = Path("runs")


def show_runs(root: Path) -> int:
    if root != DEFAULT_ROOT and not root.is_dir():
        raise UserError("no such folder", where=root, fix="name the folder that holds the runs")
    found = list_runs(root)
    if not found:
        print(f"no runs in {root}/; start one with: yolotui train CONFIG")
        return 0
    rows = []
    for info in found:
        rows.append(
            [
                shorten_path(info.path),
                info.status,
                time.strftime("%Y-%m-%d %H:%M", time.localtime(info.started)),
                info.network or "-",
                f"{info.epochs}/{info.total_epochs}",
                f"{info.steps:,}/{info.total_steps:,}",
                _score(info.best_map50),
                _score(info.map50),
                _score(info.map50_95),
            ]
        )
    head = ["run", "status", "started", "network", "epochs", "steps", "best mAP50", "mAP50", "50-95"]
    print("\n".join(table(head, rows, left=4)))
    return 0


def _score(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.4f}"
