"""Which panels of the inspector are shown, where they stand, and which of them has the focus."""

from __future__ import annotations

from textual.screen import Screen
from textual.widget import Widget

from ..inspect.arrange import PANELS, Plan, Wishes, arrange
from ..inspect.lines import CommandLine, Line, Tone, Verdict, Where
from ..inspect.panel import InspectPanel
from ..inspect.result_panel import ResultPanel
from ..inspect.state import Inspection
from ..session import RunControl
from ..widgets.bars import Footer, Notice
from .arrange import Place as Spot

VERDICT_LINES = 3


class InspectPanels(Screen[None]):
    """Arranges the panels; what they show is the business of who derives from it."""

    def __init__(self, control: RunControl | None) -> None:
        super().__init__()
        self.control = control
        self.inspection: Inspection | None = None
        self.hidden: set[str] = set()
        self.enlarged: str | None = None
        self._no_room: tuple[str, ...] = ()
        self._placed: object = None

    def sync(self) -> None:
        """Everything that can be seen and has changed."""
        raise NotImplementedError

    def sync_lines(self, inspection: Inspection) -> None:
        """The lines above the panels."""
        raise NotImplementedError

    def action_command(self) -> None:
        """Open the command line."""
        raise NotImplementedError

    @property
    def _at(self) -> Inspection:
        assert self.inspection is not None  # ``check_action`` lets no key through before
        return self.inspection

    def say(self, text: str, tone: Tone = "plain") -> None:
        """What a key did, or why it did nothing."""
        self.query_one("#status", Line).show([(f" {text}", tone)])

    def panels(self) -> list[InspectPanel]:
        """In the order of their numbers."""
        return sorted(self.query(InspectPanel), key=lambda panel: panel.number)

    def panel(self, name: str) -> InspectPanel:
        return self.query_one(f"#{name}", InspectPanel)

    # where they stand

    def _shape(self) -> object:
        """What the arrangement depends on."""
        inspection = self.inspection
        if inspection is None:
            return self.size
        head = inspection.frame.heads[inspection.slot.head]
        rows = self.query_one(Verdict).rows_needed(inspection, self.size.width, self._verdict_lines())
        has_result = self.query_one(ResultPanel).result is not None
        many = self._has_something("time")
        return (
            self.size,
            head.grid_w,
            head.grid_h,
            rows,
            self.enlarged,
            frozenset(self.hidden),
            has_result,
            many,
        )

    def _verdict_lines(self) -> int:
        return min(VERDICT_LINES, max(2, self.size.height // 12))

    def on_resize(self) -> None:
        if self.inspection is None or self._shape() != self._placed:
            self.place()

    def place(self) -> None:
        """Put every panel where it belongs at this size, and name those that are not shown."""
        width, height = self.size
        if not width or not height:
            return
        self._placed = self._shape()
        inspection = self.inspection
        verdict = self.query_one(Verdict)
        rows = verdict.rows_needed(inspection, width, self._verdict_lines())
        top = 1 + rows
        _put(self.query_one(Where), Spot(0, 0, width, 1))
        verdict.display = rows > 0
        _put(verdict, Spot(0, 1, width, rows))
        _put(self.query_one("#status"), Spot(0, height - 2, width, 1))
        _put(self.query_one("#prompt"), Spot(0, height - 3, 2, 1))
        _put(self.query_one(CommandLine), Spot(2, height - 3, width - 2, 1))
        _put(self.query_one(Footer), Spot(0, height - 1, width, 1))
        missing = self.query_one("#missing", Notice)
        if inspection is None:
            missing.show(["Waiting for the first captured step: space lets training go on, s does one step."])
            _put(missing, Spot(0, max(1, height // 2), width, 1))
            self.sync()
            return
        rest = height - top - 2
        wanted = [name for name in PANELS if name not in self.hidden and self._has_something(name)]
        notice = ""
        if self.enlarged:
            places = {self.enlarged: Spot(0, top, width, rest)}
            self._no_room = ()
        else:
            plan = self._arrange(wanted, width, rest, top)
            notice = self._missing_text(plan.no_room)
            if notice:
                plan = self._arrange(wanted, width, rest - 1, top)
                notice = self._missing_text(plan.no_room)
            places, self._no_room = plan.places, plan.no_room
        missing.show([notice] if notice else [])
        missing.display = bool(notice)
        _put(missing, Spot(0, height - 3, width, 1))
        for panel in self.panels():
            spot = places.get(panel.panel_name)
            panel.display = spot is not None
            if spot:
                _put(panel, spot)
        self._keep_focus()
        self.sync_lines(inspection)
        self.call_after_refresh(self.sync)

    def _arrange(self, wanted: list[str], width: int, height: int, top: int) -> Plan:
        inspection = self.inspection
        assert inspection is not None
        head = inspection.frame.heads[inspection.slot.head]
        result = self.query_one(ResultPanel).result
        rows = 0 if result is None else 5 + (result.shape[-2] if len(result.shape) > 1 else 1)
        wishes = Wishes(head.grid_w, head.grid_h, 5 + head.classes, rows)
        return arrange(width, height, wanted, wishes, top)

    def _has_something(self, name: str) -> bool:
        """A slice is nothing before one was typed, time is nothing with one step that stays alone."""
        if name == "slice":
            return self.query_one(ResultPanel).result is not None
        return name != "time" or self.control is not None or len(self._at.steps()) > 1

    def _missing_text(self, no_room: tuple[str, ...]) -> str:
        parts = []
        hidden = [panel for panel in self.panels() if panel.panel_name in self.hidden]
        if no_room:
            names = "  ".join(f"{self.panel(name).number} {name}" for name in no_room)
            parts.append(f"no room: {names} (the number enlarges it)")
        if hidden:
            parts.append("hidden: " + "  ".join(f"{panel.number} {panel.panel_name}" for panel in hidden))
        return "   ".join(parts)

    def _keep_focus(self) -> None:
        focused = self.focused
        if isinstance(focused, InspectPanel) and not focused.display:
            shown = [panel for panel in self.panels() if panel.display]
            self.set_focus(shown[0] if shown else None)

    # keys: which are shown

    def action_panel(self, number: str) -> None:
        name = PANELS[int(number) - 1]
        if not self._has_something(name):
            if name == "slice":
                self.action_command()
            else:
                self.say("one captured step: there is no time to look at", "warn")
            return
        if self.enlarged and self.enlarged != name:
            self.enlarged = name
        elif self.enlarged:
            self.enlarged = None
        elif name in self._no_room:
            self.enlarged = name
        elif name in self.hidden:
            self.hidden.discard(name)
        elif len(self.hidden) < len(PANELS) - 1:
            self.hidden.add(name)
        self.place()
        if self.enlarged:
            self.set_focus(self.panel(name))

    def action_focus_panel(self, direction: int) -> None:
        shown = [panel for panel in self.panels() if panel.display]
        focused = self.focused
        at = shown.index(focused) if isinstance(focused, InspectPanel) and focused in shown else -1
        self.set_focus(shown[(at + direction) % len(shown)])
        self.query_one(Footer).invalidate()

    def action_enlarge(self) -> None:
        assert isinstance(self.focused, InspectPanel)
        self.enlarged = self.focused.panel_name
        self.place()

    def action_restore(self) -> None:
        self.enlarged = None
        self.place()


def _put(widget: Widget, spot: Spot) -> None:
    widget.styles.offset = (spot.x, spot.y)
    widget.styles.width, widget.styles.height = spot.width, max(0, spot.height)
