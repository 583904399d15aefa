"""The list of runs and the comparison as an app: ``yolotui runs`` and ``yolotui compare``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

from textual.screen import ModalScreen, Screen

from engine.runs.compare import Comparison
from engine.runs.listing import RunInfo, list_runs

from .console import FAILED, INTERRUPTED, TERMINATED, complain
from .keys import bindings
from .screens.compare import CompareScreen
from .screens.help import help_for
from .screens.runs import RunsScreen
from .standalone import StandaloneApp
from .terminal import HUNG_UP, own_screen
from .themes import DARK

FOLDER = Path(__file__).resolve().parent


class BrowseApp(StandaloneApp, inherit_bindings=False):
    """``run()`` returns the exit code; where a run is to be opened, ``opening`` names it."""

    TITLE = "yolotui runs"
    CSS_PATH: ClassVar = [FOLDER / "live.tcss", FOLDER / "screens" / "browse.tcss"]
    key_scopes = ("app", "browser")
    BINDINGS = bindings("app", "browser")

    def __init__(self, first: Screen[None], log_path: Path, *, theme: str = DARK.name) -> None:
        super().__init__(log_path, theme=theme)
        self.first = first
        self.opening: Path | None = None

    def get_default_screen(self) -> Screen[None]:
        return self.first

    def open_run(self, path: Path) -> None:
        self.opening = path
        self.exit(0)

    def open_comparison(self, found: Comparison) -> None:
        self.push_screen(CompareScreen(found))

    def leave_comparison(self) -> None:
        """Back to the list, where it was opened from there."""
        if self.screen is self.first:
            self.exit(0)
        else:
            self.pop_screen()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("help", "command_palette", "theme"):
            typing = isinstance(self.screen, RunsScreen) and self.screen.searching
            return not typing and not isinstance(self.screen, ModalScreen)
        return super().check_action(action, parameters)

    def action_break_off(self) -> None:
        self.interrupted()

    def action_help(self) -> None:
        title = "The runs" if isinstance(self.screen, RunsScreen) else "The comparison"
        self.push_screen(help_for(self.screen, title))


def browse(root: Path, found: list[RunInfo]) -> int:
    """The list of runs until somebody leaves it; leaving an opened run comes back. Returns the exit code."""
    screen = RunsScreen(root, found)
    while True:
        app, status = _show(screen)
        if app.opening is None:
            return status
        status = _attach(app.opening)
        if status in (INTERRUPTED, TERMINATED, HUNG_UP):
            return status
        # A screen belongs to one app; what was searched and sorted goes on in a new one.
        before, screen = screen, RunsScreen(root, list_runs(root))
        for name in ("typed", "column", "down", "at", "marked"):
            setattr(screen, name, getattr(before, name))


def browse_comparison(found: Comparison) -> int:
    """Returns the exit code."""
    return _show(CompareScreen(found))[1]


def _attach(run: Path) -> int:
    from .commands.attach import attach

    try:
        return attach(run)
    except SystemExit as left:  # the live view ends the program that shows it
        return left.code if isinstance(left.code, int) else 0


def _show(screen: Screen[Any]) -> tuple[BrowseApp, int]:
    with tempfile.NamedTemporaryFile(prefix="yolotui-runs-", suffix=".log", delete=False) as file:
        log_path = Path(file.name)
    app = BrowseApp(screen, log_path)
    with own_screen(log_path):
        status = app.run()
    if app.crash is not None:
        complain(f"the view failed: {type(app.crash).__name__}: {app.crash}; the traceback is in {log_path}")
        return app, FAILED
    if not log_path.stat().st_size:
        log_path.unlink()
    return app, status if status is not None else FAILED
