"""The app: owns the screens, the signals and the way out."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.app import App
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.screen import ModalScreen
from textual.widgets import Input

from . import remembered
from .keys import Key, available, bindings
from .past import before_going_on
from .screens.help import help_for
from .screens.live import LiveScreen
from .screens.question import Question
from .session import Session, TrainingThread, write_traceback
from .themes import DARK, LIGHT

KEEP_SECONDS = 3.0
"""How soon a changed view is remembered: a lost line must not take it along."""
SIGNAL_EXITS = {signal.SIGINT: 130, signal.SIGTERM: 143}


class KeyCommands(Provider):
    """The command palette: the key table's rows that work now, by their sentence."""

    def _rows(self) -> list[tuple[str, Key, Callable[[], object]]]:
        found: list[tuple[str, Key, Callable[[], object]]] = []
        for owner, row in available(self.screen):
            if row.action == "command_palette" or len(row.keys) > 3:
                continue
            action = row.action.format(key=row.keys[0])
            found.append((f"{row.help}  ({row.shown})", row, partial(self.app.run_action, action, owner)))
        return found

    async def discover(self) -> Hits:
        for text, row, callback in self._rows():
            yield DiscoveryHit(text, callback, help=row.label)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for text, row, callback in self._rows():
            if (score := matcher.match(text)) > 0:
                yield Hit(score, matcher.highlight(text), callback, help=row.label)


class LiveApp(App[int], inherit_bindings=False):
    """The live view of a training that runs in a thread of this process.

    ``run()`` returns the exit code. It is 130 after Ctrl+C and 143 after SIGTERM, whatever the run says.
    """

    TITLE = "yolotui"
    CSS_PATH = "live.tcss"
    COMMANDS: ClassVar = {KeyCommands}
    ENABLE_COMMAND_PALETTE = True
    key_scopes: ClassVar[tuple[str, ...]] = ("app", "trainer")
    BINDINGS = bindings("app", "trainer")

    def __init__(
        self,
        session: Session,
        folder: Path,
        *,
        log_path: Path | None = None,
        theme: str = "",
        layout_path: Path | None = None,
    ) -> None:
        """``theme``: "", the remembered one. ``layout_path``: where the view is remembered; None: nowhere."""
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.layout_path = layout_path
        view, self._layout_problem = (
            remembered.load(layout_path) if layout_path else (remembered.Remembered(), "")
        )
        self.theme = theme or view.theme
        self.log_path = log_path or folder / "log.txt"
        self.session = session
        self.thread = TrainingThread(session, self.log_path)
        self.live = self.make_screen(self.thread, folder)
        self.live.restore_view(view)
        self._kept = view
        self.leaving: int | None = None
        """The exit code of somebody on the way out; None stays."""
        self.crash: BaseException | None = None

    # start and end

    def make_screen(self, thread: TrainingThread, folder: Path) -> LiveScreen:
        past = before_going_on(folder)
        return LiveScreen(self.session.feed.subscribe(), self.session.control, thread, folder, past)

    def get_default_screen(self) -> LiveScreen:
        return self.live

    def on_mount(self) -> None:
        self.begin_capture_print(self)
        loop = asyncio.get_running_loop()
        for number in SIGNAL_EXITS:
            # Not in a thread other than the main one, where a test may run the app.
            with contextlib.suppress(ValueError, RuntimeError):
                loop.add_signal_handler(number, self.on_signal, number)
        self.thread.start()
        if self._layout_problem:
            self.live.state.log("warning", self._layout_problem)
        self.set_interval(KEEP_SECONDS, self.remember_view)

    def on_unmount(self) -> None:
        self.remember_view()

    def remember_view(self) -> None:
        """Keep the view as it is now, where it has changed."""
        if self.layout_path is None:
            return
        view = self.live.remembered()
        view.theme = self.theme
        if view == self._kept:
            return
        self._kept = view
        problem = remembered.save(self.layout_path, view)
        if problem:
            self.layout_path = None
            self.live.state.log("warning", problem)

    def on_print(self, event: events.Print) -> None:
        """What anything printed in this process: kept in the log file and shown in the log."""
        with contextlib.suppress(OSError), self.log_path.open("a", encoding="utf-8") as file:
            file.write(event.text)
        self.live.add_output(event.text, event.stderr)

    def on_signal(self, number: signal.Signals) -> None:
        """First: stop with a checkpoint. Again: leave at once."""
        self.stop_then_leave(SIGNAL_EXITS[number])

    def training_is_over(self) -> None:
        if self.leaving is not None:
            self.exit(self.leaving)

    def exit_code(self) -> int:
        ended = self.live.state.ended or self.thread.ended
        return ended.exit_code if ended else 1

    def let_go(self) -> None:
        """The screen is gone: the training ends with a checkpoint, and its thread after it."""
        self.session.control.stop()

    def stop_then_leave(self, code: int) -> None:
        if self.live.ended or self.leaving is not None:
            self.exit(code)
        else:
            self.leaving = code
            self.session.control.stop()
            self.live.state.detail = "stopping after this step, then a checkpoint"
            self.live.answer()

    def _fatal_error(self) -> None:
        """Our own code raised: the traceback goes to the log, ``run_live`` prints one line."""
        import sys

        self.crash = sys.exc_info()[1] or self._exception
        if self.crash:
            write_traceback(self.log_path, self.crash)
        self._close_messages_no_wait()

    # keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        dialog = isinstance(self.screen, ModalScreen) or isinstance(self.focused, Input)
        if action == "leave":
            return not self.live.ended and not dialog
        if action == "close":
            return self.live.ended and not dialog
        if action in ("help", "command_palette", "theme"):
            return not dialog
        return super().check_action(action, parameters)

    def action_interrupt(self) -> None:
        self.stop_then_leave(130)

    def action_close(self) -> None:
        self.exit(self.exit_code())

    def action_leave(self) -> None:
        if self.leaving is None:
            self.leaving = 0
            self.session.control.stop()
            self.live.state.detail = "stopping after this step, then a checkpoint"
            self.live.answer()
            return
        lost = self.live.state.unsaved_steps
        if not lost:
            self.exit(self.leaving)
            return
        steps = f"{lost:,} step{'s' if lost > 1 else ''} since the last checkpoint"
        text = f"The last step and its checkpoint are still under way. Leave at once and lose {steps}?"
        self.push_screen(Question(text), self._leave_at_once)

    def _leave_at_once(self, yes: bool | None) -> None:
        if yes:
            self.exit(self.leaving or 0)

    def notify(self, message: str, **options: Any) -> None:
        """The newest alone: a key pressed again says the same once."""
        self.clear_notifications()
        super().notify(message, **options)

    def action_theme(self) -> None:
        self.theme = LIGHT.name if self.theme == DARK.name else DARK.name

    @property
    def can_inspect(self) -> bool:
        """Whether the session keeps steps to look into, or can still take one."""
        captures = getattr(self.session, "captures", None)
        return captures is not None and (self.live.can_control or _has_step(captures, self.live.folder))

    def open_inspector(self) -> None:
        from .inspect.sources import LiveSteps
        from .screens.inspect import InspectScreen

        folder = self.live.folder
        captures = self.session.captures  # type: ignore[attr-defined]
        steps = LiveSteps(folder.name, captures.ring, folder / "snapshots", captures.write)
        self.push_screen(InspectScreen(steps, self.session.control, follow=True, over=self._is_over))

    def _is_over(self) -> bool:
        """Whether there is nothing left to pause."""
        return not self.live.can_control

    def leave_inspector(self) -> None:
        """Back to the live view."""
        self.pop_screen()
        self.live.answer()

    def action_help(self) -> None:
        self.push_screen(help_for(self.screen, "Live view" if self.screen is self.live else "The inspector"))


def _has_step(captures: Any, folder: Path) -> bool:
    return len(captures.ring) > 0 or next((folder / "snapshots").glob("*.safetensors"), None) is not None
