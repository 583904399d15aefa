"""The live view of one training."""

from __future__ import annotations

import textwrap
import threading
from pathlib import Path

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Input

from engine.runs.events import LogLine, Subscription
from engine.training.control import Control

from ..budget import DrawingBudget
from ..keys import bindings
from ..outcome import outcome
from ..remembered import Remembered
from ..runstate import EXTRA_SERIES, RunState
from ..sampling import Sampler
from ..stored import OwnStore
from ..widgets.bars import Footer, Notice
from ..widgets.chart import Chart, ChartOptions, SeriesChart
from ..widgets.epochs import EpochTable
from ..widgets.filter import FilterLine
from ..widgets.findings import FindingsPanel
from ..widgets.header import Header
from ..widgets.log import LogPanel
from ..widgets.machine import MachinePanel
from ..widgets.panel import Panel
from ..widgets.precision import PrecisionChart
from .arrange import Place, arrange
from .choosing import pick_overlay, pick_panel
from .shown import Shown

PRECISION = "mAP50"
HEADER_ROWS = 3
LOWER: tuple[type[Panel], ...] = (EpochTable, FindingsPanel, LogPanel, MachinePanel)


class LiveScreen(Screen[None]):
    key_scopes = ("run", "view")
    BINDINGS = bindings("run", "view")

    def __init__(
        self,
        subscription: Subscription,
        control: Control,
        thread: threading.Thread,
        folder: Path,
    ) -> None:
        super().__init__()
        self.subscription, self.control, self.thread = subscription, control, thread
        self.folder = folder
        self.state = RunState()
        self.own_store = OwnStore(folder)
        self.options = ChartOptions(stored=self.own_store.get, changed=self.view_changed)
        self.budget = DrawingBudget()
        self.sampler = Sampler()
        self.shown = Shown(quiet={"findings"})
        self.order: list[str] = []
        """Charts in the order of their numbers."""
        self._no_room: tuple[str, ...] = ()
        self._dropped = 0
        self._before_filter = ""
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

    def panels(self) -> list[Panel]:
        """Every panel in reading order, hidden ones included."""
        charts = [self.chart(name) for name in self.order]
        return [*charts, *(self.query_one(kind) for kind in LOWER)]

    def names(self) -> list[str]:
        return [panel.panel_name for panel in self.panels()]

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

    def view_changed(self) -> None:
        """A chart's keys moved the cursor or the window of all charts."""
        bar = self.query_one("#hidden", Notice)
        text = self._hidden_text(self._no_room)
        if bool(text) != bar.display and not self.shown.enlarged:
            self.place()
        elif text:
            bar.show([text])
        self.draw()

    def outcome_lines(self) -> list[str]:
        return outcome(self.state, self.folder)

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
        filtering = self.query_one(FilterLine).display
        rest = height - HEADER_ROWS - 1 - ended_rows - filtering
        wanted = [name for name in self.order if self.shown.wanted(name)]
        lower = [name for name in self.names() if name not in self.order and self.shown.wanted(name)]
        enlarged = self.shown.enlarged if self.shown.enlarged in self.names() else None
        notice = self._hidden_text(()) if not enlarged else ""
        if enlarged:
            places, self._no_room = {enlarged: Place(0, HEADER_ROWS, width, rest)}, ()
        else:
            plan = arrange(width, rest - bool(notice), wanted, lower, HEADER_ROWS)
            if plan.no_room and not notice:
                plan = arrange(width, rest - 1, wanted, lower, HEADER_ROWS)
            notice = self._hidden_text(plan.no_room)
            places, self._no_room = plan.places, plan.no_room
        bar = self.query_one("#hidden", Notice)
        bar.show([notice] if notice else [])
        bar.display = bool(notice)
        _put(bar, Place(0, HEADER_ROWS + rest - 1, width, 1))
        for widget, x, columns in (
            (self.query_one("#slash"), 0, 3),
            (self.query_one(FilterLine), 3, width - 3),
        ):
            widget.display = filtering
            _put(widget, Place(x, HEADER_ROWS + rest, columns, 1))
        _put(self.query_one("#outcome"), Place(0, height - 1 - ended_rows, width, ended_rows))
        _put(self.query_one(Footer), Place(0, height - 1, width, 1))
        _put(self.query_one(Header), Place(0, 0, width, HEADER_ROWS))
        for panel in self.panels():
            place = places.get(panel.panel_name)
            panel.display = place is not None
            if place:
                _put(panel, place)
        self._keep_focus()
        self.call_after_refresh(self.draw)

    def _hidden_text(self, no_room: tuple[str, ...]) -> str:
        """What is not shown, by number and name; by number alone where the line is too short for that."""
        names = self.names()
        pattern = f"filter /{self.shown.pattern.pattern}/ hides" if self.shown.pattern else ""
        overlay = f"╍╍ {self.options.overlay.name}   " if self.options.overlay else ""
        if self.options.view.cursor is not None:
            overlay += f"▲ step {self.options.view.cursor:,}   "
        for label in (self._label, self._short_label):
            parts = [
                ("no room", no_room),
                (pattern, self.shown.filtered(names)),
                ("hidden", self.shown.hidden(names)),
            ]
            text = "   ".join(f"{what}: {'  '.join(map(label, some))}" for what, some in parts if some)
            if len(overlay + text) < self.size.width:
                break
        return overlay + text

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
        if isinstance(self.focused, FilterLine):
            return False
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
                return self.shown.enlarged is None and self._focused_name() is not None
            case "restore":
                return self.shown.enlarged is not None
            case "hide":
                return self._focused_name() is not None and self.shown.enlarged is None
            case "show_all":
                return not all(
                    self.shown.wanted(name) for name in self.names() if name not in self.shown.quiet
                )
            case "filter" | "show_panel" | "pick_panel":
                return True
            case "overlay":
                return bool(self.order)
            case "panel":
                return int(str(parameters[0])) <= len(self.order)
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

    def action_panel(self, number: str) -> None:
        self.toggle(self.order[int(number) - 1])

    def action_show_panel(self, name: str) -> None:
        self.toggle(name)

    def action_pick_panel(self) -> None:
        pick_panel(self)

    def toggle(self, name: str) -> None:
        """Show a panel or hide it; while one is enlarged, enlarge this one instead."""
        shown = self.shown
        panel = next(panel for panel in self.panels() if panel.panel_name == name)
        if shown.enlarged:
            shown.enlarged = name
        elif name in self._no_room:
            self.notify(
                f"There is no room for {name!r} here: hide another panel, or enlarge this one with enter."
            )
            return
        elif shown.chosen(name) and not shown.passes(name):
            self.notify(f"The filter hides {name!r}: / and then nothing takes it away.")
            return
        elif shown.chosen(name):
            shown.hide(name)
        else:
            shown.show(name)
        self.place()
        if shown.enlarged or (shown.wanted(name) and name not in self.order):
            self.call_after_refresh(panel.focus)

    def action_hide(self) -> None:
        name = self._focused_name()
        if name:
            self.shown.hide(name)
            self.place()

    def action_show_all(self) -> None:
        self.shown.show_all(self.names())
        self.query_one(FilterLine).value = ""
        self.place()

    def action_enlarge(self) -> None:
        self.shown.enlarged = self._focused_name()
        self.place()

    def action_restore(self) -> None:
        self.shown.enlarged = None
        self.place()

    def action_overlay(self) -> None:
        pick_overlay(self)

    # the filter

    def action_filter(self) -> None:
        line = self.query_one(FilterLine)
        self._before_filter = line.value
        line.display = True
        line.cursor_position = len(line.value)
        self.place()
        self.set_focus(line)

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id != "filter":
            return
        wrong = self.shown.filter(event.value)
        event.input.set_class(bool(wrong), "wrong")
        if wrong:
            self.query_one("#hidden", Notice).show([f"no regular expression yet: {wrong}"])
            self.query_one("#hidden").display = True
        else:
            self.place()

    def close_filter(self, keep: bool) -> None:
        line = self.query_one(FilterLine)
        if not keep or self.shown.filter(line.value):
            line.value = self._before_filter
        self.shown.filter(line.value)
        line.display = False
        self.set_focus(None)
        self.place()
        shown = [panel for panel in self.panels() if panel.display]
        if shown:
            self.set_focus(shown[0])
        self.query_one(Footer).invalidate()

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
