"""The live view of one training."""

from __future__ import annotations

import re
import textwrap
import threading
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult

from engine.runs.events import LogLine, Subscription

from ..budget import DrawingBudget
from ..keys import bindings
from ..outcome import outcome
from ..remembered import Remembered
from ..runstate import EXTRA_SERIES, RunState
from ..sampling import Sampler
from ..session import RunControl
from ..stored import OwnStore
from ..widgets.bars import Footer, Notice
from ..widgets.chart import Chart, ChartOptions, SeriesChart
from ..widgets.epochs import EpochTable
from ..widgets.filter import FilterLine
from ..widgets.findings import FindingsPanel
from ..widgets.header import Header
from ..widgets.log import LogPanel
from ..widgets.machine import MachinePanel
from ..widgets.precision import PrecisionChart
from .choosing import pick_overlay
from .panels import PanelScreen

PRECISION = "mAP50"


class LiveScreen(PanelScreen):
    key_scopes: ClassVar[tuple[str, ...]] = ("run", "view")
    BINDINGS = bindings("run", "view")

    def __init__(
        self,
        subscription: Subscription,
        control: RunControl,
        thread: threading.Thread,
        folder: Path,
        state: RunState | None = None,
    ) -> None:
        self.own_store = OwnStore(folder)
        super().__init__(ChartOptions(stored=self.own_store.get))
        self.subscription, self.control, self.thread = subscription, control, thread
        self.folder = folder
        self.state = state or RunState()
        self._unended: dict[bool, str] = {}
        """Printed without an end of line so far; by whether it went to stderr."""
        self.budget = DrawingBudget()
        self.sampler = Sampler()
        self._dropped = 0
        self.table = EpochTable(self.state)

    # the widgets

    def compose(self) -> ComposeResult:
        yield Header(self.state)
        yield Notice("hidden")
        yield self.table
        yield FindingsPanel(self.state)
        yield LogPanel(self.state)
        yield MachinePanel(self.state, self.sampler, self.budget)
        yield Notice("slash")
        yield FilterLine()
        yield Notice("outcome")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#slash", Notice).show(["/"])
        self.set_timer(0.02, self._tick)

    def on_unmount(self) -> None:
        self.sampler.stop()
        self.own_store.close()
        if self.options.overlay:
            self.options.overlay.run.close()

    def remembered(self) -> Remembered:
        """The view as it is now; the app adds its theme."""
        options = self.options
        return Remembered(
            dict(self.shown.choices),
            self.shown.enlarged,
            smooth=options.smooth,
            log=options.log,
            steps=options.steps,
            statistic=self.table.statistic,
        )

    def restore_view(self, view: Remembered) -> None:
        """As it was left; before the screen is shown."""
        self.shown.choices, self.shown.enlarged = dict(view.panels), view.enlarged
        self.options.smooth, self.options.log, self.options.steps = view.smooth, view.log, view.steps
        self.table.choose(view.statistic)

    @property
    def ended(self) -> bool:
        """Whether the training thread is gone, so that nothing more can come."""
        return self.state.ended is not None and not self.thread.is_alive()

    @property
    def can_control(self) -> bool:
        """Whether there is a training that does what it is asked."""
        return self.state.ended is None and not self.control.stopping

    # the feed

    def _tick(self) -> None:
        self.take_events()
        self.set_timer(self.budget.next_delay(), self._tick)

    def take_events(self) -> None:
        """Fold in what the feed brought and draw what changed."""
        alive = self.thread.is_alive()
        events = self.subscription.drain()
        if events or not alive:
            self.state.apply(events)
            if self.subscription.dropped_steps > self._dropped:
                lost, self._dropped = (
                    self.subscription.dropped_steps - self._dropped,
                    self.subscription.dropped_steps,
                )
                self.state.log(
                    "warning", f"{lost:,} steps came faster than they could be read; charts lack them"
                )
            if not alive:
                self._take_end()
        if self.state.history and not self.order:
            self._make_charts()
        self.draw()

    def _take_end(self) -> None:
        """What the feed could not say: the training thread raised, or has simply gone."""
        ended = getattr(self.thread, "ended", None)
        if self.state.ended is None and ended is not None:
            self.state.apply([ended])
        self.app.training_is_over()  # type: ignore[attr-defined]

    def add_output(self, text: str, error: bool) -> None:
        """Something was printed by this process: shown in the log, not over the screen. A line that is
        printed piece by piece is shown when it ends."""
        *whole, rest = re.split(r"[\r\n]", self._unended.pop(error, "") + text)
        if rest:
            self._unended[error] = rest
        for line in whole:
            if line.strip():
                self.state.apply([LogLine("warning" if error else "info", line.rstrip())])

    def _make_charts(self) -> None:
        names = list(self.state.series)
        terms = names[: len(names) - len(EXTRA_SERIES)]
        order = [*terms, PRECISION, *EXTRA_SERIES]
        charts: list[Chart] = []
        for k, name in enumerate(order):
            kind = PrecisionChart if name == PRECISION else SeriesChart
            chart = kind(name, self.state, self.options, id=f"chart-{k}")
            chart.number = str(k + 1) if k < 9 else ""
            charts.append(chart)
        self.mount_all(charts, before=self.query_one(EpochTable))
        if charts[0].parent is None:  # a screen that is being left takes no more widgets, and does not say so
            return
        self.order = order
        self.call_after_refresh(self.place)
        first = self.shown.enlarged if self.shown.enlarged in self.order else terms[-1] if terms else ""
        if first:
            self.call_after_refresh(charts[self.order.index(first)].focus)

    # drawing

    def draw(self) -> None:
        """Everything that can be seen and has changed."""
        if self.query_one("#outcome", Notice).show(self._notice_lines()):
            self.place()
        if self.state.claims and "findings" in self.shown.quiet:
            self.shown.quiet.discard("findings")
            self.place()
        if self.options.overlay:
            self.options.overlay.run.refresh()
        self.query_one(Header).invalidate()
        for panel in self.panels():
            panel.invalidate()
        self.query_one(Footer).invalidate()

    def outcome_lines(self) -> list[str]:
        return outcome(self.state, self.folder)

    def parting_lines(self) -> list[str]:
        """What is said when the view is left."""
        return self.outcome_lines()

    def take_last_events(self) -> None:
        """Fold in what came after the last frame, when there is no screen any more."""
        self.state.apply(self.subscription.drain())

    def _notice_lines(self) -> list[str]:
        lines = self.outcome_lines()
        if not lines:
            return []
        lines.append("q leaves; the charts and the table stay until then")
        width = max(20, self.size.width - 2)
        return [part for line in lines for part in textwrap.wrap(line, width, break_on_hyphens=False)]

    # keys: the run

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if isinstance(self.focused, FilterLine):
            return False
        running = self.can_control
        match action:
            case "pause":
                return running and not self.control.paused
            case "resume":
                return running and self.control.paused
            case "step" | "epoch_end" | "checkpoint" | "snapshot":
                return running
            case "inspect":
                return self.app.can_inspect  # type: ignore[attr-defined,no-any-return]
            case "overlay":
                return bool(self.order)
            case "statistic":
                return self.table.display
            case "smooth" | "log_scale" | "x_unit":
                return any(panel.display for panel in self.panels() if isinstance(panel, Chart))
        return super().check_action(action, parameters)

    def action_pause(self) -> None:
        self.control.pause()
        self.answer()

    def action_resume(self) -> None:
        self.control.resume()
        self.answer()

    def action_step(self) -> None:
        self.control.step()
        self.answer()

    def action_epoch_end(self) -> None:
        self.control.to_epoch_end()
        self.answer()

    def action_checkpoint(self) -> None:
        self.control.checkpoint()
        self.state.log("info", "checkpoint asked for")
        self.answer()

    def action_snapshot(self) -> None:
        self.control.snapshot()
        self.state.log("info", "snapshot of the next step asked for")
        self.answer()

    def answer(self) -> None:
        """Show what a key did at once, whatever the drawing budget says, and again when its effect is in."""
        self.take_events()
        self.set_timer(0.05, self.take_events)

    # keys: the view

    def action_inspect(self) -> None:
        """Training goes on, or stays paused: as it is."""
        self.app.open_inspector()  # type: ignore[attr-defined]

    def action_smooth(self) -> None:
        self.options.smooth = not self.options.smooth
        self.draw()

    def action_log_scale(self) -> None:
        self.options.log = not self.options.log
        self.draw()

    def action_x_unit(self) -> None:
        self.options.steps = not self.options.steps
        self.draw()

    def action_statistic(self) -> None:
        self.table.action_statistic()

    def action_overlay(self) -> None:
        pick_overlay(self)
