"""The live view on a training in several processes: as of one in this process, through its store."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from .app import LiveApp
from .console import complain
from .keys import bindings
from .ranks import OwnRun, Ranks
from .remembered import default_path
from .screens.attached import AttachedScreen
from .screens.live import LiveScreen
from .session import TrainingThread
from .terminal import run_live
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


def show(ranks: Ranks, output: Path) -> int:
    """The live view on them, from the moment there is a run; ``output``: what they print."""
    with _ending_with_us(ranks):
        while (run := ranks.attach()) is None:
            if not ranks.alive:
                code = ranks.process.wait()
                complain(_last_words(output) or f"ended with exit code {code}; see {output}")
                return code
            time.sleep(0.1)
        app = RanksApp(run, log_path=output, layout_path=default_path())
        status = run_live(app)
        if ranks.alive and status:
            ranks.wait()
        killed = _last_words(output) if not ranks.alive and ranks.process.poll() else ""
        if killed and app.live.state.ended is None:
            complain(killed)
        return status


@contextlib.contextmanager
def _ending_with_us(ranks: Ranks) -> Iterator[None]:
    try:
        yield
    finally:
        if ranks.alive:
            ranks.kill()


def _last_words(output: Path) -> str:
    with contextlib.suppress(OSError):
        lines = output.read_text(errors="replace").splitlines()
        found = [line for line in lines if line.startswith("yolotui: ")]
        return found[-1].removeprefix("yolotui: ") if found else ""
    return ""
