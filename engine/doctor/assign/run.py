"""The user's ``assign`` run on a scene: its targets on canonical axes, and the slots it made positive."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..calling import Called
from ..inputs import Scene
from ..stage import Stage

TOLERANCE = 1e-4


def run_assign(called: Called, stage: Stage, made: Scene) -> list[Tensor]:
    """The user's targets, declared channels on canonical axes, one a head."""
    boxes, labels = [b.clone() for b in made.boxes], [k.clone() for k in made.labels]
    got = called.call("assign", boxes, labels, stage.given_heads())
    several = len(stage.heads) > 1
    parts = list(got) if several and isinstance(got, (list, tuple)) else [got]
    shapes = [list(stage.layout.target_shape(made.batch, head)) for head in stage.heads]
    what = [list(p.shape) if isinstance(p, Tensor) else type(p).__name__ for p in parts]
    if what != shapes:
        expected = str(shapes if several else shapes[0])
        shown = str(what if several else what[0])
        raise called.refusal(
            "assign",
            "shape",
            f"assign of {made.batch} images returns {shown}",
            expected=f"shape {expected} for order {stage.layout.order!r}",
            got=shown,
            fix="one entry an image, the declared axes and channels"
            + (", a list with one tensor a head" if several else ""),
        )
    if any(not p.is_floating_point() for p in parts):
        raise called.refusal(
            "assign",
            "type",
            f"assign returns {parts[0].dtype}",
            expected="torch.float32",
            got=str(parts[0].dtype),
            fix="build the targets with torch.zeros(...) of the boxes' type",
        )
    count = len(stage.layout.target)
    return [
        stage.layout.to_canonical_axes(p.detach().float().contiguous(), h, count)
        for p, h in zip(parts, stage.heads, strict=True)
    ]


@dataclass(frozen=True)
class Slot:
    """Where one truth was put: head, row, column, anchor and the declared channels there."""

    head: int
    y: int
    x: int
    a: int
    values: Tensor


def slots_of(targets: list[Tensor], image: int, mask: int) -> list[Slot]:
    found = []
    for k, target in enumerate(targets):
        for y, x, a in (target[image, ..., mask] != 0).nonzero().tolist():
            found.append(Slot(k, y, x, a, target[image, y, x, a]))
    return found
