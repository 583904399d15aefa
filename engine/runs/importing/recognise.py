"""Which form a log has, from what stands in it, never from its name."""

from __future__ import annotations

from collections.abc import Iterable

from .coco_summary import CocoSummaryReader
from .columns import ColumnsReader
from .console_table import ConsoleTableReader
from .darknet import DarknetReader
from .json_lines import JsonLinesReader
from .pairs import BEGINS, PairReader, PairSurvey
from .points import Point, Reader
from .text import LogFile, Piece

LOOKED_AT = 10_000
"""Pieces after which what was found decides; where nothing was, the whole file is looked at."""
_MADE: tuple[type[Reader], ...] = (DarknetReader, ColumnsReader, ConsoleTableReader, JsonLinesReader)


class Chain:
    """The file's own reader, and those of lines that stand in many logs beside it."""

    def __init__(self, main: Reader, beside: list[Reader]) -> None:
        self.main = main
        self._all = [main, *beside]

    @property
    def name(self) -> str:
        return self.main.name

    def read(self, text: str, line: int) -> list[Point] | None:
        for reader in self._all:
            points = reader.read(text, line)
            if points is not None:
                return points
        if BEGINS.search(text):
            return [Point(line, {}, begins=True)]
        return None

    def finish(self) -> list[Point]:
        return [point for reader in self._all for point in reader.finish()]


def recognise(file: LogFile) -> Chain | None:
    """The readers for ``file``; None where no line of it gives a value."""
    return _decide(file.pieces())


def _decide(pieces: Iterable[Piece]) -> Chain | None:
    counts = dict.fromkeys(_MADE, 0)
    readers: list[tuple[type[Reader], Reader]]
    readers = [(made, made()) for made in _MADE]
    survey = PairSurvey()
    for number, piece in enumerate(pieces):
        if not piece.text.strip():
            continue
        for made, reader in readers:
            points = reader.read(piece.text, piece.line)
            if points is not None:
                counts[made] += not any(point.begins for point in points)
                break
        else:
            survey.look(piece.text)
        if number > LOOKED_AT and (any(counts.values()) or survey.reader() is not None):
            break
    made = sorted(_MADE, key=lambda each: -counts[each])[0]
    pairs = survey.reader()
    if counts[made] and (pairs is None or counts[made] * 20 >= survey.lines_of(pairs)):
        return Chain(made(), [CocoSummaryReader()])
    return (
        Chain(pairs, [CocoSummaryReader(), *([ConsoleTableReader()] if counts[ConsoleTableReader] else [])])
        if pairs
        else None
    )


__all__ = ["Chain", "PairReader", "recognise"]
