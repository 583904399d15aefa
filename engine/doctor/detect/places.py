"""Objects in odd places and of odd sizes: at the picture's borders, small, nearly whole. Each is found."""

from __future__ import annotations

import torch
from torch import Tensor

from ...boxes import iou as corner_iou
from ...boxes import to_xyxy
from ..calling import Called
from ..findings import Finding
from ..inputs import given, perfect
from ..stage import BOX_NAMES, Stage
from .run import run_detect, strongest

LEAST = 6.0
"""Pixels: smaller objects may be left out."""


def judge_places(called: Called, stage: Stage) -> list[Finding]:
    """One sure object a picture, in originals of the input's shape but larger: no border, another scale."""
    width, height = stage.input_wh
    original = (round(1.6 * height), round(1.6 * width))
    anchors = torch.cat([head.anchors.float() * head.stride for head in stage.heads])
    w, h = anchors[int((anchors.prod(1) - anchors.prod(1).median()).abs().argmin())].tolist()
    w, h = min(w / width, 0.6), min(h / height, 0.6)
    small = [
        max(LEAST, 0.4 * side) / whole
        for side, whole in zip(anchors.amin(0).tolist(), stage.input_wh, strict=True)
    ]
    large = [
        min(0.97, 2.5 * side / whole)
        for side, whole in zip(anchors.amax(0).tolist(), stage.input_wh, strict=True)
    ]
    named = {
        "at the left border": [w / 2, 0.44, w, h],
        "at the top border": [0.43, h / 2, w, h],
        "at the right border": [1 - w / 2, 0.44, w, h],
        "at the bottom border": [0.43, 1 - h / 2, w, h],
        "beyond the corner": [1 - 0.35 * w, 1 - 0.35 * h, w, h],
        "small": [0.46, 0.53, *small],
        "large": [0.52, 0.49, *large],
    }
    boxes = [torch.tensor([box]) for box in named.values()]
    made = given(stage, boxes, [torch.tensor([stage.classes - 1])] * len(boxes))
    found = run_detect(called, stage, perfect(stage, made), [original] * len(boxes))
    pixels = torch.tensor([original[1], original[0]] * 2, dtype=torch.float32)
    lost = []
    for name, box, rows in zip(named, boxes, found, strict=True):
        corners = torch.minimum((to_xyxy(box[0]) * pixels).clamp(min=0), pixels)
        top = strongest(rows)
        if top is None or _far(top[:4], corners, pixels):
            lost.append((name, corners, top))
    if not lost or len(lost) == len(named):
        return []
    name, corners, top = lost[0]
    names = ", ".join(each for each, _, _ in lost)
    finding = Finding(
        "error",
        "detect.places",
        "detect",
        f"detect does not find sure objects that are {names}",
        tensor="detections",
        channels=BOX_NAMES if top is None else _off(top[:4], corners),
        expected=f"1 detection at {_text(corners)}",
        got="none" if top is None else f"{_text(top[:4])}",
        fix="leave out nothing for where it lies or how large it is; clip the boxes to the picture",
    )
    return [called.placed(finding)]


def _far(got: Tensor, wanted: Tensor, limit: Tensor) -> bool:
    """Clipped or not: another place. A pixel of rounding is free."""
    cut = torch.minimum(got.clamp(min=0), limit)
    return float(corner_iou(cut, wanted)) < 0.7 and float((cut - wanted).abs().max()) > 4


def _off(got: Tensor, wanted: Tensor) -> tuple[str, ...]:
    away = (got - wanted).abs() > 4
    names = [n for n, o in zip(("x", "y", "x", "y"), away.tolist(), strict=True) if o]
    return tuple(n for n in ("x", "y") if n in names) or BOX_NAMES


def _text(corners: Tensor) -> str:
    return ", ".join(f"{value:.0f}" for value in corners.tolist())
