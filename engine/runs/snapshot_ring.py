"""The last snapshots in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .snapshots import Snapshot


class SnapshotRing:
    """The last steps in memory, within a budget of bytes and a count; one writer, any readers."""

    def __init__(self, byte_budget: int, count: int) -> None:
        if byte_budget < 1 or count < 1:
            raise ValueError("a ring holds at least one byte and one snapshot")
        self.byte_budget = byte_budget
        self.count = count
        self._lock = threading.Lock()
        self._held: OrderedDict[int, tuple[Snapshot, int]] = OrderedDict()
        self._bytes = 0

    def add(self, snapshot: Snapshot) -> bool:
        """Keep a snapshot, dropping the oldest; False where it alone is over the budget and is not kept.

        A step that is already held is replaced.
        """
        size = snapshot.nbytes
        if size > self.byte_budget:
            return False
        with self._lock:
            if snapshot.step in self._held:
                self._bytes -= self._held.pop(snapshot.step)[1]
            while self._held and (self._bytes + size > self.byte_budget or len(self._held) >= self.count):
                self._bytes -= self._held.popitem(last=False)[1][1]
            self._held[snapshot.step] = (snapshot, size)
            self._bytes += size
        return True

    def __len__(self) -> int:
        return len(self._held)

    @property
    def nbytes(self) -> int:
        return self._bytes

    def steps(self) -> list[int]:
        """The steps held, oldest first."""
        with self._lock:
            return list(self._held)

    def snapshots(self) -> list[Snapshot]:
        """What is held, oldest first."""
        with self._lock:
            return [snapshot for snapshot, _ in self._held.values()]

    def get(self, step: int) -> Snapshot | None:
        with self._lock:
            held = self._held.get(step)
        return held[0] if held else None
