"""The inspector by itself: ``yolotui inspect``."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import ClassVar

from textual.app import App

from ..app import SIGNAL_EXITS, KeyCommands
from ..keys import bindings
from ..screens.help import help_for
from ..screens.inspect import InspectScreen
from ..session import write_traceback
from ..themes import DARK, LIGHT
from .lines import CommandLine
from .sources import Steps

FOLDER = Path(__file__).resolve().parent.parent


class InspectApp(App[int], inherit_bindings=False):
    """``run()`` returns the exit code."""

    TITLE = "yolotui inspect"
    CSS_PATH: ClassVar = [FOLDER / "live.tcss", FOLDER / "screens" / "inspect.tcss"]
    COMMANDS: ClassVar = {KeyCommands}
    ENABLE_COMMAND_PALETTE = True
    key_scopes = ("app", "trainer")
    BINDINGS = bindings("app", "trainer")

    def __init__(self, steps: Steps, log_path: Path, *, theme: str = DARK.name) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = theme
        self.log_path = log_path
        self.inspector = InspectScreen(steps)
        self.crash: BaseException | None = None

    def get_default_screen(self) -> InspectScreen:
        return self.inspector

    def on_mount(self) -> None:
        self.begin_capture_print(self)
        loop = asyncio.get_running_loop()
        for number, code in SIGNAL_EXITS.items():
            with contextlib.suppress(ValueError, RuntimeError):  # in a test it may not be the main thread
                loop.add_signal_handler(number, self.exit, code)

    def _fatal_error(self) -> None:
        """Our own code raised: the traceback goes to the log, the command prints one line."""
        import sys

        self.crash = sys.exc_info()[1] or self._exception
        if self.crash:
            write_traceback(self.log_path, self.crash)
        self._close_messages_no_wait()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("leave", "close"):
            return False  # the screen's own keys leave
        if action == "interrupt":
            return True
        if action in ("help", "command_palette", "theme"):
            return isinstance(self.screen, InspectScreen) and not isinstance(self.focused, CommandLine)
        return super().check_action(action, parameters)

    def leave_inspector(self) -> None:
        self.exit(0)

    def action_interrupt(self) -> None:
        self.exit(SIGNAL_EXITS[signal.SIGINT])

    def action_theme(self) -> None:
        self.theme = LIGHT.name if self.theme == DARK.name else DARK.name

    def action_help(self) -> None:
        self.push_screen(help_for(self.screen, "The inspector"))
