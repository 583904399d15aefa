"""The answer to a slice: what it selects, its statistics, its values as a grid that scrolls."""

from __future__ import annotations

import itertools
import math

from engine.inspection.export import result_text
from engine.inspection.expression import Result

from ..format import digits3, shorten
from ..keys import bindings
from ..widgets.panel import Piece, fit
from .panel import InspectPanel

VALUE_WIDTH = 9
NOTHING = "type : and a slice as code has it, like pred[0, :, :, 2, 1:5] or mean(loss.lbox where mask > 0)"


class ResultPanel(InspectPanel):
    key_scopes = ("result",)
    BINDINGS = bindings("result")
    help_title = "Slice"
    help_text = (
        "The answer to what was typed after : . In the first line the shape with its axes' names and the "
        "channels that the slice selects; a warning where the channels on two sides of an operator are not "
        "the same. Then the statistics of the finite values, and the last two axes as a grid; . and , go "
        "through the axes before them. y copies the grid, S saves the whole result as .npy or .csv."
    )

    def __init__(self) -> None:
        super().__init__("slice")
        self.number = "5"
        self.result: Result | None = None
        self.step = 0
        self.leading: tuple[int, ...] = ()
        self.top = self.left = 0

    def show(self, result: Result, step: int) -> None:
        same = (
            self.result is not None and self.result.text == result.text and self.result.shape == result.shape
        )
        self.result, self.step = result, step
        if not same:
            self.leading = (0,) * len(result.leading_shape)
            self.top = self.left = 0
        self.invalidate(force=True)

    def content_key(self) -> object:
        return (id(self.result), self.leading, self.top, self.left, self.size, self.has_focus)

    # drawing

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        name = self.name_piece(f"{self.number} slice")
        if self.result is None:
            return [name], []
        return fit([name, (f"  {self.result.text}", "strong")], width - 4), [(f"step {self.step:,}", "dim")]

    def body(self, width: int, height: int) -> list[list[Piece]]:
        result = self.result
        if result is None:
            return [[(shorten(NOTHING, width), "dim")]]
        lines = self._about(result, width)
        if height - len(lines) < 2:
            return lines[:height]
        return [*lines, *self._values(result, width, height - len(lines))]

    def _about(self, result: Result, width: int) -> list[list[Piece]]:
        first: list[Piece] = []
        if result.channels:
            first.append((f"= {result.channel_text}  ", "strong"))
        first += [
            (result.shape_text if result.shape else "one number", "plain"),
            (f"  {result.dtype}", "dim"),
        ]
        lines = [fit(first, width)]
        if result.channels_clash:
            lines.append(fit([("the two sides hold different channels", "warn")], width))
        stats = result.statistics
        if stats.count > 1:
            parts: list[Piece] = [
                (f"{name} {digits3(value)}  ", "plain")
                for name, value in (
                    ("mean", stats.mean),
                    ("std", stats.std),
                    ("min", stats.min),
                    ("max", stats.max),
                )
            ]
            parts.append((f"of {stats.count:,}", "dim"))
            if stats.nan or stats.infinite:
                parts.append((f"  {stats.nan:,} NaN, {stats.infinite:,} infinite", "bad"))
            lines.append(fit(parts, width))
        if result.leading_shape:
            count = math.prod(result.leading_shape)
            text = f"{result.leading_text(self.leading)}  (1 of {count:,}; . and , go on)"
            lines.append(fit([(text, "plain")], width))
        return lines

    def _window(self, result: Result, width: int, rows: int) -> tuple[int, int, int]:
        """Rows and columns of values that fit, and the width of the row labels."""
        label = max((len(text) for text in result.row_labels(self.top, self.top + rows)), default=0) + 1
        return rows - 1, max(1, (width - label) // VALUE_WIDTH), label

    def _values(self, result: Result, width: int, height: int) -> list[list[Piece]]:
        grid = result.grid(self.leading)
        rows, columns, label = self._window(result, width, height)
        self.top = max(0, min(self.top, grid.shape[0] - rows))
        self.left = max(0, min(self.left, grid.shape[1] - columns))
        shown = grid[self.top : self.top + rows, self.left : self.left + columns]
        names = (
            result.column_labels(self.left, self.left + shown.shape[1])
            if result.shape
            else result.column_labels()
        )
        head: list[Piece] = [(" " * label + "".join(_short(n).rjust(VALUE_WIDTH) for n in names), "dim")]
        lines = [fit(head, width)]
        labels = result.row_labels(self.top, self.top + rows)
        for name, values in zip(labels, shown.tolist(), strict=False):
            line: list[Piece] = [(name.rjust(label - 1) + " ", "dim")]
            for value in values:
                text, style = value_text(value)
                line.append((text.rjust(VALUE_WIDTH), style))
            lines.append(line)
        if grid.shape[0] > rows or grid.shape[1] > columns:
            y, x = (self.top, self.top + shown.shape[0]), (self.left, self.left + shown.shape[1])
            where = f"rows {y[0]}-{y[1] - 1} of {grid.shape[0]}, columns {x[0]}-{x[1] - 1} of {grid.shape[1]}"
            told = fit([(f"{where}; the arrows scroll when this panel is focused", "warn")], width)
            # below the values where there is room, else over the last of several, never over the only one
            if len(lines) < height:
                lines.append(told)
            elif len(lines) > 2:
                lines[-1] = told
            else:
                lines[0] = told
        return lines

    # keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "shift":
            return self.result is not None and len(self.result.shape) > 0
        if action == "plane":
            return self.result is not None and math.prod(self.result.leading_shape) > 1
        return super().check_action(action, parameters)

    def action_shift(self, down: int, right: int) -> None:
        assert self.result is not None
        grid = self.result.grid(self.leading)
        self.top = min(max(0, self.top + down), max(0, grid.shape[0] - 1))
        self.left = min(max(0, self.left + right), max(0, grid.shape[1] - 1))
        self.invalidate()

    def action_plane(self, by: int) -> None:
        assert self.result is not None
        places = list(itertools.product(*(range(size) for size in self.result.leading_shape)))
        at = places.index(tuple(self.leading))
        self.leading = places[(at + by) % len(places)]
        self.invalidate()

    def copied_name(self) -> str:
        return "the slice"

    def plain_text(self) -> str:
        return result_text(self.result, self.leading) if self.result is not None else ""


def value_text(value: object) -> tuple[str, str]:
    if isinstance(value, bool):
        return ("true" if value else "."), ("strong" if value else "dim")
    assert isinstance(value, int | float)
    if isinstance(value, float) and not math.isfinite(value):
        return digits3(value), "nonfinite"
    return digits3(float(value)), "plain"


def _short(name: str) -> str:
    """A column's name; a place, ``[0, 12, 23, 1]``, without what is the same in all: brackets and blanks."""
    return shorten(name if len(name) < VALUE_WIDTH else name.strip("[]").replace(", ", ","), VALUE_WIDTH - 1)
