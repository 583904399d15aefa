"""How a run ended, in words for people: what was reached, where it lies, what to do next."""

from __future__ import annotations

import shlex
from functools import lru_cache
from pathlib import Path

from engine.errors import UserError
from engine.runs.folder import RunFolder
from engine.runs.reader import RunReader

from .format import precision, shorten_path
from .runstate import RunState


def outcome(state: RunState, folder: Path) -> list[str]:
    """The end, and where there is something to go on from, the next command, to be pasted."""
    ended = state.ended
    if ended is None:
        return []
    best = state.best
    total = f" of {state.started.total_steps:,}" if state.started else ""
    parts = [
        f"{ended.status} at step {ended.step:,}{total}, epoch {ended.epoch}",
        f"best epoch {best.epoch}: {precision(best.map50, best.map50_95)}" if best else "",
        place := shorten_path(folder),
    ]
    if ended.status == "failed":
        parts.insert(0, f"failed: {ended.message}")
        parts[1] = f"step {ended.step:,}{total}" if ended.step else ""
    elif state.started and ended.step < state.started.total_steps and ended.status == "finished":
        parts.insert(1, ended.message)
    first = " · ".join(part for part in parts if part)
    run, config = shlex.quote(place), shlex.quote(f"{place}/config.toml")
    if not _ours(folder):
        return [first, f"next: yolotui export {run} --format html"]
    if ended.status == "finished":
        again = f"yolotui eval {config} --weights {run}   or: " if best else ""
        return [first, f"next: {again}yolotui detect IMAGE --weights {run}{_with_code(folder)}"]
    if not state.resumable:
        return [first]
    return [first, f"next: {resume_command(folder, state.started.processes if state.started else 1)}"]


def resume_command(folder: Path, processes: int) -> str:
    """By the run's own config, not the one it was started with: --set would be lost otherwise."""
    place = shorten_path(folder)
    several = f" --nproc {processes}" if processes > 1 else ""
    config, run = shlex.quote(f"{place}/config.toml"), shlex.quote(place)
    return f"yolotui train {config} --run {run}{several} --resume"


@lru_cache
def _with_code(folder: Path) -> str:
    """The run's own functions: its weights do not hold them."""
    try:
        with RunReader(RunFolder(folder)) as reader:
            code = reader.meta("code").get("code") or ""
    except UserError:
        return ""
    return f" --code {shlex.quote(shorten_path(Path(code)))}" if code else ""


@lru_cache
def _ours(folder: Path) -> bool:
    """Whether this program trained it: a recorded loop and an imported log cannot be gone on with here, and
    what weights they have are not for ``detect``."""
    try:
        with RunReader(RunFolder(folder)) as reader:
            return not reader.meta().keys() & {"recorded", "imported"}
    except UserError:
        return True
