"""Samples of the machine from a thread of their own: a slow driver must not hold up a key."""

from __future__ import annotations

import threading

from engine.machine import Machine, MachineSample

INTERVAL = 2.0


class Sampler:
    """``newest`` is the last sample, None before the first. Starts with ``start``, ends with ``stop``."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self.interval = interval
        self.newest: MachineSample | None = None
        self.pid: int | None = None
        """Whose process is looked at beside the machine; None: this one."""
        self.siblings = False
        """With those that were launched together with it."""
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """May be called again and again."""
        if self._thread is None and not self._ending.is_set():
            self._thread = threading.Thread(target=self._run, name="machine", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._ending.set()

    def _run(self) -> None:
        whose = self.pid, self.siblings
        machine = Machine(*whose)
        wait = 0.2  # the first has nothing before it: the second says what it could not
        while not self._ending.wait(wait):
            if (self.pid, self.siblings) != whose:
                machine.close()
                whose, wait = (self.pid, self.siblings), 0.2
                machine = Machine(*whose)
                continue
            self.newest = machine.sample()
            wait = self.interval
        machine.close()
