"""The runs in a folder."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import UserError
from . import codec
from .events import best_of
from .folder import RunFolder
from .reader import RunReader, RunStatus

Listed = Literal["empty", "running", "paused", "silent", "finished", "stopped", "failed", "dead", "damaged"]


@dataclass(frozen=True)
class RunInfo:
    """A line of ``yolotui runs``."""

    path: Path
    name: str
    status: Listed
    """As ``RunStatus``; paused: it runs, and waits to be told to go on. damaged: the store cannot be read."""
    started: float
    """Seconds since 1970; of one that never started, the store's own age."""
    steps: int = 0
    total_steps: int = 0
    epochs: int = 0
    """Finished ones."""
    total_epochs: int = 0
    config: str = ""
    """The config file it was started with, absolute, or ""."""
    data: str = ""
    """The data set's format and folder, as the run's config names them, or ""."""
    network: str = ""
    map50: float | None = None
    """Of the last evaluation."""
    map50_95: float | None = None
    best_map50: float | None = None
    best_map50_95: float | None = None
    """Of the best evaluation, the one whose weights ``best`` are."""
    last_total: float | None = None
    """Of the last step: ``total``, or without one the run's last term."""
    seconds: float = 0.0
    """Spent in steps and evaluations; pauses are not counted."""
    message: str = ""

    @property
    def alive(self) -> bool:
        """Whether a process writes it now."""
        return self.status in ("running", "paused", "silent")


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
        with RunReader(folder) as reader, reader.moment():
            status = reader.status()
            started = reader.started()
            scores = reader.scores()
            epochs = reader.epochs(last=1)
            best = best_of(scores)
            steps = reader.last_step()
            elapsed, total = _last_values(reader, steps, started.terms if started else ())
            return RunInfo(
                path=folder.path,
                name=folder.name,
                status=_listed(status),
                started=reader.begun() or age,
                steps=steps,
                total_steps=started.total_steps if started else 0,
                epochs=epochs[-1].epoch if epochs else 0,
                total_epochs=started.epochs if started else 0,
                config=str(reader.meta("config").get("config", "")),
                data=_data(folder.config),
                network=started.network if started else "",
                map50=scores[-1].map50 if scores else None,
                map50_95=scores[-1].map50_95 if scores else None,
                best_map50=best.map50 if best else None,
                best_map50_95=best.map50_95 if best else None,
                last_total=total,
                seconds=elapsed + sum(each.seconds for each in scores if each.seconds > 0),
                message=status.message,
            )
    except UserError as error:
        return RunInfo(path=folder.path, name=folder.name, status="damaged", started=age, message=error.what)


def newest(
    root: str | Path,
    *,
    config: str | Path | None = None,
    unfinished: bool = False,
    with_weights: bool = False,
) -> RunFolder | None:
    """The newest readable run below ``root``; of one config file; only those that can be gone on with, or
    that have weights (an imported log has none).

    A run that is being written counts as unfinished: whoever resumes it is then told so, instead of silently
    getting an older one.
    """
    wanted = str(Path(config).expanduser().resolve()) if config is not None else None
    for info in list_runs(root):
        if info.status == "damaged" or (unfinished and info.status == "finished"):
            continue
        folder = RunFolder(info.path)
        if with_weights and folder.weights is None:
            continue
        if wanted is None or info.config == wanted:
            return folder
    return None


def _listed(status: RunStatus) -> Listed:
    return "paused" if status.state == "running" and status.doing == "paused" else status.state


def _last_values(reader: RunReader, last: int, terms: tuple[str, ...]) -> tuple[float, float | None]:
    """Seconds of all steps, and the total loss of the last one."""
    if not last:
        return 0.0, None
    columns = reader.columns()
    _, rows = reader.rows(last - 1, 1)
    row = dict(zip(columns, rows[0].tolist(), strict=True))
    name = "total" if "total" in row else terms[-1] if terms else ""
    there = name in row and not codec.missing(rows[0])[columns.index(name)]
    elapsed = row[codec.ELAPSED]
    return (elapsed if elapsed > 0 else 0.0), (row[name] if there else None)


def _data(config: Path) -> str:
    """``voc VOC2012``. Only the two lines that tell it are parsed: there may be a thousand runs."""
    try:
        section = config.read_text(encoding="utf-8").partition("[data]")[2].partition("\n[")[0]
        lines = [line for line in section.splitlines() if line.startswith(("format =", "root ="))]
        values = tomllib.loads("\n".join(lines))
    except (OSError, ValueError):
        return ""
    kind, root = values.get("format", ""), values.get("root", "")
    return f"{kind} {Path(str(root)).name}".strip() if kind != "demo" else "demo"
