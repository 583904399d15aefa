"""The twelve lines in which COCO's evaluation states its result, as YOLOX, detectron2 and others do."""

from __future__ import annotations

import re

from .points import Point, Position
from .prefixes import split
from .values import NUMBER, printed

_LINE = re.compile(
    rf"Average (?P<kind>Precision|Recall)\s*\((?:AP|AR)\)\s*@\[\s*IoU=(?P<iou>[\d.:]+)\s*\|"
    rf"\s*area=\s*(?P<area>\w+)\s*\|\s*maxDets=\s*(?P<most>\d+)\s*\]\s*=\s*(?P<value>{NUMBER})",
    re.I,
)
_AREAS = {"small": "s", "medium": "m", "large": "l"}


class CocoSummaryReader:
    """Twelve lines become one evaluation, as soon as its last line, large objects' recall, comes."""

    name = "coco-summary"

    def __init__(self) -> None:
        self._point: Point | None = None

    def read(self, text: str, line: int) -> list[Point] | None:
        if "Average" not in text:
            return None
        match = _LINE.search(text)
        if match is None:
            return None
        name = _name(match)
        done: list[Point] = []
        if self._point is not None and (name in self._point.values or line > self._point.line + 40):
            done = self.finish()
        if self._point is None:
            self._point = Point(line, {}, Position(), "evaluation", clock=split(text)[1])
        value = printed(match["value"])
        if value.value >= 0:  # -1: no such object in the set
            self._point.values[name] = value
        if name == "ARl":
            done += self.finish()
        return done

    def finish(self) -> list[Point]:
        point, self._point = self._point, None
        return [point] if point is not None and point.values else []


def _name(match: re.Match[str]) -> str:
    area = _AREAS.get(match["area"], "")
    if match["kind"].lower() == "recall":
        return f"AR{area}" if area else f"AR{match['most']}"
    if area:
        return f"AP{area}"
    return "AP" if ":" in match["iou"] else f"AP{round(float(match['iou']) * 100)}"
