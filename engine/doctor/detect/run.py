"""The user's ``detect`` run on pictures of known truths, in originals of different shapes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...boxes import to_xyxy
from ...letterbox import Letterbox
from ..calling import Called
from ..inputs import Scene, given, scene
from ..stage import Stage


@dataclass(frozen=True)
class Pictures:
    """One truth an image, in originals of different shapes."""

    made: Scene
    sizes: list[tuple[int, int]]
    """(height, width)."""
    pixels: list[Tensor]
    """``[N, 4]`` corners in the original."""

    def tolerance(self, stage: Stage, image: int) -> float:
        """One pixel of rounding in the input is free, wherever it is magnified to."""
        height, width = self.sizes[image]
        place = Letterbox.fit((width, height), stage.input_wh, stage.detector.stretch)
        return 0.7 + 1.3 / min(place.scale_x, place.scale_y)


def pictures(stage: Stage) -> Pictures:
    """The input's own shape (no border), wide, tall, smaller than the input; then the same again."""
    width, height = stage.input_wh
    shapes = [(1.0, 1.0), (0.75, 1.25), (1.6, 1.1), (0.5, 0.4)] * 2
    sizes = [(max(round(height * v), 8), max(round(width * u), 8)) for v, u in shapes]
    boxes, labels, pixels = [], [], []
    for number, size in enumerate(sizes):
        box, corners = _inside(stage, size, number)
        boxes.append(box)
        labels.append(torch.tensor([(stage.classes - 1 - number) % stage.classes]))
        pixels.append(corners)
    return Pictures(given(stage, boxes, labels), sizes, pixels)


def first(shown: Pictures, stage: Stage) -> Pictures:
    """The first of them alone."""
    made = given(stage, shown.made.boxes[:1], shown.made.labels[:1])
    return Pictures(made, shown.sizes[:1], shown.pixels[:1])


def _inside(stage: Stage, size: tuple[int, int], number: int) -> tuple[Tensor, Tensor]:
    """A truth that lies wholly in the picture of this size, in 0..1 of the input and in its pixels."""
    height, width = size
    best: tuple[Tensor, Tensor] | None = None
    for seed in range(60):
        box = scene(stage, [1], seed=1000 * number + seed).boxes[0]
        free = _undone(box, stage, size)
        within = bool((free >= 0).all()) and float(free[0, 2]) <= width and float(free[0, 3]) <= height
        if within:
            return box, free
        best = best or (box, free)
    assert best is not None
    # no anchor fits: a box in the middle
    place = Letterbox.fit((width, height), stage.input_wh, stage.detector.stretch)
    side = [0.3 * place.new_w / place.input_w, 0.45 * place.new_h / place.input_h]
    box = torch.tensor([[0.5 + 0.07 * side[0], 0.5 - 0.11 * side[1], *side]])
    return box, _undone(box, stage, size)


def _undone(boxes: Tensor, stage: Stage, size: tuple[int, int]) -> Tensor:
    """Corners in pixels of the original, not clipped."""
    place = Letterbox.fit((size[1], size[0]), stage.input_wh, stage.detector.stretch)
    pixels = to_xyxy(boxes) * boxes.new_tensor([*stage.input_wh, *stage.input_wh])
    return torch.from_numpy(place.boxes_to_source(pixels.numpy()))


def run_detect(
    called: Called, stage: Stage, preds: list[Tensor], sizes: list[tuple[int, int]]
) -> list[Tensor]:
    got = called.call(
        "detect", stage.declared_pred(preds), stage.given_heads(), list(sizes), conf=0.2, iou=0.45
    )
    rows = list(got) if isinstance(got, (list, tuple)) else None
    good = rows is not None and len(rows) == len(sizes)
    good = good and all(isinstance(r, Tensor) and r.ndim == 2 and r.shape[1] == 6 for r in rows or [])
    if not good:
        what = (
            type(got).__name__
            if rows is None
            else str([list(getattr(r, "shape", [type(r).__name__])) for r in rows])
        )
        raise called.refusal(
            "detect",
            "shape",
            f"detect of {len(sizes)} images returns {what}",
            expected=(
                "a list of [M, 6] tensors, one an image: x1, y1, "
                "x2, y2, score, class; [0, 6] where nothing is found"
            ),
            got=what,
            fix="return [torch.cat((corners, score[:, None], label[:, None].float()), 1) for each image]",
        )
    return [r.detach().float().cpu() for r in rows or []]


def strongest(found: Tensor) -> Tensor | None:
    return found[int(found[:, 4].argmax())] if len(found) else None


def cut_to_picture(shown: Pictures, image: int) -> Tensor:
    height, width = shown.sizes[image]
    limit = torch.tensor([width, height, width, height], dtype=torch.float32)
    return torch.minimum(shown.pixels[image][0].clamp(min=0), limit)
