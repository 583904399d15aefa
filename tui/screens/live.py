"""The live view of one training."""

from __future__ import annotations

import textwrap
import threading
from pathlib import Path

from textual.app import ComposeResult
from textual.screen import Screen

from engine.runs.events import LogLine, Subscription
from engine.training.control import Control

from ..budget import DrawingBudget
from ..keys import bindings
from ..outcome import outcome
from ..runstate import EXTRA_SERIES, RunState
from ..widgets.bars import Footer, Notice
from ..widgets.chart import Chart, ChartOptions, PrecisionChart, SeriesChart
from ..widgets.epochs import EpochTable
from ..widgets.header import Header
from ..widgets.log import LogPanel
from ..widgets.panel import Panel
from .arrange import Place, arrange

PRECISION = "mAP50"
HEADER_ROWS = 3


class LiveScreen(Screen[None]):
    key_scopes = ("run", "view")
    BINDINGS = bindings("run", "view")

    def __init__(
        self,
        subscription: Subscription,
        control: Control,
        thread: threading.Thread,
        folder: Path,
        source: str,
    ) -> None:
        super().__init__()
        self.subscription, self.control, self.thread = subscription, control, thread
        self.folder, self.source = folder, source
        self.state = RunState()
        self.options = ChartOptions()
        self.budget = DrawingBudget()
        self.hidden: set[str] = set(EXTRA_SERIES)
        self.enlarged: str | None = None
        self.order: list[str] = []
        """Charts in the order of their numbers."""
        self._no_room: tuple[str, ...] = ()
        self._dropped = 0

    # the widgets

    def compose(self) -> ComposeResult:
        yield Header(self.state)
        yield Notice("hidden")
        yield EpochTable(self.state)
        yield LogPanel(self.state)
        yield Notice("outcome")
        yield Footer()

    def on_mount(self) -> None:
        self.set_timer(0.02, self._tick)

    def panels(self) -> list[Panel]:
        """Every panel in reading order, hidden ones included."""
        charts = [self.chart(name) for name in self.order]
        return [*charts, self.query_one(EpochTable), self.query_one(LogPanel)]

    def chart(self, name: str) -> Chart:
        return self.query_one(f"#chart-{self.order.index(name)}", Chart)

    @property
    def ended(self) -> bool:
        """Whether the training thread is gone, so that nothing more can come."""
        return self.state.ended is not None and not self.thread.is_alive()

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
        """Something was printed by this process: shown in the log, not over the screen."""
        for line in text.splitlines():
            if line.strip():
                self.state.apply([LogLine("warning" if error else "info", line.rstrip())])

    def _make_charts(self) -> None:
        names = list(self.state.series)
        terms = names[: len(names) - len(EXTRA_SERIES)]
        self.order = [*terms, PRECISION, *EXTRA_SERIES]
        charts: list[Chart] = []
        for k, name in enumerate(self.order):
            kind = PrecisionChart if name == PRECISION else SeriesChart
            chart = kind(name, self.state, self.options, id=f"chart-{k}")
            chart.number = str(k + 1) if k < 9 else ""
            charts.append(chart)
        self.mount_all(charts, before=self.query_one(EpochTable))
        self.call_after_refresh(self.place)
        if len(charts):
            self.call_after_refresh(charts[max(0, len(terms) - 1)].focus)

    # drawing

    def draw(self) -> None:
        """Everything that can be seen and has changed."""
        if self.query_one("#outcome", Notice).show(self._notice_lines()):
            self.place()
        self.query_one(Header).invalidate()
        for panel in self.panels():
            panel.invalidate()
        self.query_one(Footer).invalidate()

    def outcome_lines(self) -> list[str]:
        return outcome(self.state, self.folder, self.source)

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

    def on_resize(self) -> None:
        self.place()

    def place(self) -> None:
        """Put every panel where it belongs at this size, and name those that are not shown."""
        width, height = self.size
        ended_rows = len(self.query_one("#outcome", Notice).lines)
        rest = height - HEADER_ROWS - 1 - ended_rows
        wanted = [name for name in self.order if name not in self.hidden]
        table, log = "epochs" not in self.hidden, "log" not in self.hidden
        notice = ""
        if self.enlarged:
            notice = self._hidden_text(()) or ""
            plan_places = {self.enlarged: Place(0, HEADER_ROWS, width, rest)}
            self._no_room = ()
        else:
            plan = arrange(width, rest, wanted, table, log, HEADER_ROWS)
            notice = self._hidden_text(plan.no_room)
            if notice:
                plan = arrange(width, rest - 1, wanted, table, log, HEADER_ROWS)
                notice = self._hidden_text(plan.no_room)
            plan_places, self._no_room = plan.places, plan.no_room
        bar = self.query_one("#hidden", Notice)
        bar.show([notice] if notice else [])
        bar.display = bool(notice) and not self.enlarged
        _put(bar, Place(0, HEADER_ROWS + rest - 1, width, 1))
        _put(self.query_one("#outcome"), Place(0, height - 1 - ended_rows, width, ended_rows))
        _put(self.query_one(Footer), Place(0, height - 1, width, 1))
        _put(self.query_one(Header), Place(0, 0, width, HEADER_ROWS))
        for panel in self.panels():
            place = plan_places.get(panel.panel_name)
            panel.display = place is not None
            if place:
                _put(panel, place)
        self._keep_focus()
        self.call_after_refresh(self.draw)

    def _hidden_text(self, no_room: tuple[str, ...]) -> str:
        """What is not shown, by number and name; by number alone where the line is too short for that."""
        hidden = [panel.panel_name for panel in self.panels() if panel.panel_name in self.hidden]
        for label in (self._label, self._short_label):
            parts = [("no room", no_room), ("hidden", hidden)]
            text = "   ".join(f"{what}: {'  '.join(map(label, names))}" for what, names in parts if names)
            if len(text) < self.size.width:
                break
        return text

    def _short_label(self, name: str) -> str:
        return self._label(name).split(" ")[0] if name in self.order[:9] else name

    def _label(self, name: str) -> str:
        return f"{self.order.index(name) + 1} {name}" if name in self.order[:9] else name

    def _keep_focus(self) -> None:
        focused = self.focused
        if isinstance(focused, Panel) and not focused.display:
            shown = [panel for panel in self.panels() if panel.display]
            self.set_focus(shown[0] if shown else None)

    def _focused_name(self) -> str | None:
        return self.focused.panel_name if isinstance(self.focused, Panel) else None

    # keys: the run

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        running = self.state.ended is None and not self.control.stopping
        match action:
            case "pause":
                return running and not self.control.paused
            case "resume":
                return running and self.control.paused
            case "step" | "epoch_end" | "checkpoint" | "snapshot":
                return running
            case "inspect":
                return self.app.can_inspect  # type: ignore[attr-defined,no-any-return]
            case "enlarge":
                return self.enlarged is None and self._focused_name() is not None
            case "restore":
                return self.enlarged is not None
            case "hide":
                return self._focused_name() is not None and self.enlarged is None
            case "show_all":
                return bool(self.hidden)
            case "panel":
                return int(str(parameters[0])) <= len(self.order)
            case "statistic":
                return self.query_one(EpochTable).display
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
        self.query_one(EpochTable).action_statistic()

    def action_panel(self, number: str) -> None:
        name = self.order[int(number) - 1]
        if self.enlarged:
            self.hidden.discard(name)
            self.enlarged = name
        elif name in self._no_room:
            self.notify(
                f"There is no room for {name!r} here: hide another panel, or enlarge this one with enter."
            )
            return
        elif name in self.hidden:
            self.hidden.discard(name)
        else:
            self.hidden.add(name)
        self.place()
        if self.enlarged:
            self.call_after_refresh(self.chart(name).focus)

    def action_hide(self) -> None:
        name = self._focused_name()
        if name:
            self.hidden.add(name)
            self.place()

    def action_show_all(self) -> None:
        self.hidden.clear()
        self.place()

    def action_enlarge(self) -> None:
        self.enlarged = self._focused_name()
        self.place()

    def action_restore(self) -> None:
        self.enlarged = None
        self.place()

    def action_focus_panel(self, direction: int) -> None:
        shown = [panel for panel in self.panels() if panel.display]
        if not shown:
            return
        current = shown.index(self.focused) if self.focused in shown else -1 if direction > 0 else 0
        self.set_focus(shown[(current + direction) % len(shown)])
        self.query_one(Footer).invalidate()


def _put(widget: object, place: Place) -> None:
    styles = widget.styles  # type: ignore[attr-defined]
    styles.offset = (place.x, place.y)
    styles.width, styles.height = place.width, max(0, place.height)
