"""Ultralytics' table on the console, of YOLOv5 to today: a header, a row that a progress bar rewrites, and
the validation's rows below.

      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size
      1/100      2.53G      1.158      1.466      1.231         51        640: 100%|##| 8/8 [00:04<00:00,]
                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95): 100%|##| 4/4
                   all        128        929      0.663      0.527      0.615      0.453
"""

from __future__ import annotations

import re

from .bar import find_bar
from .points import Point, Position
from .roles import in_bytes, role
from .values import NUMBER, printed

_HEADER = re.compile(r"^\s*Epoch\s+(?:gpu_mem|GPU_mem|mem)\b(?P<names>.*)", re.I)
_ROW = re.compile(r"^\s*(?P<epoch>\d+)/(?P<epochs>\d+)\s+(?P<memory>[\d.]+)(?P<unit>[GMK])?B?\s+(?P<rest>.+)")
_CLASSES = re.compile(
    r"^\s*Class\s+Images\s+(?:Instances|Labels|Targets)\s+(?P<names>.*?)(?::?\s+\d+%|:?\s*$|:\s)", re.I
)
_CLASS_ROW = re.compile(
    rf"^\s*(?P<name>\S.*?)\s+(?P<images>\d+)\s+(?P<objects>\d+)\s+(?P<rest>{NUMBER}(?:\s+{NUMBER})*)\s*$",
    re.I,
)
_BEGINS = re.compile(r"\bStarting training for \d+ epochs", re.I)


class ConsoleTableReader:
    name = "ultralytics-console"

    def __init__(self) -> None:
        self._names: list[str] = []
        self._scores: list[str] = []
        self._evaluation: Point | None = None

    def read(self, text: str, line: int) -> list[Point] | None:
        if (head := _HEADER.match(text)) is not None:
            self._names = head["names"].split()
            self._scores = []
            return None
        if (head := _CLASSES.match(text)) is not None:
            self._scores = [
                name.strip("():").replace("Box(", "").replace("Mask(", "") for name in head["names"].split()
            ]
            return None
        if _BEGINS.search(text):
            return [Point(line, {}, begins=True)]
        if self._names and (row := _ROW.match(text)) is not None:
            return self.finish() + self._row(row, text, line)
        if self._scores and (each := _CLASS_ROW.match(text)) is not None:
            return self._scored(each, line)
        return None

    def finish(self) -> list[Point]:
        point, self._evaluation = self._evaluation, None
        return [point] if point is not None else []

    def _row(self, row: re.Match[str], text: str, line: int) -> list[Point]:
        cells = row["rest"].split(":")[0].split()
        place = Position(int(row["epoch"]), int(row["epochs"]))
        if place.epoch == 0 or self._zero_based:
            self._zero_based = True
            place.epochs = int(row["epochs"]) + 1
        bar = find_bar(text)
        if bar is not None and bar.done:
            place.iteration, place.iterations = bar.done, bar.total
        elif bar is not None:
            return []
        values = {
            name: printed(cell)
            for name, cell in zip(self._names, cells, strict=False)
            if re.fullmatch(NUMBER, cell, re.I) and role(name) != "none"
        }
        point = Point(line, values, place, update=True)
        point.memory = in_bytes(float(row["memory"]), row["unit"] or "")
        point.elapsed = bar.elapsed if bar is not None else None
        return [point]

    _zero_based = False

    def _scored(self, row: re.Match[str], line: int) -> list[Point]:
        values = dict(zip(self._scores, map(printed, row["rest"].split()), strict=False))
        if row["name"] == "all":
            done = self.finish()
            self._evaluation = Point(line, values, Position(), "evaluation")
            return done
        if self._evaluation is not None:
            score = next((value.value for name, value in values.items() if role(name) == "map50"), None)
            if score is not None:
                self._evaluation.per_class = {**(self._evaluation.per_class or {}), row["name"]: score}
        return []
