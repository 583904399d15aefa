"""A run as a TensorBoard event file, written by TensorBoard's own record writer and protocol buffers.

No torch: ``torch.utils.tensorboard`` would need the same package and seconds more.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..files import write_atomically
from ..runs import codec
from ..runs.folder import RunFolder
from ..runs.reader import RunReader
from .clock import StepClock
from .csv_tables import never_finite, step_chunks

TRAINING = ("lr", "grad_norm", "data_seconds", "seconds", "memory")
"""Columns beside the terms that make a curve, under ``train/``."""


def write_tensorboard(run: RunFolder, out: Path) -> list[str]:
    """One event file in the folder ``out``; -> lines about it.

    ``loss/TERM`` and ``train/COLUMN`` a step, ``epoch/TERM`` the means of an epoch, ``ap/...`` the
    evaluations, ``config`` the settings as text. A later export of the same run replaces the file.
    Raises ``UserError``, also where the package ``tensorboard`` is not there.
    """
    writers = _tensorboard()
    with RunReader(run) as reader:
        path = out / f"events.out.tfevents.{int(reader.begun() or 0)}.{run.name}"
        count = 0

        def fill(temporary: Path) -> None:
            nonlocal count
            with temporary.open("wb") as file:
                record = writers.record(file)
                record.write(
                    writers.event(
                        wall_time=reader.begun() or 0.0, file_version="brain.Event:2"
                    ).SerializeToString()
                )
                for event in _events(reader, run, writers):
                    record.write(event.SerializeToString())
                    count += 1
                record.flush()

        try:
            write_atomically(path, fill)
        except OSError as error:
            raise UserError(f"cannot be written: {error.strerror}", where=path) from None
    return [f"{path}: {count:,} events", f"next: tensorboard --logdir {out}"]


class _Writers:
    """What is used of the package."""

    def __init__(self) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.record: Any = RecordWriter
        self.event: Any = Event
        self.summary: Any = Summary
        self._metadata, self._tensor, self._string = SummaryMetadata, TensorProto, DT_STRING

    def scalars(self, time: float, step: int, values: dict[str, float]) -> Any:
        summary = self.summary(
            value=[self.summary.Value(tag=tag, simple_value=v) for tag, v in values.items()]
        )
        return self.event(wall_time=time, step=step, summary=summary)

    def text(self, time: float, tag: str, text: str) -> Any:
        metadata = self._metadata(plugin_data=self._metadata.PluginData(plugin_name="text"))
        tensor = self._tensor(dtype=self._string, string_val=[text.encode()])
        value = self.summary.Value(tag=f"{tag}/text_summary", metadata=metadata, tensor=tensor)
        return self.event(wall_time=time, step=0, summary=self.summary(value=[value]))


def _tensorboard() -> _Writers:
    try:
        return _Writers()
    except ImportError:
        raise UserError(
            "needs the package tensorboard",
            where="export --format tensorboard",
            fix="pip install 'yolotui[tensorboard]'",
        ) from None


def _events(reader: RunReader, run: RunFolder, writers: _Writers) -> Iterator[Any]:
    begun = reader.begun() or 0.0
    if run.config.is_file():
        # Indented by four: Markdown shows it as it stands.
        lines = run.config.read_text(encoding="utf-8").splitlines()
        yield writers.text(begun, "config", "\n".join(f"    {line}" for line in lines))
    columns = reader.columns()
    if columns:
        yield from _steps(reader, columns, writers)
    for (_, time), epoch in zip(reader.moments("EpochDone"), reader.epochs(), strict=False):
        means = {f"epoch/{name}": summary.mean for name, summary in epoch.summaries.items()}
        yield writers.scalars(time, epoch.step, means)
    for (_, time), done in zip(reader.moments("EvaluationDone"), reader.evaluations(), strict=False):
        values = {"ap/map50": done.map50, "ap/map50_95": done.map50_95}
        values |= {f"ap50/{name}": score for name, score in done.per_class.items()}
        yield writers.scalars(time, done.step, values)


def _steps(reader: RunReader, columns: list[str], writers: _Writers) -> Iterator[Any]:
    unknown = never_finite(reader, TRAINING)
    tags = {name: f"loss/{name}" for name in reader.terms()}
    tags |= {name: f"train/{name}" for name in TRAINING if name not in unknown}
    places = [(columns.index(name), tag) for name, tag in tags.items()]
    elapsed = columns.index(codec.ELAPSED)
    clock = StepClock(reader.moments())
    for numbers, rows in step_chunks(reader):
        times = clock.times(numbers, rows[:, elapsed])
        gone = codec.missing(rows)
        for step, time, row, absent in zip(
            numbers.tolist(), times.tolist(), rows.astype(np.float32).tolist(), gone.tolist(), strict=True
        ):
            yield writers.scalars(time, step, {tag: row[k] for k, tag in places if not absent[k]})
