"""``region`` and ``yolo`` sections in this program's words: grids, anchors, decode, loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .cfg import Section
from .plan import Layer, Plan
from .spec import Detect

MOST_ANCHORS = 32
"""A head, that ``model.anchor_count`` allows."""


@dataclass(frozen=True)
class HeadPlan:
    """``anchors``: w, h in grid units. ``layer``: the number of its section."""

    layer: int
    stride: int
    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale_xy: float


def heads_of(plan: Plan) -> tuple[HeadPlan, ...]:
    """Finest grid first, as everywhere in this program. Raises ``UserError`` where there is none."""
    heads = [_head(layer, plan) for layer in _detecting(plan)]
    return tuple(sorted(heads, key=lambda head: (head.stride, head.layer)))


def settings_of(plan: Plan) -> dict[str, dict[str, Any]]:
    """What the cfg says of ``[model]``, ``[layout]`` and ``[loss]``: for keys that a config leaves out.

    Losses are the nearest that ``[loss]`` knows: region squares confidences and boxes and takes a softmax of
    the classes, yolo takes logistic losses, and boxes by ``iou_loss``. Raises ``UserError`` where two heads
    cannot be had together.
    """
    heads = heads_of(plan)
    layers = _detecting(plan)
    for layer in layers[1:]:
        ours, theirs = _settings(layers[0]), _settings(layer)
        if ours["layout"] != theirs["layout"] or ours["loss"]["classes"] != theirs["loss"]["classes"]:
            raise layer.section.error(f"reads its channels otherwise than {layers[0].name}")
        if _spec(layer).classes != _spec(layers[0]).classes:
            raise layer.section.error(f"has other classes than {layers[0].name}", "classes")
    model = {
        "input_size": [plan.image[2], plan.image[1]],
        "strides": [head.stride for head in heads],
        "anchors": [[list(anchor) for anchor in head.anchors] for head in heads],
        "scale_xy": [head.scale_xy for head in heads],
        # AlexeyAB's key and default, as OpenCV does it too; pjreddie's letterboxes whatever the cfg says
        "resize": "letterbox" if plan.cfg.net.flag("letter_box") else "stretch",
    }
    if len(heads[0].anchors) <= MOST_ANCHORS:  # more are used as they stand, but not fitted
        model["anchor_count"] = len(heads[0].anchors)
    return {"model": model, **_settings(layers[0])}


def class_count(plan: Plan) -> int:
    return heads_of(plan)[0].classes


def _detecting(plan: Plan) -> Sequence[Layer]:
    layers = [layer for layer in plan.layers if isinstance(layer.spec, Detect)]
    if not layers:
        raise plan.cfg.layers[-1].error(
            "is the last layer, and there is no head", fix="end with a [region] or [yolo] layer"
        )
    return layers


def _head(layer: Layer, plan: Plan) -> HeadPlan:
    spec = _spec(layer)
    stride = plan.image[2] // layer.outside[2]
    unit = stride if spec.kind == "yolo" else 1
    anchors = tuple((w / unit, h / unit) for w, h in spec.anchors)
    return HeadPlan(layer.index, stride, anchors, spec.classes, spec.scale_xy)


def _settings(layer: Layer) -> dict[str, dict[str, Any]]:
    section, spec = layer.section, _spec(layer)
    if spec.kind == "region":
        loss: dict[str, Any] = {
            "objectness": "iou" if section.flag("rescore") else "one",
            "confidence": "mse",
            "box": "mse",
            "classes": "softmax" if section.flag("softmax") else "bce",
            "ignore_iou": _ignored(section, "thresh"),
            "box_scale": _weight(section, "coord_scale"),
            "object_scale": _weight(section, "object_scale"),
            "noobject_scale": _weight(section, "noobject_scale"),
            "class_scale": _weight(section, "class_scale"),
        }
        return {"layout": {"decode": "yolov2"}, "loss": loss}
    kind = section.text("iou_loss", "mse")
    loss = {
        "objectness": "one",
        "confidence": "bce",
        "box": kind if kind in ("mse", "iou", "giou", "diou", "ciou") else "iou",
        "classes": "bce",
        "ignore_iou": _ignored(section, "ignore_thresh"),
        "box_scale": _weight(section, "iou_normalizer", 0.75) if kind != "mse" else 1.0,
        "object_scale": _weight(section, "obj_normalizer"),
        "noobject_scale": _weight(section, "obj_normalizer"),
        "class_scale": _weight(section, "cls_normalizer"),
    }
    return {"layout": {"decode": "yolov5" if spec.new_coords else "yolov2"}, "loss": loss}


def _ignored(section: Section, key: str) -> float:
    """Above 1 no negative is ever ignored: that is our 0."""
    value = _weight(section, key, 0.5)
    return value if value <= 1 else 0.0


def _weight(section: Section, key: str, default: float = 1.0) -> float:
    value = section.number(key, default)
    if value < 0:
        raise section.error(f"{key}={value:g} is less than 0", key, f"leave it out for {default:g}")
    return value


def _spec(layer: Layer) -> Detect:
    assert isinstance(layer.spec, Detect)
    return layer.spec
