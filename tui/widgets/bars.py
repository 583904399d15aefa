"""One-line bars: the keys that work now, the panels that are not shown, the end of the run."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.dom import DOMNode
from textual.strip import Strip
from textual.widget import Widget

from ..format import shorten
from ..keys import SCOPE_TITLES, Key, available

SCOPE_ORDER = tuple(SCOPE_TITLES)


class Footer(Widget):
    """Keys that work now, from the key table, the most important ones where not all fit."""

    COMPONENT_CLASSES: ClassVar = {"footer--key", "footer--label"}

    def __init__(self) -> None:
        super().__init__(id="footer")
        self._rows: list[tuple[DOMNode, Key]] = []
        self._spots: list[tuple[int, int, DOMNode, Key]] = []

    def invalidate(self) -> None:
        rows = [pair for pair in available(self.screen) if pair[1].footer]
        if rows != self._rows:
            self._rows = rows
            self.refresh()

    def shown(self, width: int) -> tuple[list[tuple[DOMNode, Key]], int]:
        """The rows that fit, the training's keys first and the way out last, and how many do not fit."""
        ranked = sorted(self._rows, key=lambda pair: pair[1].footer)
        chosen: list[tuple[DOMNode, Key]] = []
        used = 1
        for pair in ranked:
            size = _size(pair[1])
            reserve = 0 if len(chosen) + 1 == len(ranked) else len(" +10 in help")
            if used + size + reserve > width:
                break
            chosen.append(pair)
            used += size
        chosen.sort(key=lambda pair: SCOPE_ORDER.index(pair[1].scope))
        return chosen, len(self._rows) - len(chosen)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        base = self.rich_style
        key_style = base + self.get_component_rich_style("footer--key")
        label_style = base + self.get_component_rich_style("footer--label")
        chosen, missing = self.shown(width)
        segments: list[Segment] = [Segment(" ", base)]
        self._spots, at = [], 1
        for owner, row in chosen:
            segments += [Segment(row.shown, key_style), Segment(f" {row.label}  ", label_style)]
            self._spots.append((at, at + _size(row), owner, row))
            at += _size(row)
        if missing:
            segments.append(Segment(f"+{missing} in help", label_style))
        return Strip(segments).adjust_cell_length(width, base)

    async def on_click(self, event: events.Click) -> None:
        for start, end, owner, row in self._spots:
            if start <= event.x < end and len(row.keys) == 1:
                await self.app.run_action(row.action.format(key=row.keys[0]), owner)
                return


def _size(row: Key) -> int:
    return len(row.shown) + len(row.label) + 3


class Notice(Widget):
    """A line of text, or several, that stands only while there is something to say."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.lines: list[str] = []

    def show(self, lines: list[str]) -> bool:
        """Whether anything changed."""
        if lines == self.lines:
            return False
        self.lines = lines
        self.refresh()
        return True

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        text = self.lines[y] if y < len(self.lines) else ""
        return Strip([Segment(shorten(f" {text}", width), self.rich_style)]).adjust_cell_length(
            width, self.rich_style
        )
