"""What the apps that train nothing share: themes, signals, and a crash that becomes one line and a log."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import ClassVar

from textual.app import App

from .app import SIGNAL_EXITS, KeyCommands
from .session import write_traceback
from .themes import DARK, LIGHT


class StandaloneApp(App[int], inherit_bindings=False):
    """``run()`` returns the exit code."""

    COMMANDS: ClassVar = {KeyCommands}
    ENABLE_COMMAND_PALETTE = True

    def __init__(self, log_path: Path, *, theme: str = DARK.name) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = theme
        self.log_path = log_path
        self.crash: BaseException | None = None

    def on_mount(self) -> None:
        self.begin_capture_print(self)
        loop = asyncio.get_running_loop()
        for number, code in SIGNAL_EXITS.items():
            with contextlib.suppress(ValueError, RuntimeError):  # in a test it may not be the main thread
                loop.add_signal_handler(number, self.exit, code)

    def _fatal_error(self) -> None:
        """Our own code raised: the traceback goes to the log, the command prints one line."""
        self.crash = sys.exc_info()[1] or self._exception
        if self.crash:
            write_traceback(self.log_path, self.crash)
        self._close_messages_no_wait()

    def interrupted(self) -> None:
        self.exit(SIGNAL_EXITS[signal.SIGINT])

    def action_theme(self) -> None:
        self.theme = LIGHT.name if self.theme == DARK.name else DARK.name
