"""What a recorded run is made of, put together before its first step."""

from __future__ import annotations

import contextlib
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from torch import nn

from ..doctor.contracts import LoopJudge, Previous
from ..doctor.contracts.roster import every_optimizer
from ..errors import UserError
from ..files import write_atomically
from ..runs import events as ev
from ..runs.environment import environment
from ..runs.folder import RunFolder, next_free
from ..runs.reader import RunReader
from ..runs.snapshot_ring import SnapshotRing
from ..runs.snapshots import CodePlace
from ..runs.store import RunWriter, StoreSubscriber
from ..training.control import Control
from ..training.obeying import Obeying
from .declared import Declared
from .saying import Saying
from .shelf import Shelf
from .worker import Start, Worker

RING_STEPS = 8
PATIENCE = 30.0
"""Seconds that the end of a run may take to reach the disk."""


@dataclass
class Parts:
    folder: RunFolder
    worker: Worker
    control: Control
    store: StoreSubscriber
    model: nn.Module | None
    optimizer: Any
    """Whose first group's rate is the run's, or None."""
    judge: LoopJudge | None
    first_step: int
    first_epoch: int
    steps_per_epoch: int
    snapshot_every: int
    where: CodePlace | None = None
    """Where the loop calls ``step``."""

    def close(self, ended: ev.RunEnded) -> None:
        self.worker.close(ended, PATIENCE)
        self.store.close(PATIENCE)


def put_together(
    path: Path,
    declared: Declared,
    saying: Saying,
    *,
    model: Any,
    optimizer: Any,
    loader: Any,
    epochs: int,
    steps_per_epoch: int,
    batch_size: int,
    snapshot_every: int,
    memory: int,
    disk: int,
    spike: float,
    resume: bool,
) -> Parts:
    """Make the folder, open its store, start the thread. Raises ``UserError`` and ``OSError``."""
    folder, previous, first_epoch = _folder(path, resume, saying)
    first_step = previous.step
    leading = _leading(optimizer)
    rate = _rate(leading)
    _write_config(folder, declared, rate, batch_size, epochs)
    writer = RunWriter(folder)
    feed = ev.Feed()
    saying.emit = feed.emit
    start = Start(
        folder=str(folder.path),
        name=folder.name,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        first_step=first_step,
        network=type(model).__name__ if model is not None else "",
        parameters=sum(p.numel() for p in model.parameters()) if model is not None else 0,
        versions={},
        place=lambda: parts.where,
    )
    found = environment()
    start.versions.update({name: found[name] for name in ("yolotui", "torch", "python") if name in found})
    writer.set_meta(recorded=True, environment=found, script=str(Path(sys.argv[0]).absolute()))
    control = Control()
    obeying = Obeying(folder, control, lambda line: feed.emit(ev.LogLine("info", line)))

    def look() -> None:
        obeying.look()
        if control.take_lr_factor() is not None:
            text = "the learning rate stays: a loop that is not ours sets it by itself"
            feed.emit(ev.LogLine("warning", text))

    worker = Worker(
        start,
        declared,
        feed.emit,
        look,
        Shelf(folder.snapshots, disk, feed.emit),
        SnapshotRing(memory, RING_STEPS),
        saying,
        spike,
    )
    store = StoreSubscriber(feed.subscribe(), writer, lambda line: saying("store", line))
    judge = None
    if model is not None or loader is not None:
        judge = LoopJudge(model, optimizer, loader, previous=previous)
    parts = Parts(
        folder=folder,
        worker=worker,
        control=control,
        store=store,
        model=model,
        optimizer=leading,
        judge=judge,
        first_step=first_step,
        first_epoch=first_epoch,
        steps_per_epoch=steps_per_epoch,
        snapshot_every=snapshot_every,
    )
    worker.thread.start()
    return parts


def _folder(path: Path, resume: bool, saying: Saying) -> tuple[RunFolder, Previous, int]:
    """The run's folder, where it was left (step 0: it is new), and the epoch that comes next."""
    folder = RunFolder(path.expanduser().resolve())
    if not folder.database.exists():
        return RunFolder.create(path), Previous(0, 0.0), 1
    if resume:
        with RunReader(folder) as reader:
            epochs = reader.epochs()
            last = reader.last_step()
            rates = [step.lr for step in reader.new_steps(last - 1, 1)] if last else []
            previous = Previous(last, rates[0] if rates and math.isfinite(rates[0]) else 0.0)
            return folder, previous, (epochs[-1].epoch if epochs else 0) + 1
    free = next_free(folder.path.parent, folder.name)
    saying("folder", f"{path} holds a run already: recording to {free} (resume=True goes on with it)")
    return RunFolder.create(free), Previous(0, 0.0), 1


def _write_config(folder: RunFolder, declared: Declared, rate: float, batch_size: int, epochs: int) -> None:
    if folder.config.exists():
        return
    text = f"# recorded from {sys.argv[0] or 'a script'}: what is known of it\n"
    with contextlib.suppress(UserError):  # a grid so small that the trainer would not have it
        text += tomli_w.dumps(declared.known(rate, batch_size, epochs))
    write_atomically(folder.config, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _leading(given: Any) -> Any:
    """Whose rate is the run's: of one optimizer, or a list or a dict of them, the first that has one."""
    for each in (given, *every_optimizer(given)):
        with contextlib.suppress(AttributeError, IndexError, KeyError, TypeError, ValueError):
            float(each.param_groups[0]["lr"])
            return each
    return None


def _rate(optimizer: Any) -> float:
    """As it stands, of the first group; 0 where it is not known."""
    return float(optimizer.param_groups[0]["lr"]) if optimizer is not None else 0.0
