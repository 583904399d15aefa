"""The live view on a training in several processes: as of one in this process, through its store."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import ClassVar

from .app import LiveApp
from .keys import bindings
from .ranks import OwnRun
from .screens.attached import AttachedScreen
from .screens.live import LiveScreen
from .session import TrainingThread
from .viewer import AttachedApp


class RanksScreen(AttachedScreen, inherit_bindings=False):
    key_scopes: ClassVar[tuple[str, ...]] = ("run", "view")
    BINDINGS = bindings("run", "view")

    @property
    def ended(self) -> bool:
        return self.state.ended is not None and not self.thread.is_alive()

    def _take_end(self) -> None:
        LiveScreen._take_end(self)

    def parting_lines(self) -> list[str]:
        return LiveScreen.parting_lines(self)


class RanksApp(AttachedApp, inherit_bindings=False):
    """Leaving it ends the training, with a checkpoint."""

    key_scopes: ClassVar[tuple[str, ...]] = ("app", "trainer")
    BINDINGS = bindings("app", "trainer")
    attached: OwnRun

    def make_screen(self, thread: TrainingThread, folder: Path) -> RanksScreen:
        return RanksScreen(self.attached, thread, self.attached.read())

    def on_signal(self, number: signal.Signals) -> None:
        LiveApp.on_signal(self, number)

    def exit_code(self) -> int:
        return LiveApp.exit_code(self)

    def let_go(self) -> None:
        self.attached.ranks.stop()
