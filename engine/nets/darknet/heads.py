"""``region`` and ``yolo`` sections in this program's words: grids, anchors, decode, loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .plan import Layer, Plan
from .spec import Detect


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
        "anchor_count": len(heads[0].anchors),
    }
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
            "ignore_iou": section.number("thresh", 0.5),
            "box_scale": section.number("coord_scale", 1.0),
            "object_scale": section.number("object_scale", 1.0),
            "noobject_scale": section.number("noobject_scale", 1.0),
            "class_scale": section.number("class_scale", 1.0),
        }
        return {"layout": {"decode": "yolov2"}, "loss": loss}
    kind = section.text("iou_loss", "mse")
    loss = {
        "objectness": "one",
        "confidence": "bce",
        "box": kind if kind in ("mse", "iou", "giou", "diou", "ciou") else "iou",
        "classes": "bce",
        "ignore_iou": section.number("ignore_thresh", 0.5),
        "box_scale": section.number("iou_normalizer", 0.75) if kind != "mse" else 1.0,
        "object_scale": section.number("obj_normalizer", 1.0),
        "noobject_scale": section.number("obj_normalizer", 1.0),
        "class_scale": section.number("cls_normalizer", 1.0),
    }
    return {"layout": {"decode": "yolov5" if spec.new_coords else "yolov2"}, "loss": loss}


def _spec(layer: Layer) -> Detect:
    assert isinstance(layer.spec, Detect)
    return layer.spec
