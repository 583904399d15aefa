"""The inspector by itself: ``yolotui inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ..keys import bindings
from ..screens.help import help_for
from ..screens.inspect import InspectScreen
from ..standalone import StandaloneApp
from ..themes import DARK
from .lines import CommandLine
from .sources import Steps

FOLDER = Path(__file__).resolve().parent.parent


class InspectApp(StandaloneApp, inherit_bindings=False):
    """``run()`` returns the exit code."""

    TITLE = "yolotui inspect"
    CSS_PATH: ClassVar = [FOLDER / "live.tcss", FOLDER / "screens" / "inspect.tcss"]
    key_scopes = ("app", "trainer")
    BINDINGS = bindings("app", "trainer")

    def __init__(self, steps: Steps, log_path: Path, *, theme: str = DARK.name) -> None:
        super().__init__(log_path, theme=theme)
        self.inspector = InspectScreen(steps)

    def get_default_screen(self) -> InspectScreen:
        return self.inspector

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
        self.interrupted()

    def action_help(self) -> None:
        self.push_screen(help_for(self.screen, "The inspector"))
