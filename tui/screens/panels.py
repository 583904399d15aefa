"""Which panels of the live view are shown, where they stand, and which of them has the focus."""

from __future__ import annotations

from textual.screen import Screen
from textual.widgets import Input

from ..widgets.bars import Footer, Notice
from ..widgets.chart import Chart, ChartOptions
from ..widgets.epochs import EpochTable
from ..widgets.filter import FilterLine
from ..widgets.findings import FindingsPanel
from ..widgets.header import Header
from ..widgets.log import LogPanel
from ..widgets.machine import MachinePanel
from ..widgets.panel import Panel
from .arrange import Place, arrange
from .choosing import pick_panel
from .shown import Shown

HEADER_ROWS = 3
LOWER: tuple[type[Panel], ...] = (EpochTable, FindingsPanel, LogPanel, MachinePanel)


class PanelScreen(Screen[None]):
    """Arranges the charts and the lower panels; what they show is the business of who derives from it."""

    def __init__(self, options: ChartOptions) -> None:
        super().__init__()
        self.options = options
        options.changed = self.view_changed
        self.shown = Shown(quiet={"findings"})
        self.order: list[str] = []
        """Charts in the order of their numbers."""
        self._no_room: tuple[str, ...] = ()
        self._before_filter = ""

    def draw(self) -> None:
        """Everything that can be seen and has changed."""
        raise NotImplementedError

    def panels(self) -> list[Panel]:
        """Every panel in reading order, hidden ones included."""
        charts = [self.chart(name) for name in self.order]
        return [*charts, *(self.query_one(kind) for kind in LOWER)]

    def names(self) -> list[str]:
        return [panel.panel_name for panel in self.panels()]

    def chart(self, name: str) -> Chart:
        return self.query_one(f"#chart-{self.order.index(name)}", Chart)

    # where they stand

    def view_changed(self) -> None:
        """A chart's keys moved the cursor or the window of all charts."""
        bar = self.query_one("#hidden", Notice)
        text = self._hidden_text(self._no_room)
        if bool(text) != bar.display and not self.shown.enlarged:
            self.place()
        elif text:
            bar.show([text])
        self.draw()

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

    # keys: which are shown

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        match action:
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
            case "panel":
                return int(str(parameters[0])) <= len(self.order)
        return super().check_action(action, parameters)

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
