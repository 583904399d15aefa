"""The input image with the boxes of the focused slot, told apart by their lines and letters."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from engine.inspection.cell import PixelBox

from ..format import shorten
from ..halfblock import half_block
from ..keys import bindings
from ..widgets.panel import Piece
from .panel import InspectPanel
from .state import Inspection

LINES = {
    "truth": "┌─┐│└┘",
    "anchor": "┌╌┐╎└┘",
    "decoded": "╔═╗║╚╝",
    "reference": "┏┅┓┇┗┛",
    "cell": "▛▀▜▌▙▟",
    "other": "┌┈┐┊└┘",
}
"""Corner, side, corner, side, corner, corner."""
LETTERS = {"truth": "T", "anchor": "A", "decoded": "D", "reference": "R"}
ZOOMS = (1, 2, 4)
MOST_DETAIL = 40
"""Columns below which the boxes of other truths would hide the picture."""


class PicturePanel(InspectPanel):
    key_scopes = ("cells",)
    BINDINGS = bindings("cells")
    COMPONENT_CLASSES: ClassVar = {
        "panel--truth",
        "panel--anchor",
        "panel--decoded",
        "panel--reference",
        "panel--cell",
        "panel--other",
    }
    help_title = "Picture"
    help_text = (
        "The image as the network saw it, with the boxes of the focused slot: T the truth (thin line), D "
        "the decoded prediction (double line), R the reference's (heavy dashes), A the anchor (dashes), the "
        "image's other truths (dots), and the cell itself (block). The cursor moves here as in the grid; + "
        "and - look closer at the cell."
    )

    def __init__(self, inspection: Inspection) -> None:
        super().__init__("picture")
        self.inspection = inspection
        self.number = "3"
        self.zoom = 1
        self._base: tuple[object, np.ndarray, float, tuple[float, float]] | None = None
        """Key, ``[2 * rows, columns, 3]`` RGB, scale, and the crop's left top corner."""
        self._styles: dict[tuple[int, ...], Style] = {}

    def content_key(self) -> object:
        inspection = self.inspection
        return (id(inspection.frame), inspection.slot, self.size, self.has_focus, self.zoom)

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        inspection = self.inspection
        left: list[Piece] = [self.name_piece(f"{self.number} picture")]
        paths = inspection.frame.snapshot.paths
        path = paths[inspection.slot.image] if inspection.slot.image < len(paths) else ""
        room = width - len(" picture  ") - 8
        name = path.rpartition("/")[2]
        if name and room > 6:
            left.append(("  " + shorten(name, room), "plain"))
        return left, [(f"x{self.zoom}", "dim")] if self.zoom > 1 else []

    def body(self, width: int, height: int) -> list[list[Piece]]:
        return []

    def _draw(self) -> list[Strip]:
        width, height = self.size
        title = self.strip(self._title_line(width), width)
        legend = self._legend(width)
        rows = height - 2 if height > 6 else height - 1
        picture = self._picture(width, rows)
        nothing = [self.strip([("no image was captured", "dim")], width)]
        lines = nothing if picture is None else picture
        drawn = [title, *lines[:rows], *([legend] if height > 6 else [])]
        return drawn[:height] + [Strip.blank(width, self.rich_style)] * (height - len(drawn))

    def _legend(self, width: int) -> Strip:
        table = self.inspection.table()
        pieces: list[Piece] = []
        for name, box in (
            ("truth", table.truth),
            ("decoded", table.decoded),
            ("reference", table.reference),
            ("anchor", table.anchor),
        ):
            if box is not None:
                pieces += [(f" {LINES[name][1] * 2}{LETTERS[name]}", name), (f" {name}", "dim")]
        return self.strip(pieces, width)

    def _picture(self, width: int, rows: int) -> list[Strip] | None:
        base = self._pixels(width, rows)
        if base is None:
            return None
        pixels, scale, (left, top) = base
        table = self.inspection.table()
        lines, columns = len(pixels) // 2, pixels.shape[1]
        over: dict[tuple[int, int], tuple[str, str]] = {}

        def frame(name: str, box: PixelBox | None) -> None:
            if box is not None and all(abs(v) < 1e6 for v in box):
                place = (
                    (box[0] - left) * scale,
                    (box[1] - top) * scale / 2,
                    (box[2] - left) * scale,
                    (box[3] - top) * scale / 2,
                )
                _frame(over, LINES[name], name, place, lines, columns, LETTERS.get(name, ""))

        focused = table.truth
        others = self.inspection.frame.truths(self.inspection.slot.image) if columns >= MOST_DETAIL else []
        for box, _ in others:
            if focused is None or any(abs(a - b) > 1 for a, b in zip(box, focused, strict=True)):
                frame("other", box)
        frame("cell", table.cell)
        frame("anchor", table.anchor)
        frame("reference", table.reference)
        frame("truth", table.truth)
        frame("decoded", table.decoded)
        fronts = {name: self.style_of(name).color for name in LINES}
        pad = Strip.blank((width - columns) // 2, self.rich_style)._segments
        upper, lower = (pixels[::2] >> 3 << 3).tolist(), (pixels[1::2] >> 3 << 3).tolist()
        strips = []
        for y in range(lines):
            segments = list(pad)
            text, style = "", None
            for x in range(columns):
                mark = over.get((y, x))
                if mark is None:
                    letter, each = "▀", self._style((*upper[y][x], *lower[y][x]), None)
                else:
                    ground = [
                        (a + b) // (2 if mark[1] == "other" else 3)
                        for a, b in zip(upper[y][x], lower[y][x], strict=True)
                    ]
                    letter, each = mark[0], self._style((*ground,), fronts[mark[1]])
                if each is style:
                    text += letter
                    continue
                if text:
                    segments.append(Segment(text, style))
                text, style = letter, each
            segments.append(Segment(text, style))
            strips.append(Strip(segments).adjust_cell_length(width, self.rich_style))
        return strips

    def _style(self, colours: tuple[int, ...], front: Color | None) -> Style:
        key = (*colours, hash(front)) if front is not None else colours
        style = self._styles.get(key)
        if style is None:
            if front is None:
                style = Style(color=Color.from_rgb(*colours[:3]), bgcolor=Color.from_rgb(*colours[3:]))
            else:
                style = Style(color=front, bgcolor=Color.from_rgb(*colours), bold=True)
            if len(self._styles) > 20_000:
                self._styles.clear()
            self._styles[key] = style
        return style

    def _pixels(self, width: int, rows: int) -> tuple[np.ndarray, float, tuple[float, float]] | None:
        inspection = self.inspection
        slot = inspection.slot
        at = (slot.head, slot.y, slot.x) if self.zoom > 1 else ()
        key = (id(inspection.frame), slot.image, width, rows, self.zoom, at)
        if self._base is not None and self._base[0] == key:
            return self._base[1:]
        image = inspection.frame.image(slot.image)
        if image is None or rows < 2 or width < 4:
            return None
        height, across = image.shape[:2]
        left = top = 0
        if self.zoom > 1:
            x1, y1, x2, y2 = inspection.table().cell
            size_w, size_h = across // self.zoom, height // self.zoom
            left = int(min(max((x1 + x2) / 2 - size_w / 2, 0), across - size_w))
            top = int(min(max((y1 + y2) / 2 - size_h / 2, 0), height - size_h))
            image = image[top : top + size_h, left : left + size_w]
        drawn = half_block(image, width, rows)
        self._base = (key, drawn.pixels, drawn.scale[0], (float(left), float(top)))
        return self._base[1:]

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()

    def action_move(self, down: int, right: int) -> None:
        self.inspection.move(down, right)
        self.screen.sync()  # type: ignore[attr-defined]

    def action_cell_width(self, by: int) -> None:
        self.zoom = ZOOMS[min(max(ZOOMS.index(self.zoom) + by, 0), len(ZOOMS) - 1)]
        self.invalidate()

    def copied_name(self) -> str:
        return "the image's path"

    def plain_text(self) -> str:
        return self.inspection.table().path


def _frame(
    over: dict[tuple[int, int], tuple[str, str]],
    lines: str,
    name: str,
    box: tuple[float, float, float, float],
    rows: int,
    columns: int,
    letter: str,
) -> None:
    """Put a rectangle's characters; sides outside the picture are left out."""
    x1, y1 = int(np.floor(box[0])), int(np.floor(box[1]))
    x2, y2 = max(x1, int(np.ceil(box[2])) - 1), max(y1, int(np.ceil(box[3])) - 1)
    if x2 < 0 or y2 < 0 or x1 >= columns or y1 >= rows or x2 - x1 > 4 * columns or y2 - y1 > 4 * rows:
        return
    for x in range(max(x1, 0), min(x2, columns - 1) + 1):
        for y in {y1, y2}:
            if 0 <= y < rows:
                over[y, x] = (lines[1], name)
    for y in range(max(y1, 0), min(y2, rows - 1) + 1):
        for x in {x1, x2}:
            if 0 <= x < columns:
                over[y, x] = (lines[3], name)
    for (y, x), corner in (
        ((y1, x1), lines[0]),
        ((y1, x2), lines[2]),
        ((y2, x1), lines[4]),
        ((y2, x2), lines[5]),
    ):
        if 0 <= y < rows and 0 <= x < columns:
            over[y, x] = (corner, name)
    if letter:
        spots = {"T": (y1, x1), "D": (y1, x2), "R": (y2, x2), "A": (y2, x1)}
        y, x = spots[letter]
        over[min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)] = (letter, name)
