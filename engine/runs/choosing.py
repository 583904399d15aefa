"""The folder of a run about to start or to go on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError
from .folder import claim_free
from .store import newest


@contextlib.contextmanager
def chosen_run(source: Path, run: Path | None, resume: bool) -> Iterator[Path]:
    """``run`` where one is named; else the next free folder, or the newest unfinished run of the config
    ``source``. Raises ``UserError``.

    A free one is made at once, and given back where nothing was put into it meanwhile.
    """
    if run is not None:
        yield run
    elif resume:
        yield _unfinished(source)
    else:
        free = claim_free("runs", source.stem)
        try:
            yield free
        finally:
            with contextlib.suppress(OSError):  # it holds a run
                free.rmdir()


def _unfinished(source: Path) -> Path:
    found = newest("runs", config=source, unfinished=True)
    if found is None:
        raise UserError(
            "has no unfinished run below runs/", where=source, fix="name one with --run, or drop --resume"
        )
    return found.path
