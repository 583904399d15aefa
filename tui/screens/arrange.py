"""Where every panel goes at a given size: a pure function, so that no size needs a terminal to be tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

MIN_CHART_WIDTH, MIN_CHART_HEIGHT = 24, 4
"""A chart below this cannot be read: title, two rows of curve, x labels."""
MIN_TABLE_HEIGHT, MIN_LOG_HEIGHT = 4, 3
SIDE_BY_SIDE = 150
"""From this width the log stands beside the epoch table."""
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


def arrange(width: int, height: int, charts: Sequence[str], table: bool, log: bool, top: int = 0) -> Plan:
    """Divide ``width`` x ``height`` from row ``top`` on among the charts, the epoch table and the log."""
    tall = height >= MIN_CHART_HEIGHT + MIN_TABLE_HEIGHT
    beside = width >= SIDE_BY_SIDE and tall and table and log
    bottom = _bottom_height(height, bool(charts), table, log, beside)
    places: dict[str, Place] = {}
    no_room: list[str] = []
    chart_area = height - sum(bottom.values()) if not beside else height - max(bottom.values(), default=0)
    used = 0
    if charts:
        columns, rows, shown = _grid(width, chart_area, len(charts))
        no_room += charts[shown:]
        places |= _place_charts(list(charts[:shown]), width, chart_area, columns, rows, top)
        used = chart_area if shown else 0
    rest = height - used
    y = top + used
    if beside:
        left = width * 2 // 3
        places["epochs"] = Place(0, y, left, rest)
        places["log"] = Place(left + GAP, y, width - left - GAP, rest)
        return Plan(places, tuple(no_room))
    log_height = bottom.get("log", 0)
    table_height = rest - log_height if bottom.get("epochs") else 0
    if not bottom.get("epochs"):
        log_height = rest if log_height else 0
    for name, wanted, size in (("epochs", table, table_height), ("log", log, log_height)):
        if not wanted:
            continue
        if size < 2:
            no_room.append(name)
            continue
        places[name] = Place(0, y, width, size)
        y += size
    return Plan(places, tuple(no_room))


def _bottom_height(height: int, charts: bool, table: bool, log: bool, beside: bool) -> dict[str, int]:
    """Rows for the epoch table and the log: the charts come first, then the table, then the log."""
    if not charts:
        log_height = (max(MIN_LOG_HEIGHT, height // 3) if table else height) if log else 0
        if table and height - log_height < MIN_TABLE_HEIGHT:
            log_height = 0
        return {"epochs": height - log_height if table else 0, "log": log_height}
    if beside:
        size = max(MIN_TABLE_HEIGHT, height // 3)
        return {"epochs": size, "log": size}
    rest = height - 2 * MIN_CHART_HEIGHT
    table_height = max(MIN_TABLE_HEIGHT, round(height * 0.28)) if table and rest >= MIN_TABLE_HEIGHT else 0
    rest -= table_height
    log_height = max(MIN_LOG_HEIGHT, round(height * 0.16)) if log and rest >= MIN_LOG_HEIGHT else 0
    return {"epochs": table_height, "log": log_height}


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
