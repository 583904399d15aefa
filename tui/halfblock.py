"""A picture as half blocks: a cell of text shows two pixels, one above the other.

Boxes are drawn after the picture was scaled down, one pixel wide: drawn before, their lines would be
averaged away; labels are real characters, so that they can be read and copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from engine.data.drawing import class_colour, text_colour

Image = NDArray[np.uint8]
BGR = tuple[int, int, int]


@dataclass
class HalfBlock:
    """``pixels`` ``[2 * rows, columns, 3]`` BGR, and characters that stand over them by (row, column)."""

    pixels: Image
    letters: dict[tuple[int, int], tuple[str, BGR, BGR]] = field(default_factory=dict)
    """Character, its colour, the colour behind it."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Pixels here to a pixel of the picture, along x and y."""

    @property
    def columns(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def rows(self) -> int:
        return len(self.pixels) // 2

    def frame(self, box: Sequence[float], colour: BGR) -> tuple[int, int, int, int]:
        """Draw x1, y1, x2, y2 (pixels of the picture) one pixel wide; returns where it lies here."""
        across, down = self.scale
        height, width = self.pixels.shape[:2]
        x1, x2 = (int(np.clip(round(x * across), 0, width - 1)) for x in (box[0], box[2]))
        y1, y2 = (int(np.clip(round(y * down), 0, height - 1)) for y in (box[1], box[3]))
        self.pixels[[y1, y2], x1 : x2 + 1] = colour
        self.pixels[y1 : y2 + 1, [x1, x2]] = colour
        return x1, y1, x2, y2

    def write(self, text: str, row: int, column: int, colour: BGR) -> None:
        """Characters on a ground of ``colour``, cut at the border; those there already are kept."""
        row = min(max(0, row), self.rows - 1)
        column = min(max(0, column), max(0, self.columns - len(text)))
        for k, letter in enumerate(text[: self.columns - column]):
            self.letters.setdefault((row, column + k), (letter, text_colour(colour), colour))

    def segments(self) -> Iterator[list[Segment]]:
        """A list of segments a row, runs of equal cells joined."""
        for row in range(self.rows):
            line: list[Segment] = []
            before: tuple[str, BGR, BGR] | None = None
            text = ""
            for column in range(self.columns):
                cell = self.letters.get((row, column)) or (
                    "▀",
                    _bgr(self.pixels[2 * row, column]),
                    _bgr(self.pixels[2 * row + 1, column]),
                )
                if before is not None and cell[1:] == before[1:]:
                    text += cell[0]
                    continue
                if before is not None:
                    line.append(Segment(text, _style(before[1], before[2])))
                before, text = cell, cell[0]
            if before is not None:
                line.append(Segment(text, _style(before[1], before[2])))
            yield line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.segments():
            yield from line
            yield Segment.line()


def half_block(image: Image, columns: int, rows: int) -> HalfBlock:
    """The picture, its shape kept, as large as fits into ``columns`` x ``rows`` cells."""
    height, width = image.shape[:2]
    zoom = min(columns / width, 2 * rows / height)
    across, down = max(1, round(width * zoom)), max(2, 2 * round(height * zoom / 2))
    small = cv2.resize(image, (across, down), interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_NEAREST)
    return HalfBlock(np.ascontiguousarray(small), scale=(across / width, down / height))


def detections_picture(
    image: Image, found: NDArray[np.float32], classes: Sequence[str], columns: int, rows: int
) -> HalfBlock:
    """The picture with ``found`` ``[M, 6]`` (x1, y1, x2, y2, score, class) framed and labelled."""
    picture = half_block(image, columns, rows)
    placed = []
    for *box, score, label in sorted(found.tolist(), key=lambda row: row[4]):
        placed.append((picture.frame(box, class_colour(int(label))), score, int(label)))
    # The strongest write first and keep their letters.
    for (x1, y1, x2, _), score, label in reversed(placed):
        text = f"{classes[label]} {score:.2f}"
        if len(text) > max(x2 - x1 + 1, 6):
            text = classes[label]
        picture.write(text, y1 // 2 - (1 if y1 >= 2 else 0), x1, class_colour(label))
    return picture


def _bgr(pixel: NDArray[np.uint8]) -> BGR:
    return int(pixel[0]), int(pixel[1]), int(pixel[2])


def _style(front: BGR, back: BGR) -> Style:
    return Style(color=_colour(front), bgcolor=_colour(back))


def _colour(bgr: BGR) -> Color:
    return Color.from_rgb(bgr[2], bgr[1], bgr[0])
