"""``yolotui export``: a run as files for other programs, or as a report."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.errors import UserError
from engine.export.formats import export as write


def export(run: Path, name: str, out: Path | None, code: Path | None) -> int:
    """Returns the exit code."""
    if code is not None and not code.is_file():
        raise UserError("no such file", where=f"--code {code}", fix="name a Python file")
    if sys.stderr.isatty():
        print(f"yolotui: exporting {run}", file=sys.stderr, flush=True)
    for line in write(run, name, out, code):
        print(line)
    return 0
