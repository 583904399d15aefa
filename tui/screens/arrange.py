"""Where every panel goes at a given size: a pure function, so that no size needs a terminal to be tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

MIN_CHART_WIDTH, MIN_CHART_HEIGHT = 24, 4
"""A chart below this cannot be read: title, two rows of curve, x labels."""
LEAST = {"epochs": 4, "findings": 3, "log": 3, "machine": 4}
"""Rows of the panels below the charts, the first to get room first."""
SHARE = {"epochs": 0.28, "findings": 0.16, "log": 0.16, "machine": 0.16}
"""The part of the height that they would like."""
MACHINE_HEIGHT = 7
"""The machine's panel needs no more."""
ROW_OF_THREE, SIDE_BY_SIDE = 100, 150
"""From these widths the small panels stand in a row of their own; beside the epoch table."""
GAP = 1


@dataclass(frozen=True)
class Place:
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Plan:
    places: dict[str, Place] = field(default_factory=dict)
    no_room: tuple[str, ...] = ()
    """Panels that were asked for and do not fit."""


@dataclass(frozen=True)
class Band:
    """Panels across the whole width: columns, each a stack of panels; ``shares`` of the width."""

    columns: tuple[tuple[str, ...], ...]
    shares: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for column in self.columns for name in column)

    @property
    def least(self) -> int:
        return max(LEAST[column[0]] for column in self.columns)

    def wish(self, height: int) -> int:
        if "epochs" in self.names and len(self.columns) > 1:
            return max(self.least, height // 3)
        share = max(SHARE[name] for name in self.names)
        rows = max(self.least, round(height * share))
        return max(rows, min(MACHINE_HEIGHT, height // 5)) if "machine" in self.names else rows


def arrange(width: int, height: int, charts: Sequence[str], lower: Sequence[str], top: int = 0) -> Plan:
    """Divide ``width`` x ``height`` from row ``top`` on among the charts and the panels below them.

    ``lower``: those wanted of ``LEAST``'s names. The charts come first, then the bands in their order.
    """
    bands = _bands(width, height, [name for name in LEAST if name in lower])
    left = height - (2 * MIN_CHART_HEIGHT if charts else 0)
    sizes: list[int] = []
    for band in bands:
        size = min(band.wish(height), left) if left >= band.least else 0
        sizes.append(size)
        left -= size
    places: dict[str, Place] = {}
    no_room: list[str] = []
    y = top
    if charts:
        area = height - sum(sizes)
        columns, rows, shown = _grid(width, area, len(charts))
        no_room += charts[shown:]
        places |= _place_charts(list(charts[:shown]), width, area, columns, rows, top)
        y += area if shown else 0
    spare = top + height - y - sum(sizes)
    grows = next((k for k, size in enumerate(sizes) if size), 0)
    if sizes and (sizes[grows] or spare >= 2):
        sizes[grows] += spare
    for band, size in zip(bands, sizes, strict=True):
        no_room += _place_band(places, band, size, width, y)
        y += size
    return Plan(places, tuple(no_room))


def _bands(width: int, height: int, wanted: list[str]) -> list[Band]:
    if not wanted:
        return []
    if width < ROW_OF_THREE:
        return [Band(((name,),), (1,)) for name in wanted]
    tall = height >= MIN_CHART_HEIGHT + LEAST["epochs"]
    if width >= SIDE_BY_SIDE and tall:
        sides = [tuple(name for name in names if name in wanted) for names in (LEFT, RIGHT)]
        if all(sides):
            return [Band(tuple(sides), (2, 1))]
    small = tuple((name,) for name in wanted if name != "epochs")
    bands = [Band((("epochs",),), (1,))] if "epochs" in wanted else []
    return (
        [*bands, Band(small, tuple(3 if each == ("findings",) else 2 for each in small))] if small else bands
    )


LEFT, RIGHT = ("epochs", "findings"), ("log", "machine")


def _place_band(places: dict[str, Place], band: Band, size: int, width: int, y: int) -> list[str]:
    """Puts the band's panels there; returns those for which it is not high enough."""
    if size < 2:
        return list(band.names)
    no_room: list[str] = []
    whole, x = sum(band.shares), 0
    for k, column in enumerate(band.columns):
        right = (width + GAP) * sum(band.shares[: k + 1]) // whole - GAP
        below = column[1:] if size >= LEAST[column[0]] + sum(LEAST[name] for name in column[1:]) else ()
        no_room += column[1:] if not below else ()
        under = {name: _under(name, size, len(column)) for name in below}
        places[column[0]] = Place(x, y, right - x, size - sum(under.values()))
        at = y + size - sum(under.values())
        for name, rows in under.items():
            places[name] = Place(x, at, right - x, rows)
            at += rows
        x = right + GAP
    return no_room


def _under(name: str, size: int, count: int) -> int:
    """Rows of a panel that stands under another."""
    wish = MACHINE_HEIGHT if name == "machine" else size // 3
    return max(LEAST[name], min(wish, size // count))


def _grid(width: int, height: int, count: int) -> tuple[int, int, int]:
    """Columns, rows and how many charts fit; of the grids that show all, the one of the best shape."""
    most_columns = max(1, (width + GAP) // (MIN_CHART_WIDTH + GAP))
    most_rows = max(0, height // MIN_CHART_HEIGHT)
    fitting = min(count, most_columns * most_rows)
    if not fitting:
        return 0, 0, 0
    best: tuple[float, int, int] | None = None
    for columns in range(1, min(most_columns, fitting) + 1):
        rows = -(-fitting // columns)
        if rows > most_rows:
            continue
        shape = (width / columns) / (height / rows)
        # A chart reads best at about five times as wide as high (in characters), and a grid without holes.
        score = abs(shape - 5) + 2 * (columns * rows - fitting)
        if best is None or score < best[0]:
            best = (score, columns, rows)
    assert best is not None
    return best[1], best[2], fitting


def _place_charts(
    names: list[str], width: int, height: int, columns: int, rows: int, top: int
) -> dict[str, Place]:
    places: dict[str, Place] = {}
    for row in range(rows):
        y, end = row * height // rows, (row + 1) * height // rows
        line = names[row * columns : (row + 1) * columns]
        for k, name in enumerate(line):
            x, right = k * (width + GAP) // len(line), (k + 1) * (width + GAP) // len(line) - GAP
            places[name] = Place(x, top + y, right - x, end - y)
    return places
