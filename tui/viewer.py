"""The app of ``yolotui attach``: looks on, asks, and leaves the training alone when it goes."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import ClassVar

from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Input

from .app import SIGNAL_EXITS, LiveApp
from .attached import AttachedRun
from .keys import bindings
from .screens.attached import AttachedScreen
from .session import TrainingThread

NEW_SNAPSHOTS = 0.5
"""Seconds between two looks for snapshots while the inspector is open."""


class AttachedApp(LiveApp, inherit_bindings=False):
    """The live view on a run that another process writes. Neither its end nor its death touches that one."""

    key_scopes: ClassVar[tuple[str, ...]] = ("app", "viewer")
    BINDINGS = bindings("app", "viewer")
    live: AttachedScreen

    def __init__(
        self, run: AttachedRun, *, log_path: Path, theme: str = "", layout_path: Path | None = None
    ) -> None:
        """Reads the run, which raises ``UserError`` where that is impossible."""
        self.attached = run
        self._looking: Timer | None = None
        super().__init__(run, run.folder.path, log_path=log_path, theme=theme, layout_path=layout_path)

    def make_screen(self, thread: TrainingThread, folder: Path) -> AttachedScreen:
        return AttachedScreen(self.attached, thread, self.attached.read())

    def on_signal(self, number: signal.Signals) -> None:
        self.exit(SIGNAL_EXITS[number])

    def exit_code(self) -> int:
        return 0

    def let_go(self) -> None:
        self.attached.close()

    # keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "detach":
            return not (isinstance(self.screen, ModalScreen) or isinstance(self.focused, Input))
        return super().check_action(action, parameters)

    def action_detach(self) -> None:
        self.exit(0)

    def action_break_off(self) -> None:
        self.exit(SIGNAL_EXITS[signal.SIGINT])

    # the inspector

    @property
    def can_inspect(self) -> bool:
        return self.attached.has_snapshots or self.live.can_control

    def open_inspector(self) -> None:
        self.live.say_opening(True)
        self.run_worker(self._open_inspector, exclusive=True)  # type: ignore[arg-type]

    async def _open_inspector(self) -> None:
        # Torch comes with it: seconds in which the view goes on.
        sources = await asyncio.to_thread(_import_sources)
        from .screens.inspect import InspectScreen

        self.live.say_opening(False)
        if self.screen is not self.live:
            return
        if not self.can_inspect:  # the run has ended meanwhile
            self.live.notify("No step was captured.", severity="warning")
            return
        controlled = self.live.can_control
        steps = sources.WrittenSnapshots(
            self.attached.folder, ask=self.attached.control.snapshot if controlled else None
        )
        self._looking = self.set_interval(NEW_SNAPSHOTS, steps.timeline.refresh)
        control = self.attached.control if controlled else None
        self.push_screen(InspectScreen(steps, control, follow=True, over=self._is_over))

    def leave_inspector(self) -> None:
        if self._looking is not None:
            self._looking.stop()
        super().leave_inspector()


def _import_sources():  # type: ignore[no-untyped-def]
    from .inspect import sources
    from .screens import inspect  # noqa: F401

    return sources
