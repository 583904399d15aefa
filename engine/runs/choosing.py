"""The folder of a run about to start or to go on."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from .folder import next_free
from .store import newest


def choose_run(source: Path, run: Path | None, resume: bool) -> Path:
    """``run`` where one is named; else the next free folder, or the newest unfinished run of the config
    ``source``. Raises ``UserError``."""
    if run is not None:
        return run
    if not resume:
        return next_free("runs", source.stem)
    found = newest("runs", config=source, unfinished=True)
    if found is None:
        raise UserError(
            "has no unfinished run below runs/", where=source, fix="name one with --run, or drop --resume"
        )
    return found.path
