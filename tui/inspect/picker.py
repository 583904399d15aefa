"""A list to choose from, narrowed by typing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widget import Widget

from ..format import shorten
from ..keys import bindings

T = TypeVar("T")


@dataclass(frozen=True)
class Choice(Generic[T]):
    name: str
    text: str
    value: T


class Picker(ModalScreen[T]):
    """Gives the chosen value, None where none was taken. Every typed word must occur in a line."""

    key_scopes = ("picker",)
    BINDINGS = bindings("picker")
    COMPONENT_CLASSES: ClassVar = set()

    def __init__(self, title: str, choices: list[Choice[T]], start: int = 0) -> None:
        super().__init__()
        self.title_text, self.choices = title, choices
        self.typed = ""
        self.at = start

    def compose(self) -> ComposeResult:
        yield PickerList(self)

    def fitting(self) -> list[Choice[T]]:
        words = self.typed.lower().split()
        return [c for c in self.choices if all(word in f"{c.name} {c.text}".lower() for word in words)]

    def on_key(self, event: events.Key) -> None:
        if event.key == "backspace":
            self.typed, self.at = self.typed[:-1], 0
        elif event.is_printable and event.character:
            self.typed, self.at = self.typed + event.character, 0
        else:
            return
        event.stop()
        self.query_one(PickerList).refresh()

    def action_cursor(self, by: int) -> None:
        self.at = min(max(self.at + by, 0), max(0, len(self.fitting()) - 1))
        self.query_one(PickerList).refresh()

    def action_choose(self) -> None:
        fitting = self.fitting()
        if fitting:
            self.dismiss(fitting[self.at].value)

    def action_cancel(self) -> None:
        self.dismiss(None)


class PickerList(Widget):
    COMPONENT_CLASSES: ClassVar = {
        "picker--title",
        "picker--name",
        "picker--text",
        "picker--cursor",
        "picker--typed",
    }

    def __init__(self, picker: Picker[T]) -> None:
        super().__init__(id="picker")
        self.picker = picker
        self.styles.height = min(len(picker.choices) + 4, 24)

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        picker, base = self.picker, self.rich_style
        fitting = picker.fitting()

        def style(name: str) -> Style:
            return base + self.get_component_rich_style(f"picker--{name}")

        def line(*pieces: tuple[str, str]) -> Strip:
            return Strip([Segment(text, style(name)) for text, name in pieces]).adjust_cell_length(
                width, base
            )

        if y == 0:
            count = f"{len(fitting)} of {len(picker.choices)}" if picker.typed else f"{len(picker.choices)}"
            return line((f" {picker.title_text}", "title"), (f"  {count}", "text"))
        if y == 1:
            return line(
                (" > ", "text"),
                (picker.typed, "typed"),
                ("▏", "title"),
                ("" if picker.typed else " type to search", "text"),
            )
        if y == height - 1:
            return line((" enter takes it · ↑↓ · esc takes none", "text"))
        rows = height - 3
        first = max(0, min(picker.at - rows // 2, len(fitting) - rows))
        k = first + y - 2
        if not fitting and y == 2:
            return line((" nothing fits; backspace", "text"))
        if k >= len(fitting):
            return Strip.blank(width, base)
        choice = fitting[k]
        size = min(28, max(len(c.name) for c in picker.choices) + 2)
        name, text = (
            f"{'▸' if k == picker.at else ' '} {shorten(choice.name, size - 1):<{size}}",
            shorten(choice.text, width - size - 3),
        )
        return line(
            (name, "cursor" if k == picker.at else "name"), (text, "cursor" if k == picker.at else "text")
        )

    def on_click(self, event: events.Click) -> None:
        rows = self.size.height - 3
        fitting = self.picker.fitting()
        first = max(0, min(self.picker.at - rows // 2, len(fitting) - rows))
        k = first + event.y - 2
        if 0 <= event.y - 2 < rows and k < len(fitting):
            self.picker.at = k
            self.picker.action_choose()
