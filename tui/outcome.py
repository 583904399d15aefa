"""How a run ended, in words for people: what was reached, where it lies, what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path

from .format import digits3
from .runstate import RunState


def outcome(state: RunState, folder: Path, source: str) -> list[str]:
    """Two lines: the end, and the next command. ``source`` is the config as the user named it."""
    ended = state.ended
    if ended is None:
        return []
    best = state.best
    total = f" of {state.started.total_steps:,}" if state.started else ""
    parts = [
        f"{ended.status} at step {ended.step:,}{total}, epoch {ended.epoch}",
        f"best mAP50 {digits3(best.map50)} in epoch {best.epoch}" if best else "",
        place := shorten_path(folder),
    ]
    if ended.status == "failed":
        parts.insert(0, f"failed: {ended.message}")
        parts[1] = f"step {ended.step:,}{total}" if ended.step else ""
    first = " · ".join(part for part in parts if part)
    run = shlex.quote(place)
    if ended.status == "finished":
        return [first, f"next: yolotui detect IMAGE --weights {run}"]
    return [first, f"next: yolotui train {shlex.quote(source)} --run {run} --resume"]


def shorten_path(path: Path) -> str:
    """Relative to the current folder where it lies inside."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
