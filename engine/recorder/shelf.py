"""The run's snapshots on disk, within a budget of bytes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

from ..runs import events as ev
from ..runs.snapshots import Snapshot, save, snapshot_path

GIVES_WAY = "scheduled"
"""Of these the oldest are removed where there is no room; all others stay."""


class Shelf:
    """Writes snapshots of one run; ``budget`` is for all of them together."""

    def __init__(self, folder: Path, budget: int, emit: Callable[[ev.Event], None]) -> None:
        self._folder = folder
        self._budget = budget
        self._emit = emit
        self._bytes = 0
        self._removable: deque[tuple[Path, int]] = deque()
        self._written: set[int] = set()
        self._full = False

    def put(self, snapshot: Snapshot, *, asked: bool = False) -> None:
        """Unless there is no room for it; what somebody ``asked`` for is written in any case. A step that is
        there is not written twice. Raises ``OSError`` and what safetensors raises on a full disk."""
        if snapshot.step in self._written:
            return
        size = snapshot.nbytes
        while self._removable and self._bytes + size > self._budget:
            path, freed = self._removable.popleft()
            path.unlink(missing_ok=True)
            self._bytes -= freed
        if self._bytes + size > self._budget and not asked:
            if not self._full:
                self._full = True
                text = f"snapshots have filled their {self._budget / 2**20:.0f} MiB: only those asked for"
                self._emit(ev.LogLine("warning", f"{text} are written from now on"))
            return
        path = snapshot_path(self._folder, snapshot.step)
        save(snapshot, path)
        size = os.stat(path).st_size
        self._bytes += size
        self._written.add(snapshot.step)
        if snapshot.reason == GIVES_WAY:
            self._removable.append((path, size))
        self._emit(ev.SnapshotTaken(snapshot.step, str(path), snapshot.reason))
