"""What a run, or a network, can be exported to: one row a format, whose work is imported when it is asked
for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..runs.folder import RunFolder

Write = Callable[[Path, Path, Path | None], list[str]]
"""Writes what stands at the first path to the second, where a network is used with the functions of a user's
file; -> what was written, a line each. Raises ``UserError``."""


@dataclass(frozen=True)
class Format:
    ending: str
    """Of the name that a run's export gets where none is given: ``demo-3`` + ending."""
    write: Write


def _csv(run: Path, out: Path, _code: Path | None) -> list[str]:
    from .csv_tables import write_csv

    return write_csv(_history(run, "csv"), out)


def _tensorboard(run: Path, out: Path, _code: Path | None) -> list[str]:
    from .tensorboard_events import write_tensorboard

    return write_tensorboard(_history(run, "tensorboard"), out)


def _html(run: Path, out: Path, code: Path | None) -> list[str]:
    from .html_report import write_html

    return write_html(_history(run, "html"), out, code)


def _onnx(source: Path, out: Path, code: Path | None) -> list[str]:
    from .onnx import write_onnx

    if not source.is_file():
        RunFolder.open(source)
    return write_onnx(source, out, code)


def _history(run: Path, name: str) -> RunFolder:
    if run.is_file():
        raise UserError(
            f"is a file: weights alone have no history to write as {name}",
            where=run,
            fix="name a run's folder, or --format onnx",
        )
    return RunFolder.open(run)


FORMATS: dict[str, Format] = {
    "csv": Format("-csv", _csv),
    "tensorboard": Format("-tensorboard", _tensorboard),
    "html": Format(".html", _html),
    "onnx": Format(".onnx", _onnx),
}


def export(source: Path, name: str, out: Path | None = None, code: Path | None = None) -> list[str]:
    """Write the run in the folder ``source`` in the format ``name``; -> what was written, a line each. onnx
    takes a file of weights as well (.safetensors, or Darknet's with the cfg beside it).

    ``out``: a folder (csv, tensorboard) or a file (html, onnx); without it, one named after the run or the
    weights in the current folder. ``code``: the user's file of functions, which a run never executes by
    itself. Raises ``UserError``.
    """
    chosen = FORMATS.get(name)
    if chosen is None:
        raise UserError(f"no format {name!r}", where="--format", fix=f"there are: {', '.join(FORMATS)}")
    stem = source.stem if source.is_file() else source.resolve().name
    return chosen.write(source, out if out is not None else Path(f"{stem}{chosen.ending}"), code)
