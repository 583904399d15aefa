"""What a cfg says, put into a config where the config is silent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import UserError
from .beside import WHOLE, names_beside, need_cfg
from .cfg import read_cfg
from .heads import class_count, settings_of
from .plan import make_plan

SMALLEST = 32
"""Pixels, that ``model.input_size`` allows."""
SPOKEN_OF = {
    "model": ("input_size", "strides", "anchors", "scale_xy", "resize"),
    "layout": ("decode",),
    "loss": (
        "objectness",
        "confidence",
        "box",
        "classes",
        "ignore_iou",
        "box_scale",
        "object_scale",
        "noobject_scale",
        "class_scale",
    ),
    "data": ("classes",),
}
"""What a cfg and its names may have to say: a config that states all of it is resolved, as a run keeps its
own."""


def with_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config's tables with those keys filled in that its cfg speaks of; a resolved config stays as it is.

    Class names come from a ``.names`` file near the cfg where ``data.classes`` is empty. Raises ``UserError``
    where there is no cfg or it cannot be built.
    """
    filled = {name: dict(table) if isinstance(table, dict) else table for name, table in values.items()}
    if all(_states(filled.get(section), keys) for section, keys in SPOKEN_OF.items()):
        return filled
    model = filled["model"]
    cfg = Path(str(model.get("cfg") or "") or _beside(model))
    plan = make_plan(read_cfg(cfg), _input_wh(model.get("input_size")))
    if "input_size" not in model:
        for side in ("width", "height"):
            plan.cfg.net.whole(side, least=SMALLEST)
    model["cfg"] = str(cfg)
    for section, settings in settings_of(plan).items():
        table = filled.setdefault(section, {})
        if isinstance(table, dict):
            for key, value in settings.items():
                table.setdefault(key, value)
    data = filled.setdefault("data", {})
    if isinstance(data, dict) and not data.get("classes") and data.get("format", "voc") == "voc":
        data["classes"] = names_beside(cfg, class_count(plan)) or []
    return filled


def _states(table: object, keys: tuple[str, ...]) -> bool:
    return isinstance(table, dict) and all(key in table for key in keys)


def _beside(model: Mapping[str, Any]) -> Path:
    weights = str(model.get("weights") or "")
    if Path(weights).suffix not in WHOLE:  # a backbone's cfg is none of a detector
        raise UserError("names no cfg", where="model.cfg", fix='write cfg = "yolov3.cfg"')
    return need_cfg(Path(weights))


def _input_wh(size: object) -> tuple[int, int] | None:
    """A size that cannot be is left to the config's own check."""
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size, size
    if isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size):
        return size[0], size[1]
    return None
