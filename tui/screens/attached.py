"""The live view of a run that another process writes."""

from __future__ import annotations

import shlex
import threading
from typing import ClassVar

from ..attached import AttachedRun, presence
from ..format import shorten_path
from ..keys import bindings
from ..outcome import outcome, resume_command
from ..runstate import RunState
from .live import LiveScreen
from .question import Question

ANSWERS = (0.4, 0.8, 1.5)
"""Seconds after a key at which its effect is looked for, whatever the drawing budget says."""


class AttachedScreen(LiveScreen, inherit_bindings=False):
    key_scopes: ClassVar[tuple[str, ...]] = ("run", "attached", "view")
    BINDINGS = bindings("run", "attached", "view")

    def __init__(self, run: AttachedRun, thread: threading.Thread, state: RunState) -> None:
        self.run = run
        self._opening = False
        super().__init__(run.feed.subscribe(), run.control, thread, run.folder.path, state)

    @property
    def ended(self) -> bool:
        """Whether nothing more comes, unless somebody goes on with it."""
        return self.state.ended is not None

    @property
    def can_control(self) -> bool:
        return not self.run.refusal and super().can_control

    def take_events(self) -> None:
        self.state.status = self.run.status
        self.state.note = self._note()
        super().take_events()

    def say_opening(self, opening: bool) -> None:
        """Says that the inspector is on its way: with torch not yet imported that takes seconds."""
        self._opening = opening
        self.state.note = self._note()
        self.draw()

    def _note(self) -> str:
        if self._opening:
            return "opening the inspector"
        if self.run.unread:
            return f"the store is not readable: {self.run.unread}"
        if self.run.status.state in ("dead", "silent") and self.state.ended is None:
            return presence(self.run.status)
        if self.run.status.alive and self.run.refusal:
            return self.run.refusal
        return self.run.control.note()

    def _take_end(self) -> None:
        """The thread that reads the store has gone: it was told to, or it failed."""
        ended = getattr(self.thread, "ended", None)
        if ended is not None and self.state.ended is None:
            self.state.apply([ended])

    def outcome_lines(self) -> list[str]:
        if self.state.ended is not None or not self.state.lost:
            return outcome(self.state, self.folder)
        status, place = self.run.status, shorten_path(self.folder)
        step = f" after step {self.state.last.step:,}" if self.state.last else ""
        lines = [f"died{step} · process {status.pid} on {status.host} is gone without a goodbye · {place}"]
        if self.state.resumable:
            processes = self.state.started.processes if self.state.started else 1
            lines.append(f"next: {resume_command(self.folder, processes)}")
        return lines

    def parting_lines(self) -> list[str]:
        """What is said when the view is left."""
        lines = self.outcome_lines()
        if lines:
            return lines
        how = "is paused" if self.control.paused else "goes on"
        place = shorten_path(self.folder)
        return [f"detached: {place} {how}; back with: yolotui attach {shlex.quote(place)}"]

    def answer(self) -> None:
        """The writer's answer comes through the store, a moment later than from a thread of this process."""
        super().answer()
        for seconds in ANSWERS:
            self.set_timer(seconds, self.take_events)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("stop", "say_why_not"):
            return super().check_action("pick_panel", ()) and (action == "stop") == self.can_control
        return super().check_action(action, parameters)

    def action_stop(self) -> None:
        def answer(yes: bool | None) -> None:
            if yes:
                self.control.stop()
                self.answer()

        name = self.state.started.name if self.state.started else self.folder.name
        who = f"process {self.run.status.pid} on {self.run.status.host}"
        self.app.push_screen(Question(f"Stop {name} ({who}) with a checkpoint?"), answer)

    def action_say_why_not(self) -> None:
        why = self.run.refusal or ("it is stopping" if self.control.stopping else "it has ended")
        self.notify(f"{why[0].upper()}{why[1:]}.", severity="warning")
