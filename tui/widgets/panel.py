"""The common form of all panels: a title rule, a body of lines, drawn from one list of strips a frame."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from ..format import shorten
from ..keys import bindings

Piece = tuple[str, str]
"""Text and the name of its style (a component class without its ``panel--``)."""


class Panel(Widget, can_focus=True):
    """A titled panel. Subclasses give ``title`` and ``body``; ``invalidate`` asks for a new frame."""

    key_scopes: tuple[str, ...] = ("panel",)
    BINDINGS = bindings("panel")
    COMPONENT_CLASSES: ClassVar = {
        "panel--rule",
        "panel--title",
        "panel--focus",
        "panel--strong",
        "panel--plain",
        "panel--dim",
        "panel--good",
        "panel--bad",
        "panel--warn",
        "panel--line",
        "panel--band",
        "panel--axis",
        "panel--overlay",
        "panel--mark",
    }
    help_title = ""
    help_text = ""

    def __init__(self, name: str, id: str | None = None) -> None:
        super().__init__(name=name, id=id)
        self.panel_name = name
        self._frame: list[Strip] | None = None
        self._drawn: object = None

    # for subclasses

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        """The pieces at the left and at the right of the title rule."""
        raise NotImplementedError

    def body(self, width: int, height: int) -> list[list[Piece]]:
        """At most ``height`` lines."""
        raise NotImplementedError

    def content_key(self) -> object:
        """Whatever the picture depends on: an equal key draws nothing."""
        return object()

    def plain_text(self) -> str:
        """What ``y`` copies: the panel as it stands."""
        strips = self._frame or self._draw()
        return "\n".join(strip.text.rstrip() for strip in strips)

    # drawing

    def invalidate(self, force: bool = False) -> bool:
        """Draw again if something changed and the panel can be seen."""
        if not self.display or not self.size:
            self._drawn = None
            return False
        wanted = self.content_key()
        if not force and wanted == self._drawn:
            return False
        self._drawn = wanted
        self._frame = None
        self.refresh()
        return True

    def render_line(self, y: int) -> Strip:
        if self._frame is None or len(self._frame) != self.size.height:
            self._frame = self._draw()
        return self._frame[y] if y < len(self._frame) else Strip.blank(self.size.width, self.rich_style)

    def style_of(self, name: str) -> Style:
        return self.get_component_rich_style(f"panel--{name}")

    def _draw(self) -> list[Strip]:
        width, height = self.size
        lines = [self._title_line(width), *self.body(width, height - 1)]
        base = self.rich_style
        styles = {name: base + self.style_of(name) for line in lines for _, name in line}
        strips = [
            Strip([Segment(text, styles[name]) for text, name in line if text]).adjust_cell_length(
                width, base
            )
            for line in lines[:height]
        ]
        return strips + [Strip.blank(width, base)] * (height - len(strips))

    def _title_line(self, width: int) -> list[Piece]:
        left, right = self.title(width)
        marker: Piece = ("▸", "focus") if self.has_focus else ("─", "rule")
        used = sum(len(text) for text, _ in left) + 3
        right_width = sum(len(text) for text, _ in right)
        if right and used + right_width + 4 > width:
            left = fit(left, max(0, width - right_width - 7))
            used = sum(len(text) for text, _ in left) + 3
        line: list[Piece] = [marker, (" ", "rule"), *left, (" ", "rule")]
        rule = width - used - (right_width + 3 if right else 0)
        line.append(("─" * max(0, rule), "rule"))
        if right:
            line += [(" ", "rule"), *right, (" ", "rule"), ("─", "rule")]
        return line

    def name_piece(self, text: str) -> Piece:
        return (text, "focus" if self.has_focus else "title")

    def on_focus(self) -> None:
        self.invalidate(force=True)

    def on_blur(self) -> None:
        self.invalidate(force=True)

    def on_resize(self, _: events.Resize) -> None:
        self.invalidate(force=True)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._frame = None

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.plain_text())
        self.app.notify(f"Copied the panel {self.panel_name!r}.", timeout=2)


class ScrollingPanel(Panel):
    """A panel of lines, of which the newest are shown unless somebody scrolled back.

    Subclasses give ``line_total`` and ``lines(first, count, width)``, and ``head`` lines that stay.
    """

    key_scopes: tuple[str, ...] = ("scrolling", "panel")
    BINDINGS = bindings("scrolling")
    head = 0

    def __init__(self, name: str, id: str | None = None) -> None:
        super().__init__(name, id)
        self.back = 0
        """Lines between the last one shown and the newest."""

    def line_total(self) -> int:
        raise NotImplementedError

    def lines(self, first: int, count: int, width: int) -> list[list[Piece]]:
        raise NotImplementedError

    def head_lines(self, width: int) -> list[list[Piece]]:
        return []

    def window(self, rows: int) -> tuple[int, int]:
        """First line and one past the last line that fit into ``rows``."""
        total = self.line_total()
        self.back = max(0, min(self.back, total - rows))
        end = total - self.back
        return max(0, end - rows), end

    def body(self, width: int, height: int) -> list[list[Piece]]:
        first, end = self.window(max(0, height - self.head))
        return self.head_lines(width) + self.lines(first, end - first, width)

    def position(self) -> str:
        """``3-9 of 40`` where not everything fits."""
        first, end = self.window(max(0, self.size.height - 1 - self.head))
        total = self.line_total()
        return f"{first + 1}-{end} of {total}" if end - first < total else ""

    def action_scroll(self, lines: int) -> None:
        self.back = max(0, self.back - lines)
        self.invalidate(force=True)

    def action_page(self, pages: int) -> None:
        self.action_scroll(pages * max(1, self.size.height - 2 - self.head))

    def action_edge(self, side: int) -> None:
        self.back = self.line_total() if side < 0 else 0
        self.invalidate(force=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("scroll", "page", "edge"):
            first, _ = self.window(max(0, self.size.height - 1 - self.head))
            backwards = parameters[0] == -1
            return first > 0 if backwards else self.back > 0
        return super().check_action(action, parameters)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_scroll(-1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_scroll(1)


def fit(pieces: list[Piece], width: int) -> list[Piece]:
    """Pieces cut to ``width`` characters, the cut marked."""
    fitted: list[Piece] = []
    for text, name in pieces:
        room = width - sum(len(part) for part, _ in fitted)
        if room <= 0:
            break
        fitted.append((shorten(text, room), name))
    return fitted
