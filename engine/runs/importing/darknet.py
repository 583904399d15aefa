"""Darknet's prints, of any of its versions: an iteration's line; before it, a line a head and subdivision.

    1631: 27.562284, 28.765835 avg, 0.001000 rate, 11.283772 seconds, 208768 images
     1632: 2.1, 2.2 avg loss, 0.001000 rate, 5.1 seconds, 104448 images, 3.2 hours left        (AlexeyAB's)
    Region Avg IOU: 0.49, Class: 0.91, Obj: 0.38, No Obj: 0.008, Avg Recall: 0.55,  count: 13  (YOLOv2)
    Region 82 Avg IOU: -nan, Class: -nan, Obj: -nan, No Obj: 0.00005, .5R: -nan, .75R: -nan,  count: 0   (v3)
    v3 (iou loss, Normalizer: (...)) Region 139 Avg (IOU: 0.31, GIOU: 0.2), ..., count: 3, loss = 1.2

A step is an iteration; a region's value is the mean over its subdivisions that held an object, boxes weighing
alike (``-nan`` beside ``count: 0`` is 0/0, not a failure).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from .points import Point, Position
from .values import NUMBER, Printed, printed

_STEP = re.compile(
    rf"^\s*(?P<n>\d+):\s*(?P<loss>{NUMBER}),\s*(?P<avg>{NUMBER}) avg(?: loss)?,\s*(?P<rate>{NUMBER}) rate,"
    rf"\s*(?P<seconds>{NUMBER}) seconds,\s*(?P<images>\d+) images",
    re.I,
)
_REGION = re.compile(
    r"\b(?P<kind>Region|Detection)(?:\s+(?P<head>\d+))?\s+Avg\s*\(?\s*(?:IOU|GIOU|DIOU|CIOU)\s*:", re.I
)
_PART = re.compile(rf"(?P<name>[A-Za-z.][\w. ]*?|\.\d+R)\s*[:=]\s*(?P<value>{NUMBER})", re.I)
_MAP = re.compile(
    rf"mean[_ ]average[_ ]precision \(mAP@0?\.?(?P<at>[\d.]+)\) = (?P<value>{NUMBER})|"
    rf"Last accuracy mAP@0?\.?(?P<at2>[\d.]+) = (?P<percent>{NUMBER}) ?%",
    re.I,
)
_CLASS = re.compile(rf"class_id = \d+, name = (?P<name>.+?),\s*(?:\d+\s+)?ap = (?P<ap>{NUMBER}) ?%", re.I)
BEGINS = re.compile(r"^\s*Learning Rate: [\d.e-]+, Momentum: [\d.e-]+, Decay:", re.I)


@dataclass(slots=True)
class _Mean:
    weighted: float = 0.0
    weight: float = 0.0
    poisoned: bool = False

    def add(self, value: float, weight: float) -> None:
        if math.isfinite(value):
            self.weighted += value * weight
            self.weight += weight
        else:
            self.poisoned = True

    @property
    def value(self) -> float:
        return self.weighted / self.weight if self.weight and not self.poisoned else math.nan


class DarknetReader:
    name = "darknet"

    def __init__(self) -> None:
        self._regions: dict[str, _Mean] = {}
        self._last = 0
        self._per_class: dict[str, float] = {}
        self._known: float | None = None
        """The last evaluation's score."""
        self._line = 0
        self.empty_regions = 0
        """Region lines whose head got no object."""
        self.regions = 0

    def read(self, text: str, line: int) -> list[Point] | None:
        self._line = line
        if "rate" in text and (step := _STEP.match(text)) is not None:
            return [self._step(step, line)]
        if "Avg" in text and (region := _REGION.search(text)) is not None:
            return self._region(region["head"], text[region.end("kind") :])
        if "mAP@" in text and (score := _MAP.search(text)) is not None:
            return self._score(score, line)
        if "class_id" in text and (each := _CLASS.search(text)) is not None:
            self._per_class[each["name"]] = float(each["ap"]) / 100
            return []
        if BEGINS.match(text):
            return [Point(line, {}, begins=True)]
        return None

    def finish(self) -> list[Point]:
        """Region lines after the last iteration's line belong to one that was not finished."""
        if not self._regions:
            return []
        return [Point(self._line, self._means(), Position(iteration=self._last + 1))]

    def _step(self, match: re.Match[str], line: int) -> Point:
        self._last = int(match["n"])
        values = {
            "loss": printed(match["loss"]),
            "avg loss": printed(match["avg"]),
            "rate": printed(match["rate"]),
            "time": printed(match["seconds"]),
        }
        values["lr"] = values.pop("rate")
        values |= self._means()
        return Point(line, values, Position(iteration=self._last), images=float(match["images"]))

    def _region(self, head: str | None, text: str) -> list[Point] | None:
        if head is not None:
            text = re.sub(r"^\s*\d+", "", text)
        text = re.sub(r"^\s*Avg\s*\(?", "", text).replace(")", "")
        found = {match["name"].strip(): printed(match["value"]).value for match in _PART.finditer(text)}
        if not found:
            return None
        count = found.pop("count", math.nan)
        self.regions += 1
        self.empty_regions += count == 0
        for name, value in found.items():
            objects = name.lower() in (
                "iou",
                "giou",
                "class",
                "obj",
                "avg recall",
                "cat",
                "pos cat",
                "pos obj",
            ) or name.endswith("R")
            if objects and count == 0:
                continue
            mean = self._regions.setdefault(f"{name} {head}" if head else name, _Mean())
            mean.add(value, count if objects and math.isfinite(count) else 1.0)
        if math.isfinite(count):
            self._regions.setdefault(f"count {head}" if head else "count", _Mean()).add(count, 1.0)
        return []

    def _means(self) -> dict[str, Printed]:
        means = {name: Printed(mean.value, 0.0) for name, mean in self._regions.items()}
        self._regions = {}
        return means

    def _score(self, match: re.Match[str], line: int) -> list[Point]:
        at = match["at"] or match["at2"]
        value = printed(match["value"]) if match["value"] else printed(match["percent"])
        if match["percent"]:
            value = Printed(value.value / 100, value.half / 100)
            # said again at every iteration until the next evaluation
            if self._known is not None and abs(value.value - self._known) <= value.half + 1e-9:
                return []
        self._known = value.value
        name = "mAP50" if at.rstrip("0") == "5" else f"mAP@.{at}"
        point = Point(line, {name: value}, Position(), "evaluation", per_class=self._per_class or None)
        self._per_class = {}
        return [point]
