"""A run as three CSV files: its steps, its epochs, its evaluations."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..files import write_atomically
from ..runs import codec
from ..runs.folder import RunFolder
from ..runs.reader import RunReader
from .clock import StepClock

CHUNK = 10_000
"""Steps in memory at a time."""
_WHOLE = {"epoch", "iteration", "images", "objects", "memory"}
Row = Sequence[object]


def write_csv(run: RunFolder, out: Path) -> list[str]:
    """``steps.csv``, ``epochs.csv`` and ``evaluations.csv`` in the folder ``out``; -> a line a file.

    RFC 4180 with a header, UTF-8. A value that there is none of is empty; one that was computed and is not
    finite is ``nan``, ``inf`` or ``-inf``. Numbers read back to the same bits. ``time`` is in seconds
    since 1970. Raises ``UserError``.
    """
    with RunReader(run) as reader:
        files = {
            "steps.csv": _steps(reader),
            "epochs.csv": _epochs(reader),
            "evaluations.csv": _scores(reader),
        }
        return [f"{out / name}: {_write(out / name, rows):,} rows" for name, rows in files.items()]


def _write(path: Path, rows: Iterable[Row]) -> int:
    count = -1  # the header

    def fill(temporary: Path) -> None:
        nonlocal count
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            for row in rows:
                writer.writerow(row)
                count += 1

    try:
        write_atomically(path, fill)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", where=path) from None
    return count


def _steps(reader: RunReader) -> Iterator[Row]:
    columns = reader.columns()
    terms = reader.terms()
    known = [*codec.STEP_FIELDS, codec.ELAPSED]
    order = [name for name in ("epoch", "iteration", "lr", *terms, *known) if name in columns]
    order = list(dict.fromkeys(order))
    place = {name: k for k, name in enumerate(columns)}
    unknown = set() if not columns else never_finite(reader, [name for name in order if name not in terms])
    yield ["step", "time", *order]
    clock = StepClock(reader.moments())
    for numbers, rows in step_chunks(reader):
        times = clock.times(numbers, rows[:, place[codec.ELAPSED]])
        gone = codec.missing(rows)
        fields = [
            _texts(rows[:, place[name]], gone[:, place[name]] | (name in unknown), name in _WHOLE)
            for name in order
            if name in place
        ]
        yield from zip(numbers.tolist(), [f"{time:.3f}" for time in times.tolist()], *fields, strict=True)


def step_chunks(reader: RunReader) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every step, oldest first: their numbers and their values ``[n, columns]`` of ``reader.columns()``."""
    after, width = 0, len(reader.columns())
    while True:
        numbers, rows = reader.rows(after, CHUNK)
        if not len(numbers):
            return
        yield numbers, rows[:, :width]
        after = int(numbers[-1])


def never_finite(reader: RunReader, names: Sequence[str]) -> set[str]:
    """Those columns that no step has a value of, as in an imported log: told by the summaries."""
    return {
        name for name, series in reader.many_series(list(names), points=1).items() if not series.finite.sum()
    }


def _texts(values: np.ndarray, gone: np.ndarray, whole: bool) -> list[str]:
    if whole:
        known = np.isfinite(values) & ~gone
        return [str(int(value)) if there else "" for value, there in zip(values, known, strict=True)]
    return [
        "" if absent else repr(value) for value, absent in zip(values.tolist(), gone.tolist(), strict=True)
    ]


def _epochs(reader: RunReader) -> Iterator[Row]:
    epochs = reader.epochs()
    times = [time for _, time in reader.moments("EpochDone")]
    terms = list(dict.fromkeys(name for done in epochs for name in done.summaries))
    parts = ("mean", "spread", "trend", "last")
    yield [
        *("epoch", "step", "time", "lr", "images", "objects", "seconds"),
        *(f"{name}_{part}" for name in terms for part in parts),
    ]
    for done, time in zip(epochs, times, strict=False):
        row: list[object] = [
            done.epoch,
            done.step,
            f"{time:.3f}",
            done.lr,
            done.images,
            done.objects,
            done.seconds,
        ]
        for name in terms:
            summary = done.summaries.get(name)
            row += [getattr(summary, part) if summary else "" for part in parts]
        yield row


def _scores(reader: RunReader) -> Iterator[Row]:
    evaluations = reader.evaluations()
    times = [time for _, time in reader.moments("EvaluationDone")]
    classes = list(dict.fromkeys(name for done in evaluations for name in done.per_class))
    yield [
        *("epoch", "step", "time", "split", "map50", "map50_95", "images", "objects", "seconds", "best"),
        *(f"ap50 {name}" for name in classes),
    ]
    for done, time in zip(evaluations, times, strict=False):
        fixed = [done.epoch, done.step, f"{time:.3f}", done.split, done.map50, done.map50_95]
        yield [
            *(*fixed, done.images, done.objects, done.seconds, int(done.best)),
            *(done.per_class.get(name, "") for name in classes),
        ]
