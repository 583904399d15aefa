"""The runs in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import UserError
from .folder import RunFolder
from .reader import RunReader

Listed = Literal["unfinished", "finished", "stopped", "failed", "running", "damaged"]


@dataclass(frozen=True)
class RunInfo:
    """A line of ``yolotui runs``."""

    path: Path
    name: str
    status: Listed
    """unfinished: its process is gone and never said goodbye. damaged: the store cannot be read."""
    started: float
    """Seconds since 1970; of one that never started, the store's own age."""
    steps: int = 0
    total_steps: int = 0
    epochs: int = 0
    """Finished ones."""
    total_epochs: int = 0
    config: str = ""
    """The config file it was started with, absolute, or ""."""
    network: str = ""
    map50: float | None = None
    """Of the last evaluation."""
    map50_95: float | None = None
    best_map50: float | None = None
    message: str = ""


def list_runs(root: str | Path) -> list[RunInfo]:
    """Every run directly below ``root``, newest first; empty where the folder is not there."""
    root = Path(root).expanduser()
    folders = [entry.parent for entry in root.glob("*/run.db")] if root.is_dir() else []
    return sorted(
        (run_info(folder) for folder in folders), key=lambda info: (info.started, info.name), reverse=True
    )


def run_info(path: str | Path) -> RunInfo:
    """One run's line. Raises ``UserError`` where ``path`` is no run; a damaged one is said to be so."""
    folder = RunFolder.open(path)
    age = folder.database.stat().st_mtime
    try:
        with RunReader(folder) as reader:
            status = reader.status()
            started = reader.started()
            evaluations = reader.evaluations()
            epochs = reader.epochs()
            return RunInfo(
                path=folder.path,
                name=folder.name,
                status=_listed(status.state),
                started=reader.begun() or age,
                steps=reader.last_step(),
                total_steps=started.total_steps if started else 0,
                epochs=epochs[-1].epoch if epochs else 0,
                total_epochs=started.epochs if started else 0,
                config=str(reader.meta().get("config", "")),
                network=started.network if started else "",
                map50=evaluations[-1].map50 if evaluations else None,
                map50_95=evaluations[-1].map50_95 if evaluations else None,
                best_map50=max((done.map50 for done in evaluations), default=None),
                message=status.message,
            )
    except UserError as error:
        return RunInfo(path=folder.path, name=folder.name, status="damaged", started=age, message=error.what)


def newest(
    root: str | Path, *, config: str | Path | None = None, unfinished: bool = False
) -> RunFolder | None:
    """The newest readable run below ``root``; of one config file; only those that can be gone on with.

    A run that is being written counts as unfinished: whoever resumes it is then told so, instead of silently
    getting an older one.
    """
    wanted = str(Path(config).expanduser().resolve()) if config is not None else None
    for info in list_runs(root):
        if info.status == "damaged" or (unfinished and info.status == "finished"):
            continue
        if wanted is None or info.config == wanted:
            return RunFolder(info.path)
    return None


def _listed(state: str) -> Listed:
    match state:
        case "finished" | "stopped" | "failed":
            return state
        case "running" | "silent":
            return "running"
        case _:
            return "unfinished"
