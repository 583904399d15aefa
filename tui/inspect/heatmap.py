"""The grid of a quantity as a heat map. Only lines that can be seen and have changed are drawn."""

from __future__ import annotations

import math

import numpy as np
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip

from ..format import digits3
from ..keys import bindings
from ..widgets.panel import Piece, fit
from .colours import LEVELS, RGB, cell_styles, shade
from .glyphs import NUMBER_WIDTH, TRUTH, bracketed, cell_text, joined, levels_of, nonfinite_text, styled
from .panel import InspectPanel
from .state import Inspection

WIDTHS = (1, 2, 3, NUMBER_WIDTH)
"""Columns a cell: shade alone; mark and shade; mark and two shades; the number itself."""
HEAD_LINES = 2


class HeatMap(InspectPanel):
    key_scopes = ("cells",)
    BINDINGS = bindings("cells")
    help_title = "Grid"
    help_text = (
        "One quantity at every cell of the grid, at one anchor (or, with *, at each cell the anchor that "
        "stands out). The shade · ░ ▒ ▓ █ is the size, the sign before it + or -; ● marks a cell that holds "
        "a truth, ⊕ and ⊖ one with its sign. NaN and infinities are spelled out, ! where a cell is one "
        "column wide. [ ] is the focused cell, its number stands in the title. The colours keep their "
        "meaning through all steps; u fits them to this step. Quantities of truths alone (iou, error) leave "
        "the other cells empty."
    )

    def __init__(self, inspection: Inspection) -> None:
        super().__init__("grid")
        self.inspection = inspection
        self.number = "1"
        self.wanted_width = 0
        """Columns a cell; 0: as wide as lets the whole grid be seen."""
        self.top = self.left = 0
        self._lines: dict[int, Strip] = {}
        self._seen: tuple[object, ...] = ()
        self._at = (-1, -1)
        self._paint: tuple[bool, RGB, bool, int] = (True, (0, 0, 0), False, 0)
        self._glyphs: dict[tuple[int, bool], list[tuple[str, Style]]] = {}
        """A cell's pieces by level and truth, as ``_paint`` has them."""

    # geometry

    def cell_width(self) -> int:
        if self.wanted_width:
            return self.wanted_width
        return best_cell_width(self.size.width, self._grid_wh()[0], self._grid_wh()[1])

    def _grid_wh(self) -> tuple[int, int]:
        head = self.inspection.frame.heads[self.inspection.slot.head]
        return head.grid_w, head.grid_h

    def label_width(self) -> int:
        return len(str(self._grid_wh()[1] - 1)) + 1

    def window(self) -> tuple[int, int]:
        """Rows and columns of cells that fit."""
        rows = max(1, self.size.height - HEAD_LINES - 1)
        columns = max(1, (self.size.width - self.label_width()) // self.cell_width())
        grid_w, grid_h = self._grid_wh()
        return min(rows, grid_h), min(columns, grid_w)

    def _keep_in_view(self) -> None:
        rows, columns = self.window()
        grid_w, grid_h = self._grid_wh()
        slot = self.inspection.slot
        self.top = _scroll(self.top, slot.y, rows, grid_h)
        self.left = _scroll(self.left, slot.x, columns, grid_w)

    # drawing

    def sync(self) -> None:
        """Draw what has changed since last time."""
        if not self.display or not self.size:
            self._seen = ()
            return
        self._keep_in_view()
        slot = self.inspection.slot
        seen = (
            self.inspection.grid_key(),
            self.top,
            self.left,
            self.cell_width(),
            self.size,
            self.has_focus,
            self.inspection.fixed_scale,
        )
        at = (slot.y, slot.x)
        if seen != self._seen:
            self._lines.clear()
            self.refresh()
        elif at != self._at:
            for y in (0, 1, *(HEAD_LINES + row - self.top for row in {self._at[0], slot.y})):
                self._lines.pop(y, None)
                self.refresh(Region(0, y, self.size.width, 1))
        self._seen, self._at = seen, at

    def invalidate(self, force: bool = False) -> bool:
        if force:
            self._seen = ()
        self.sync()
        return True

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._lines.clear()
        self._seen = ()

    def render_line(self, y: int) -> Strip:
        if not self._lines:  # a first frame is drawn before anybody has told this panel its size
            self._keep_in_view()
        strip = self._lines.get(y)
        if strip is None:
            strip = self._lines[y] = self._line(y)
        return strip

    def _line(self, y: int) -> Strip:
        width, height = self.size
        if y == 0:
            return self.strip(self._title_line(width), width)
        if y == 1:
            return self._column_numbers(width)
        if y == min(height - 1, HEAD_LINES + self.window()[0]):
            return self._legend(width)
        row = self.top + y - HEAD_LINES
        if row < self._grid_wh()[1] and y - HEAD_LINES < self.window()[0]:
            return self._cells(row, width)
        return Strip.blank(width, self.rich_style)

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        inspection = self.inspection
        shown, slot = inspection.shown, inspection.slot
        value = inspection.value()
        text = (
            "no truth"
            if math.isnan(value) and shown.masked and not self._truth(slot.y, slot.x)
            else digits3(value)
        )
        left: list[Piece] = [
            self.name_piece(f"{self.number} {shown.name}"),
            (f"  [{slot.y}, {slot.x}] ", "dim"),
            (text, "strong"),
        ]
        rows, columns = self.window()
        grid_w, grid_h = self._grid_wh()
        parts = []
        if rows < grid_h:
            parts.append(f"y {self.top}-{self.top + rows - 1} of {grid_h}")
        if columns < grid_w:
            parts.append(f"x {self.left}-{self.left + columns - 1} of {grid_w}")
        used = sum(len(piece) for piece, _ in left)
        if len(shown.description) + used + 4 + sum(map(len, parts)) + 8 < width:
            left.append((f"  {shown.description}", "plain"))
        return left, [(" · ".join(parts), "dim")] if parts else []

    def _truth(self, y: int, x: int) -> bool:
        return bool(self.inspection.truths()[y, x])

    def _column_numbers(self, width: int) -> Strip:
        cell, label = self.cell_width(), self.label_width()
        columns = self.window()[1]
        text = [" "] * (label + columns * cell + 4)
        text[: label - 1] = "y\\x".rjust(label - 1)[-(label - 1) :] if label > 3 else "".rjust(label - 1)
        focused = self.inspection.slot.x
        every = next(n for n in (1, 2, 5, 10, 20) if n * cell >= len(str(self._grid_wh()[0])) + 1)
        numbers = [
            focused,
            *(x for x in range(self.left, self.left + columns) if x % every == 0 and x != focused),
        ]
        spot = (0, 0)
        for x in numbers:
            at, name = label + (x - self.left) * cell, str(x)
            at += max(0, (cell - len(name) + 1) // 2) if cell > 1 else 0
            at = min(at, len(text) - len(name))
            if all(c == " " for c in text[max(label, at - 1) : at + len(name) + 1]):
                text[at : at + len(name)] = name
                if x == focused:
                    spot = (at, at + len(name))
        line = "".join(text)
        dim, strong = "dim", "focus"
        pieces = [(line[: spot[0]], dim), (line[spot[0] : spot[1]], strong), (line[spot[1] :], dim)]
        return self.strip(fit(pieces, width), width)

    def _cells(self, row: int, width: int) -> Strip:
        inspection = self.inspection
        columns, cell = self.window()[1], self.cell_width()
        shown = inspection.shown
        diverging = shown.scale == "diverging"
        paint = (self._dark(), self._ground(), diverging, cell)
        if paint != self._paint:
            self._paint, self._glyphs = paint, {}
        values = inspection.grid()[row, self.left : self.left + columns]
        truths = inspection.truths()[row, self.left : self.left + columns].tolist()
        finite = np.isfinite(values)
        levels = levels_of(np.where(finite, values, 0), inspection.scale(), diverging).tolist()
        focused = inspection.slot.x - self.left if inspection.slot.y == row else -1
        base = self.rich_style
        label = base + self.style_of("focus" if focused >= 0 else "dim")
        pieces: list[tuple[str, Style]] = [(str(row).rjust(self.label_width() - 1) + " ", label)]
        for k, (level, truth, known) in enumerate(zip(levels, truths, finite.tolist(), strict=True)):
            if k != focused and known and cell != NUMBER_WIDTH:
                glyph = self._glyphs.get((level, truth))
                if glyph is None:
                    glyph = self._glyphs[level, truth] = self._glyph(level, truth)
                pieces += glyph
                continue
            value = float(values[k])
            if not known and shown.masked and not truth and value != value:
                mark, body, bad = " ", " " * max(1, cell - 1), False
            elif not known:
                mark, body, bad = *nonfinite_text(value, cell), True
            else:
                mark, body, bad = *cell_text(value, level, truth, diverging, cell), False
            if k == focused:
                style = base + self.style_of("nonfinite" if bad else "cursor")
                pieces.append((bracketed(mark, body, cell), style + Style(reverse=True) if bad else style))
            elif bad:
                pieces.append((mark + body if cell > 1 else mark, base + self.style_of("nonfinite")))
            else:
                pieces += styled(mark, body, cell_styles(*paint[:2], level if known else 0, diverging), cell)
        return Strip(joined(pieces)).adjust_cell_length(width, base)

    def _glyph(self, level: int, truth: bool) -> list[tuple[str, Style]]:
        dark, ground, diverging, cell = self._paint
        mark, body = cell_text(level, level, truth, diverging, cell)
        return styled(mark, body, cell_styles(dark, ground, level, diverging), cell)

    def _legend(self, width: int) -> Strip:
        inspection = self.inspection
        low, high = inspection.scale()
        base = self.rich_style
        dark, ground = self._dark(), self._ground()
        diverging = inspection.shown.scale == "diverging"
        pieces: list[tuple[str, Style]] = [(f" {digits3(low)} ", base + self.style_of("dim"))]
        shares = (
            [-0.9, -0.65, -0.4, -0.15, 0.0, 0.15, 0.4, 0.65, 0.9]
            if diverging
            else [0.0, 0.15, 0.4, 0.65, 0.9]
        )
        for share in shares:
            style, mark = cell_styles(dark, ground, round(share * LEVELS), diverging)
            sign = ("-" if share < 0 else "+" if share > 0 else " ") if diverging else ""
            pieces += [(sign, mark), (shade(abs(share)), style)]
        pieces.append((f" {digits3(high)}", base + self.style_of("dim")))
        note = (
            ""
            if inspection.shown.scale == "unit"
            else " all steps"
            if inspection.fixed_scale
            else " this step"
        )
        room = width - sum(len(text) for text, _ in pieces)
        words = [note, f"  {TRUTH} truth" if inspection.frame.positives(0) is not None else "", "  [ ] focus"]
        for word in words:
            if len(word) <= room:
                pieces.append((word, base + self.style_of("dim")))
                room -= len(word)
        return Strip(joined(pieces)).adjust_cell_length(width, base)

    def _dark(self) -> bool:
        return self.app.current_theme.dark

    def _ground(self) -> RGB:
        colour = self.background_colors[1]
        return colour.r, colour.g, colour.b

    # keys

    def action_move(self, down: int, right: int) -> None:
        self.inspection.move(down, right)
        self.screen.sync()  # type: ignore[attr-defined]

    def action_cell_width(self, by: int) -> None:
        now = WIDTHS.index(self.cell_width())
        self.wanted_width = WIDTHS[min(max(now + by, 0), len(WIDTHS) - 1)]
        self.screen.sync()  # type: ignore[attr-defined]

    def on_click(self, event: events.Click) -> None:
        self.focus()
        x = self.left + (event.x - self.label_width()) // self.cell_width()
        y = self.top + event.y - HEAD_LINES
        grid_w, grid_h = self._grid_wh()
        if 0 <= x < grid_w and 0 <= y < grid_h and event.x >= self.label_width():
            self.inspection.stand(self.inspection.slot._replace(y=y, x=x))
            self.screen.sync()  # type: ignore[attr-defined]

    def copied_name(self) -> str:
        return f"{self.inspection.quantity} at {self.inspection.slot}"

    def plain_text(self) -> str:
        return str(self.inspection.value())


def best_cell_width(width: int, grid_w: int, grid_h: int) -> int:
    """The widest of 3, 2 and 1 columns at which the whole grid fits. Where none does it
    scrolls."""
    label = len(str(grid_h - 1)) + 1
    whole = next((cell for cell in (3, 2, 1) if label + cell * grid_w <= width), 0)
    return whole or (2 if (width - label) // 2 * 2 >= grid_w else 1)


def _scroll(first: int, at: int, shown: int, size: int) -> int:
    """The first row shown, moved as little as keeps ``at`` in view with a margin."""
    margin = min(2, (shown - 1) // 2)
    if at < first + margin:
        first = at - margin
    elif at > first + shown - 1 - margin:
        first = at - shown + 1 + margin
    return max(0, min(first, size - shown))
