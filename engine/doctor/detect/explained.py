"""What a wrong ``detect`` does to boxes on their way to the original's pixels: each way tried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...boxes import to_xyxy
from ...letterbox import Letterbox
from ..stage import Stage


@dataclass(frozen=True)
class ExplainedBoxes:
    text: str = ""
    fix: str = ""
    channels: tuple[str, ...] = ()


ALL = ("x", "y", "w", "h")
AXES = ([0, 2], [1, 3])
"""Columns of the corners."""
Way = Callable[[Tensor, tuple[int, int]], Tensor]
"""Box cx, cy, w, h in 0..1 of the input and the original's (height, width) -> four numbers."""


def explain_boxes(
    stage: Stage, boxes: Sequence[Tensor], sizes: Sequence[tuple[int, int]], got: Sequence[Tensor | None]
) -> ExplainedBoxes:
    """The way that gives exactly the user's numbers (clipped to the original or not) in every image."""
    cases = [
        (box[0], size, row[:4]) for box, size, row in zip(boxes, sizes, got, strict=True) if row is not None
    ]
    if not cases:
        return ExplainedBoxes()
    right = _undone_way(stage)
    fine = [all(_fits(right(b, s), row, s, stage, axis) for b, s, row in cases) for axis in AXES]
    for text, fix, channels, way in _ways(stage):
        fits = [all(_fits(way(b, s), row, s, stage, axis) for b, s, row in cases) for axis in AXES]
        if all(fits):
            return ExplainedBoxes(text, fix, channels)
        for axis, (other, names) in enumerate(((1, ("x", "w")), (0, ("y", "h")))):
            if fits[axis] and fine[other]:
                wrong = tuple(n for n in channels if n in names)
                return ExplainedBoxes(f"in {names[0]}: {text}", fix, wrong or names)
    return ExplainedBoxes()


def _undone_way(stage: Stage) -> Way:
    width, height = stage.input_wh

    def way(box: Tensor, size: tuple[int, int]) -> Tensor:
        place = Letterbox.fit((size[1], size[0]), (width, height), stage.detector.stretch)
        pixels = to_xyxy(box) * torch.tensor([width, height] * 2, dtype=torch.float32)
        return torch.from_numpy(place.boxes_to_source(pixels.numpy()))

    return way


def _fits(value: Tensor, got: Tensor, size: tuple[int, int], stage: Stage, axis: list[int]) -> bool:
    height, width = size
    limit = torch.tensor([width, height, width, height], dtype=torch.float32)
    place = Letterbox.fit((width, height), stage.input_wh, stage.detector.stretch)
    near = 0.6 + 1.2 / min(place.scale_x, place.scale_y)
    near = min(near, 0.02 * float(value.abs().max()) + 1e-3)
    cut = torch.minimum(value.clamp(min=0), limit)
    return any(
        float((v - got)[axis].abs().max()) <= near
        for v in (value, cut, torch.minimum(value.clamp(min=0), limit - 1))
    )


def _ways(stage: Stage) -> list[tuple[str, str, tuple[str, ...], Way]]:
    width, height = stage.input_wh
    head = stage.heads[0]
    whole = torch.tensor([width, height, width, height], dtype=torch.float32)

    def placed(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        place = Letterbox.fit((size[1], size[0]), (width, height), stage.detector.stretch)
        offset = torch.tensor([place.left, place.top] * 2, dtype=torch.float32)
        return offset, torch.tensor([place.scale_x, place.scale_y] * 2, dtype=torch.float32)

    def undone(box: Tensor, size: tuple[int, int], offset_by: float = 1.0) -> Tensor:
        offset, scale = placed(size)
        return (to_xyxy(box) * whole - offset_by * offset) / scale

    def original(size: tuple[int, int]) -> Tensor:
        return torch.tensor([size[1], size[0]] * 2, dtype=torch.float32)

    def scaled(factor: Tensor) -> Way:
        return lambda box, size: undone(box * factor, size)

    box_fix = "take the borders off before dividing by the scale: x = (x * input_w - left) / scale"
    ways: list[tuple[str, str, tuple[str, ...], Way]] = [
        (
            "the letterbox is not undone: pixels of the input are returned",
            box_fix,
            ALL,
            lambda b, s: to_xyxy(b) * whole,
        ),
        ("the letterbox's borders are not taken off", box_fix, ("x", "y"), lambda b, s: undone(b, s, 0.0)),
        (
            "the letterbox's borders are added instead of taken off",
            box_fix,
            ("x", "y"),
            lambda b, s: undone(b, s, -1.0),
        ),
        (
            "the letterbox's borders are taken off twice: the whole border, not the half of it on one side",
            "left = (input_w - width * scale) / 2",
            ("x", "y"),
            lambda b, s: undone(b, s, 2.0),
        ),
        (
            "half of the letterbox's border is taken off",
            "left = (input_w - width * scale) / 2, once halved",
            ("x", "y"),
            lambda b, s: undone(b, s, 0.5),
        ),
        ("the letterbox's scale is not undone", box_fix, ALL, lambda b, s: to_xyxy(b) * whole - placed(s)[0]),
        (
            "the letterbox's scale is multiplied instead of divided",
            box_fix,
            ALL,
            lambda b, s: (to_xyxy(b) * whole - placed(s)[0]) * placed(s)[1],
        ),
        (
            "the borders are taken off after the scale",
            box_fix,
            ("x", "y"),
            lambda b, s: to_xyxy(b) * whole / placed(s)[1] - placed(s)[0],
        ),
        (
            "the borders are ignored: 0..1 of the input is stretched over the original",
            box_fix,
            ALL,
            lambda b, s: to_xyxy(b) * original(s),
        ),
        (
            "fractions of the input are returned, not pixels",
            "multiply by input_w, input_h, then undo the letterbox",
            ALL,
            lambda b, s: to_xyxy(b),
        ),
        (
            "fractions of the original are returned, not pixels",
            "multiply by the original's width and height",
            ALL,
            lambda b, s: undone(b, s) / original(s),
        ),
        (
            "sizes are read as (width, height)",
            "sizes holds (height, width)",
            ALL,
            lambda b, s: undone(b, (s[1], s[0])),
        ),
        (
            "the left border and the top border are confused",
            "x takes left, y takes top",
            ("x", "y"),
            lambda b, s: (to_xyxy(b) * whole - placed(s)[0][[1, 0, 3, 2]]) / placed(s)[1],
        ),
        ("x and y are swapped", "x1, y1, x2, y2 in that order", ALL, lambda b, s: undone(b, s)[[1, 0, 3, 2]]),
        (
            "cx, cy, w, h is returned instead of corners",
            "x1 = cx - w / 2 ... before returning",
            ALL,
            lambda b, s: _centred(undone(b, s)),
        ),
        (
            "x1, y1, w, h is returned instead of x1, y1, x2, y2",
            "x2 = x1 + w",
            ("w", "h"),
            lambda b, s: _sized(undone(b, s)),
        ),
        (
            "x1, x2, y1, y2 is returned instead of x1, y1, x2, y2",
            "mind the order of the corners",
            ALL,
            lambda b, s: undone(b, s)[[0, 2, 1, 3]],
        ),
        (
            "the centre is taken for the top left corner",
            "x1 = cx - w / 2, x2 = cx + w / 2",
            ("x", "y"),
            lambda b, s: undone(torch.cat((b[:2] + b[2:] / 2, b[2:])), s),
        ),
        (
            "the whole width and height are added to either side of the centre",
            "x1 = cx - w / 2, x2 = cx + w / 2",
            ("w", "h"),
            lambda b, s: undone(torch.cat((b[:2], b[2:] * 2)), s),
        ),
        (
            "the letterbox's larger scale is undone instead of the smaller",
            "scale = min(input_w / width, input_h / height)",
            ALL,
            _larger(stage),
        ),
        (
            "input_w and input_h are confused",
            "x by input_w, y by input_h",
            ALL,
            lambda b, s: (to_xyxy(b) * whole[[1, 0, 3, 2]] - placed(s)[0]) / placed(s)[1],
        ),
    ]
    for text, factor in (
        ("divided by the input's size where the grid's is meant", 1 / head.stride),
        ("multiplied by the stride once too often", float(head.stride)),
    ):
        for names, mask in ((ALL, [1, 1, 1, 1]), (("x", "y"), [1, 1, 0, 0]), (("w", "h"), [0, 0, 1, 1])):
            by = torch.tensor([factor if m else 1.0 for m in mask])
            fix = "divide boxes in grid units by grid_w, grid_h (not by input_w, input_h)"
            ways.append((f"{' '.join(names)} {'are'} {text}", fix, names, scaled(by)))
    for name, by in (
        ("divided by the grid once too often", torch.tensor([1 / head.grid_w, 1 / head.grid_h] * 2)),
        ("left in grid units", torch.tensor([float(head.grid_w), float(head.grid_h)] * 2)),
        (
            "divided by grid_h where grid_w is meant and the other way round",
            torch.tensor([head.grid_w / head.grid_h, head.grid_h / head.grid_w] * 2),
        ),
        ("divided by grid_w in both axes", torch.tensor([1.0, head.grid_h / head.grid_w] * 2)),
        ("divided by grid_h in both axes", torch.tensor([head.grid_w / head.grid_h, 1.0] * 2)),
    ):
        if not torch.allclose(by, torch.ones(4)):
            ways.append((f"boxes are {name}", "x and w by grid_w, y and h by grid_h", ALL, scaled(by)))
    return ways


def _centred(corners: Tensor) -> Tensor:
    return torch.cat(((corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]))


def _sized(corners: Tensor) -> Tensor:
    return torch.cat((corners[:2], corners[2:] - corners[:2]))


def _larger(stage: Stage) -> Way:
    width, height = stage.input_wh

    def way(box: Tensor, size: tuple[int, int]) -> Tensor:
        scale = max(width / size[1], height / size[0])
        left, top = (width - size[1] * scale) / 2, (height - size[0] * scale) / 2
        corners = to_xyxy(box) * torch.tensor([width, height] * 2, dtype=torch.float32)
        return (corners - torch.tensor([left, top] * 2)) / scale

    return way
