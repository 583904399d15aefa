"""What a run can be exported to: one row a format, whose work is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..runs.folder import RunFolder

Write = Callable[[RunFolder, Path, Path | None], list[str]]
"""Writes a run to a path, where the run's network is used with the functions of a user's file; -> what was
written, a line each. Raises ``UserError``."""


@dataclass(frozen=True)
class Format:
    ending: str
    """Of the name that a run's export gets where none is given: ``demo-3`` + ending."""
    write: Write


def _csv(run: RunFolder, out: Path, _code: Path | None) -> list[str]:
    from .csv_tables import write_csv

    return write_csv(run, out)


def _tensorboard(run: RunFolder, out: Path, _code: Path | None) -> list[str]:
    from .tensorboard_events import write_tensorboard

    return write_tensorboard(run, out)


def _html(run: RunFolder, out: Path, code: Path | None) -> list[str]:
    from .html_report import write_html

    return write_html(run, out, code)


def _onnx(run: RunFolder, out: Path, code: Path | None) -> list[str]:
    from .onnx import write_onnx

    return write_onnx(run, out, code)


FORMATS: dict[str, Format] = {
    "csv": Format("-csv", _csv),
    "tensorboard": Format("-tensorboard", _tensorboard),
    "html": Format(".html", _html),
    "onnx": Format(".onnx", _onnx),
}


def export(run: Path, name: str, out: Path | None = None, code: Path | None = None) -> list[str]:
    """Write the run in the folder ``run`` in the format ``name``; -> what was written, a line each.

    ``out``: a folder (csv, tensorboard) or a file (html, onnx); without it, one named after the run in the
    current folder. ``code``: the user's file of functions, which a run never executes by itself. Raises
    ``UserError``.
    """
    chosen = FORMATS.get(name)
    if chosen is None:
        raise UserError(f"no format {name!r}", where="--format", fix=f"there are: {', '.join(FORMATS)}")
    folder = RunFolder.open(run)
    return chosen.write(folder, out if out is not None else Path(f"{folder.name}{chosen.ending}"), code)
