"""What is on the screen, out of it: text for the clipboard, ``.npy`` and ``.csv`` files."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..files import write_atomically
from .cell import CellRow, CellTable
from .expression import Result

INDEX_COLUMNS = {
    "b": "image",
    "y": "row",
    "x": "column",
    "a": "anchor",
    "row": "pixel_row",
    "col": "pixel_column",
}
"""How index columns are called: ``y`` alone would also be a channel."""
CELL_COLUMNS = ("index", "name", "target", "pred", "decoded", "reference", "difference", "loss", "gradient")


def number_text(value: object) -> str:
    """Every digit that the number has and no more; empty for None."""
    if value is None:
        return ""
    if isinstance(value, float) and not isinstance(value, np.floating):
        shortened = np.float32(value)
        return str(shortened) if float(shortened) == value else str(value)
    return str(value)


def row_text(row: CellRow) -> str:
    """One channel of a cell, tab-separated, in the order of ``CELL_COLUMNS``."""
    return "\t".join(number_text(getattr(row, column)) for column in CELL_COLUMNS)


def table_text(table: CellTable) -> str:
    """A cell as tab-separated lines under a header."""
    return "\n".join(["\t".join(CELL_COLUMNS), *(row_text(row) for row in table.rows)])


def result_text(result: Result, leading: Sequence[int] = ()) -> str:
    """The grid shown, tab-separated, labels first; a single number by itself."""
    grid = result.grid(leading)
    if not result.shape:
        return number_text(grid[0, 0])
    lines = ["\t".join(["", *result.column_labels()])]
    for label, row in zip(result.row_labels(), grid, strict=False):
        lines.append("\t".join([label, *(number_text(value) for value in row)]))
    return "\n".join(lines)


def save_npy(result: Result, path: str | Path) -> Path:
    """The whole result as an array. Raises ``UserError`` where it cannot be written."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.save(file, result.array, allow_pickle=False)

    return _save(path, ".npy", write)


def save_csv(result: Result, path: str | Path) -> Path:
    """The whole result: a column an index, then a column a channel where the last axis holds channels,
    else one column ``value``. Raises ``UserError`` where it cannot be written."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(_lines(result))

    return _save(path, ".csv", write)


def save_cell_csv(table: CellTable, path: str | Path) -> Path:
    """One cell, a line a channel. Raises ``UserError`` where it cannot be written."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(CELL_COLUMNS)
            for row in table.rows:
                writer.writerow([number_text(getattr(row, column)) for column in CELL_COLUMNS])

    return _save(path, ".csv", write)


def _lines(result: Result) -> Iterator[list[str]]:
    value, array = result.value, result.array
    last = value.axes[-1] if value.axes else None
    by_channel = last is not None and len(last.channel_keys) == len(last.coords) > 0
    axes = value.axes[:-1] if by_channel else value.axes
    index: list[tuple[str, int, list[str]]] = []
    for k, axis in enumerate(axes):
        if not axis.coords:
            index.append((f"axis{k}", k, [str(i) for i in range(array.shape[k])]))
        for key, at in axis.coords.items():
            names = value.names.get(key)
            texts = [names[i] if names else str(i) for i in at.tolist()]
            index.append(("channel" if names else INDEX_COLUMNS[key], k, texts))
    columns = result.column_labels() if by_channel else ["value"]
    yield [*(name for name, _, _ in index), *columns]
    for place in itertools.product(*(range(size) for size in array.shape[: len(axes)])):
        numbers = array[place]
        cells = [str(number) for number in numbers] if by_channel else [str(numbers)]
        yield [*(texts[place[k]] for _, k, texts in index), *cells]


def _save(path: str | Path, suffix: str, write: Callable[[Path], None]) -> Path:
    path = Path(path).expanduser()
    path = path if path.suffix == suffix else path.with_name(path.name + suffix)
    try:
        write_atomically(path, write)
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror or error})", where=path) from None
    return path
