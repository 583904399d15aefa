"""``watch``: the first of the two lines."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import UserError
from ..layout import Head, Layout
from .declared import Declared, declare
from .parts import put_together
from .recorder import Recorder
from .saying import Saying

HeadLike = Head | Mapping[str, Any]


def watch(
    path: str | os.PathLike[str],
    layout: Layout | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    head: HeadLike | Sequence[HeadLike] | None = None,
    *,
    model: nn.Module | None = None,
    optimizer: Any = None,
    loader: Any = None,
    classes: Sequence[str] | None = None,
    epochs: int = 0,
    steps_per_epoch: int = 0,
    snapshot_every: int = 0,
    spike: float = 8.0,
    memory_mb: float = 64,
    disk_mb: float = 1024,
    resume: bool = False,
) -> Recorder:
    """Record the training loop that calls ``step`` of what this returns, into the run's folder ``path``.

    - ``layout``: how ``pred`` and ``targets`` are laid out: a dict of ``[layout]``'s keys, the path of a
      config.toml, the order of the axes alone (``"b (a c) y x"``), or a ``Layout``. Default: yolotui's own.
    - ``head``: the output grid, or a list of several: ``dict(grid=(13, 13), stride=32, anchors=[(w, h), ...],
      classes=20)``, anchors in grid units; ``classes`` may be their names. Without it only losses are kept.
    - ``model``, ``optimizer``, ``loader``: for the rate, the gradient's norm, checkpoints on request, and the
      training contracts, which watch the first steps and a few later ones.
    - ``epochs``, ``steps_per_epoch`` (``len(loader)``): for what is left to do; else ``run.epoch()`` or
      ``step(epoch=...)`` tell the epochs.
    - ``snapshot_every``: steps between two snapshots on disk (0: none on a schedule; the first step, the
      last one, spikes, non-finite values and what is asked for are always kept). ``spike``: a term this many
      times its recent median; 0 is never. ``disk_mb`` is for all of them, ``memory_mb`` for copies in memory.
    - ``resume``: go on with the run that lies at ``path``; else a numbered folder beside it is taken.

    A step costs some tens of microseconds on the loop's thread and never waits for a disk or a reader.
    Never raises: what is wrong is said in one line on stderr. Where the layout or the head is wrong, the
    losses are recorded without the tensors; where the folder cannot be written, or on another rank than 0,
    nothing is.
    """
    saying = Saying()
    parts = None
    if _rank() == 0:
        try:
            declared = _declared(layout, head, classes, saying)
            parts = put_together(
                Path(path),
                declared,
                saying,
                model=model,
                optimizer=optimizer,
                loader=loader,
                epochs=max(0, int(epochs)),
                steps_per_epoch=max(0, int(steps_per_epoch)),
                batch_size=int(getattr(loader, "batch_size", 0) or 0),
                snapshot_every=max(0, int(snapshot_every)),
                memory=max(1, int(memory_mb * 2**20)),
                disk=max(1, int(disk_mb * 2**20)),
                spike=spike,
                resume=resume,
            )
        except UserError as error:
            saying("start", f"nothing is recorded: {error}")
        except Exception as error:
            saying("start", f"nothing is recorded: {type(error).__name__}: {error}")
    recorder = Recorder(parts, saying)
    if parts is not None:
        # its thread is a daemon, so that a script that forgot to close can end: this writes what is left
        atexit.register(recorder.close_at_exit)
    return recorder


def _declared(layout: Any, head: Any, classes: Sequence[str] | None, saying: Saying) -> Declared:
    try:
        return declare(layout, head, classes)
    except UserError as error:
        saying("declared", f"only losses are recorded: {error}")
    except Exception as error:
        saying("declared", f"only losses are recorded: {type(error).__name__}: {error}")
    return Declared()


def _rank() -> int:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return int(torch.distributed.get_rank())
    try:
        return int(os.environ.get("RANK", "0"))
    except ValueError:
        return 0
