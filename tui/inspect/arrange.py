"""Where the inspector's panels go at a given size: a pure function."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ..screens.arrange import GAP, Place

PANELS = ("grid", "cell", "picture", "time", "slice")
GRID_FRAME = 3
"""Title, column numbers and legend."""
MIN_CELL_WIDTH, COMFORTABLE_CELL_WIDTH = 40, 75
MIN_GRID_WIDTH = 27
LEAST = {"grid": 9, "cell": 9, "picture": 9, "time": 6, "slice": 6}
CELL_FRAME = 11
"""Title, header, boxes and targets around the channels' rows."""


@dataclass(frozen=True)
class Plan:
    places: dict[str, Place] = field(default_factory=dict)
    no_room: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wishes:
    """What the panels would like: the grid's cells, the cell's rows, the slice's lines."""

    grid_w: int
    grid_h: int
    channels: int
    slice_rows: int = 0

    def least(self, name: str, height: int) -> int:
        if name == "slice":  # somebody asked for it
            return max(LEAST[name], min(self.slice_rows, height // 3))
        if name == "picture":
            return max(LEAST[name], min(13, height * 2 // 5))
        return LEAST[name]

    def height(self, name: str, width: int, height: int) -> int:
        match name:
            case "grid":
                return self.grid_h + GRID_FRAME
            case "cell":
                return self.channels + CELL_FRAME
            case "picture":
                return max(LEAST["picture"], round(width * 0.75 / 2) + 2)
            case "time":
                return max(LEAST["time"], min(10, height // 4))
            case _:
                return max(LEAST["slice"], min(self.slice_rows, height // 2))


def arrange(width: int, height: int, wanted: Collection[str], wishes: Wishes, top: int) -> Plan:
    """The grid at the left and the cell at the right; the picture below whichever leaves it more room, the
    other panels below the other. What has no room is named."""
    grid, cell = "grid" in wanted, "cell" in wanted
    rest = [name for name in ("picture", "slice", "time") if name in wanted]
    if not (grid and cell):
        names = [name for name in ("grid", "cell", *rest) if name in wanted]
        return _stack(names, 0, width, height, top, wishes)
    left = _left_width(width, wishes)
    plans = []
    for at_left in (True, False):
        others = [name for name in rest if name != "picture"]
        picture = ["picture"] if "picture" in rest else []
        first = _stack(["grid", *(picture if at_left else others)], 0, left, height, top, wishes)
        second = _stack(
            ["cell", *(others if at_left else picture)],
            left + GAP,
            width - left - GAP,
            height,
            top,
            wishes,
        )
        missing = first.no_room + second.no_room
        ordered = tuple(name for name in PANELS if name in missing)
        plans.append(Plan(first.places | second.places, ordered))
    return max(plans, key=lambda plan: (-len(plan.no_room), _grid_rows(plan, wishes), _picture_size(plan)))


def _grid_rows(plan: Plan, wishes: Wishes) -> int:
    """Rows of the grid and the cell's table that can be seen."""
    grid = min(plan.places["grid"].height, wishes.grid_h + GRID_FRAME)
    return grid + min(plan.places["cell"].height, wishes.channels + CELL_FRAME)


def _picture_size(plan: Plan) -> float:
    """The width that a 4:3 picture gets."""
    place = plan.places.get("picture")
    return min(place.width, (place.height - 2) * 8 / 3) if place else 0


def _left_width(width: int, wishes: Wishes) -> int:
    """As wide as the grid at the widest cells that leave the cell's table its room."""
    label = len(str(wishes.grid_h - 1)) + 1
    for cells, keep in (
        (3, COMFORTABLE_CELL_WIDTH),
        (2, COMFORTABLE_CELL_WIDTH),
        (1, COMFORTABLE_CELL_WIDTH),
    ):
        needed = label + cells * wishes.grid_w
        if needed <= width - keep - GAP:
            return max(needed, MIN_GRID_WIDTH, min(round(width * 0.34), width - keep - GAP))
    for cells in (2, 1):  # a narrower table
        needed = label + cells * wishes.grid_w
        if needed <= width - MIN_CELL_WIDTH - 6 - GAP:
            return max(needed, MIN_GRID_WIDTH)
    return max(MIN_GRID_WIDTH, min(round(width * 0.5), width - MIN_CELL_WIDTH - GAP))


def _stack(names: Sequence[str], x: int, width: int, height: int, top: int, wishes: Wishes) -> Plan:
    """One column of panels from the top down, the first the most important."""
    shown: list[str] = []
    heights: dict[str, int] = {}
    used = 0
    for name in names:
        # a picture or a chart is no use if the grid above it can only be seen through a slit
        least = wishes.least(name, height) if shown else min(wishes.height(name, width, height), 15, height)
        if used + least <= height or not shown:
            shown.append(name)
            heights[name] = least
            used += least
    no_room = tuple(name for name in names if name not in shown)
    spare = height - used
    for name in shown:
        more = min(max(0, wishes.height(name, width, height) - heights[name]), max(0, spare))
        heights[name] += more
        spare -= more
    if shown and spare > 0:
        growing = next((name for name in ("picture", "slice", "time") if name in shown), shown[-1])
        heights[growing] += spare
    places, y = {}, top
    for name in shown:
        places[name] = Place(x, y, width, heights[name])
        y += heights[name]
    return Plan(places, no_room)
