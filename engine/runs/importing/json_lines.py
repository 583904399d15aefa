"""One JSON object a line: mmdetection 2 (``None.log.json``) and 3 (``vis_data/scalars.json``), detectron2's
``metrics.json``, DETR's and other loops' own."""

from __future__ import annotations

import json
import math
from typing import Any

from .points import Point, Position
from .roles import VALIDATION, in_bytes, role
from .values import Printed, printed

_COCO = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


class _Text(str):
    """A number as it was printed: its digits say how finely."""

    __slots__ = ()


_decode = json.JSONDecoder(parse_float=_Text, parse_int=_Text, parse_constant=_Text).decode


class JsonLinesReader:
    name = "json"

    def __init__(self) -> None:
        self._fractions = False
        """Whether an epoch so far was no whole number."""

    def read(self, text: str, line: int) -> list[Point] | None:
        start = text.find("{")
        if start < 0 or start > 60 or '"' not in text:
            return None
        try:
            found = _decode(text[start:].strip())
        except ValueError:
            return None
        if not isinstance(found, dict):
            return None
        if "mode" in found or ("data_time" in found and "loss" in found):
            self.name = "mmdetection"
        return self._point(found, line)

    def finish(self) -> list[Point]:
        return []

    def _point(self, found: dict[str, Any], line: int) -> list[Point] | None:
        values: dict[str, Printed] = {}
        for key, value in found.items():
            _flatten(key, value, values)
        place = Position()
        for key in ("epoch", "Epoch"):
            if (number := values.pop(key, None)) is not None:
                place.epoch = _whole(number)
                place.part = number.value % 1 if place.epoch is not None else None
                self._fractions |= bool(place.part)
        steps = [values.pop(key, None) for key in ("iter", "iteration", "global_step", "step")]
        step = next((each for each in steps if each is not None), None)
        place.iteration = _whole(step) if step is not None else None
        mode = str(found.get("mode", ""))
        memory = next((values[name] for name in values if role(name) == "memory"), None)
        if not values or not any(role(name) != "none" for name in values):
            return None
        scores_alone = all(
            role(n) in ("score", "map", "map50", "map50_95", "seconds", "data", "none") for n in values
        )
        point = Point(line, values, place)
        if self._fractions:
            point.whole_epoch = place.count_what_is_behind()
        if mode in ("val", "test") or (
            scores_alone and any(role(n) not in ("seconds", "data", "none") for n in values)
        ):
            point.phase = "evaluation"
            point.values = {
                n if role(n) != "term" or VALIDATION.search(n) else f"val/{n}": v for n, v in values.items()
            }
            if not mode and place.epoch is None:  # mmdetection 3: the step of an evaluation is its epoch
                point.position = Position()
        if memory is not None:
            point.memory = in_bytes(memory.value, "")
        return [point]


def _flatten(name: str, value: Any, into: dict[str, Printed]) -> None:
    if isinstance(value, _Text):
        into[name] = printed(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _flatten(f"{name}/{key}", inner, into)
    elif isinstance(value, list) and len(value) == 12 and "coco_eval" in name:
        for short, each in zip(_COCO, value, strict=True):
            if isinstance(each, _Text):
                into[f"{name}/{short}" if "bbox" not in name else short] = printed(each)


def _whole(number: Printed) -> int | None:
    return int(number.value) if math.isfinite(number.value) else None
