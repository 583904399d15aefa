"""What the inspector's panels share: they copy through the screen, which says what it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from ..widgets.panel import Panel, Piece


class InspectPanel(Panel):
    key_scopes: tuple[str, ...] = ()
    COMPONENT_CLASSES: ClassVar = {"panel--cursor", "panel--nonfinite"}
    number = ""
    """The key that shows and hides it, printed before the name."""

    def __init__(self, name: str) -> None:
        super().__init__(name, id=name)
        self._styles_by_name: dict[str, Style] = {}

    def sync(self) -> None:
        """Draw what has changed."""
        self.invalidate()

    def invalidate(self, force: bool = False) -> bool:
        """As a panel's, but only the lines that have changed are painted again."""
        if not self.display or not self.size:
            self._drawn = None
            return False
        wanted = self.content_key()
        if not force and wanted == self._drawn:
            return False
        self._drawn = wanted
        before, self._frame = self._frame, self._draw()
        if force or before is None or len(before) != len(self._frame):
            self.refresh()
            return True
        width = self.size.width
        changed = [
            Region(0, y, width, 1)
            for y, pair in enumerate(zip(before, self._frame, strict=True))
            if pair[0] != pair[1]
        ]
        if changed:
            self.refresh(*changed)
        return True

    def style_of(self, name: str) -> Style:
        style = self._styles_by_name.get(name)
        if style is None:
            style = self._styles_by_name[name] = super().style_of(name)
        return style

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles_by_name.clear()

    def strip(self, pieces: Sequence[Piece], width: int) -> Strip:
        base = self.rich_style
        segments = [Segment(text, base + self.style_of(name)) for text, name in pieces if text]
        return Strip(segments).adjust_cell_length(width, base)

    def copied_name(self) -> str:
        """What ``y`` copies, in words."""
        return f"the panel {self.panel_name}"

    def action_copy(self) -> None:
        self.screen.copy(self.plain_text(), self.copied_name())  # type: ignore[attr-defined]
