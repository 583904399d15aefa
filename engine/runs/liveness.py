"""Whether the process that writes a run is there, and a dead one told from a slow one."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from dataclasses import dataclass

import psutil

SILENT_AFTER = 15.0
"""Seconds without a sign after which a living writer is called silent: suspended, or a hung disk."""
GONE_AFTER = 120.0
"""The same for a writer on another machine, whose process cannot be looked at: then it counts as dead."""


@dataclass(frozen=True)
class Writer:
    """The store's note of its writer."""

    host: str
    pid: int
    process_start: float
    """Seconds since 1970: tells the process from a later one with its number."""
    beat: float
    """When it last wrote."""
    released: bool
    """Whether it closed the store itself."""

    @classmethod
    def here(cls) -> Writer:
        return cls(socket.gethostname(), os.getpid(), psutil.Process().create_time(), time.time(), False)

    @classmethod
    def of(cls, connection: sqlite3.Connection) -> Writer | None:
        """The writer that a store names; None where none ever signed in."""
        row = connection.execute("SELECT host, pid, process_start, beat, released FROM writer").fetchone()
        return cls(row[0], row[1], row[2], row[3], bool(row[4])) if row else None

    @property
    def silent_seconds(self) -> float:
        return max(0.0, time.time() - self.beat)

    @property
    def is_here(self) -> bool:
        """Whether it is this very process."""
        return self.host == socket.gethostname() and self.pid == os.getpid() and self.alive

    @property
    def alive(self) -> bool:
        if self.released:
            return False
        if self.host != socket.gethostname():
            return self.silent_seconds < GONE_AFTER
        try:
            process = psutil.Process(self.pid)
            # A zombie holds its number but writes no more. The start's clock has a resolution of 10 ms.
            return (
                process.status() != psutil.STATUS_ZOMBIE
                and abs(process.create_time() - self.process_start) < 2
            )
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True

    @property
    def silent(self) -> bool:
        """Alive, but not heard of for a while."""
        return self.alive and self.silent_seconds > SILENT_AFTER
