"""The thread that carries requests from a run's folder to the control of the process that writes it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..runs.folder import RunFolder
from ..runs.requests import Request, RequestReader
from .control import Control

INTERVAL = 0.1
"""Seconds between two looks at the file."""


class Obeying:
    """Obeys what is asked from the moment it is made until ``close``; begins to look with ``start``.

    ``log`` gets a line for every request, which is how those who asked, and everybody else, hear that it
    arrived.
    """

    def __init__(
        self, folder: RunFolder, control: Control, log: Callable[[str], None], interval: float = INTERVAL
    ) -> None:
        self._reader = RequestReader(folder)
        self._control, self._log, self._interval = control, log, interval
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="requests", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def look(self) -> None:
        """Once, in the calling thread."""
        for request in self._reader.poll():
            self._log(arrived(request))
            self._control.obey(request)

    def _run(self) -> None:
        while not self._closing.wait(self._interval):
            self.look()


def arrived(request: Request) -> str:
    """``ann@box (4711) asks to pause``."""
    return f"{request.who or 'somebody'} asks to {request}"
