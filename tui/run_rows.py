"""A run as a row of a table: the columns of ``yolotui runs``."""

from __future__ import annotations

import time

from engine.runs.listing import RunInfo

from .format import digits3, duration, shorten_path

HEAD = ("run", "state", "data", "network", "epochs", "steps", "mAP50", "50-95", "total", "started", "spent")
"""mAP50 and 50-95 are those of the best evaluation."""
LEFT = 4
"""Columns of words, before those of numbers."""


def cells(info: RunInfo, name: str = "") -> list[str]:
    """A run as texts under ``HEAD``; ``name``: instead of its path."""
    return [
        name or shorten_path(info.path),
        info.status,
        info.data or "-",
        info.network or "-",
        _of(info.epochs, info.total_epochs),
        _of(info.steps, info.total_steps),
        score(info.best_map50),
        score(info.best_map50_95),
        "-" if info.last_total is None else digits3(info.last_total),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(info.started)),
        duration(info.seconds) if info.seconds else "-",
    ]


def score(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.4f}"


def _of(done: int, total: int) -> str:
    return f"{done:,}/{total:,}" if total else f"{done:,}"
