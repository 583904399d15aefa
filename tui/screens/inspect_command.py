"""The inspector's command line: slices as they are written in code, and places."""

from __future__ import annotations

from engine.inspection.expression import ExpressionError, complete, evaluate
from engine.inspection.jump import parse_slot

from ..inspect.lines import CommandLine, Line, caret_lines
from ..inspect.result_panel import ResultPanel
from ..widgets.bars import Footer
from .inspect_panels import InspectPanels


class InspectCommands(InspectPanels):
    def action_command(self) -> None:
        self._open_command("")

    def action_type_place(self) -> None:
        self._open_command("[")

    def _open_command(self, text: str) -> None:
        command = self.query_one(CommandLine)
        for widget in (command, self.query_one("#prompt")):
            widget.display = True
        command.open(text)
        self.set_focus(command)
        self.say(
            "pred[0, :, :, 2, 1:5] · loss.lbox where mask > 0 · [b, y, x, a] goes there · tab completes",
            "dim",
        )
        self.query_one(Footer).invalidate()

    def close_command(self) -> None:
        command = self.query_one(CommandLine)
        for widget in (command, self.query_one("#prompt")):
            widget.display = False
        panels = [panel for panel in self.panels() if panel.display]
        if panels:
            self.set_focus(panels[0])
        self.say("")
        self.query_one(Footer).invalidate()

    def run_command(self, text: str) -> None:
        """Show a slice, or go to a place; an error stays under the line that is typed."""
        if not text:
            self.close_command()
            return
        inspection = self._at
        try:
            if text.startswith("["):
                slot = parse_slot(text, inspection.frame, inspection.slot)
                inspection.jump(slot)
                self.close_command()
                self.say(f"at {slot}")
            else:
                result = evaluate(text, inspection.frame, inspection.slot.head)
                self.close_command()
                self.hidden.discard("slice")
                self.query_one(ResultPanel).show(result, inspection.step)
                if self.enlarged or "slice" in self._no_room:
                    self.enlarged = "slice"
                self.place()
                if "slice" in self._no_room:
                    self.enlarged = "slice"
                    self.place()
                if self.enlarged == "slice":
                    self.set_focus(self.query_one(ResultPanel))
        except ExpressionError as error:
            command = self.query_one(CommandLine)
            lead = len(command.value) - len(command.value.lstrip())
            lines = caret_lines(error, self.size.width, 2 + lead)
            self.query_one("#status", Line).show(*lines)
            command.cursor_position = min(len(command.value), error.column - 1 + lead)
        self.sync()

    def _complete(self, text: str, cursor: int) -> list[str]:
        return complete(text, cursor, self._at.frame, self._at.slot.head)
