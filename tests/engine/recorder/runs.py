"""A recorded run of made-up steps, and what its store then holds."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.recorder import Recorder
from engine.runs.folder import RunFolder
from engine.runs.reader import RunReader

HEAD = {"grid": (3, 4), "stride": 8, "anchors": [(1.0, 1.0), (2.0, 2.0)], "classes": ["cat", "dog"]}
BATCH = 2


def tensors(seed: int = 0) -> dict[str, Any]:
    """A step's in our own layout, with one truth an image."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.zeros(BATCH, 3, 4, 2, 8)
    targets[:, 1, 2, 0] = torch.tensor([1, 1, 0.6, 0.5, 0.25, 0.3, 1.9, 0])
    return {
        "images": torch.rand(BATCH, 3, 24, 32, generator=generator),
        "pred": torch.randn(BATCH, 3, 4, 2, 7, generator=generator),
        "targets": targets,
        "boxes": [torch.tensor([[0.6, 0.5, 0.25, 0.3]])] * BATCH,
        "labels": [torch.tensor([1])] * BATCH,
    }


def losses(value: float = 1.0) -> dict[str, Tensor]:
    return {"lbox": torch.tensor(value), "total": torch.tensor(2 * value)}


def folder_of(run: Recorder) -> RunFolder:
    assert run.path is not None
    return RunFolder(run.path)


def events(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Kind and body of every event but the steps."""
    with sqlite3.connect(path / "run.db") as connection:
        found = [
            (kind, json.loads(body)) for kind, body in connection.execute("SELECT kind, body FROM events")
        ]
    connection.close()
    return found


def kinds(path: Path, kind: str) -> list[dict[str, Any]]:
    return [body for name, body in events(path) if name == kind]


def values(path: Path, column: str) -> list[float]:
    with RunReader(RunFolder.open(path)) as reader:
        return list(reader.series(column, points=10_000).mean)


def wait_until(seen: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.02)
