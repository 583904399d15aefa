"""The ground a probe stands on: heads, the declared layout and profile, the reference detector for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..layout import Head, Layout
from ..yolo.detector import Detector
from ..yolo.loss import LossProfile, overlap_of

StageName = Literal["own", "uneven", "control"]
GROUPS = ("conf", "x", "y", "w", "h", "class")
"""The prediction's channels as findings name them."""
COLUMNS = {"conf": slice(0, 1), "x": slice(1, 2), "y": slice(2, 3), "w": slice(3, 4), "h": slice(4, 5)}
BOX_NAMES = ("x", "y", "w", "h")
ASPECTS = (1.7, 0.55, 1.2, 0.4, 2.3)


def columns(group: str) -> slice:
    """Of a canonical prediction."""
    return COLUMNS.get(group, slice(5, None))


@dataclass(frozen=True)
class Stage:
    """``own``: the config's heads. ``uneven``: grid_h != grid_w, anchors of distinct shapes, the same counts.
    ``control``: another square grid with other square anchors, to tell a function that does not follow
    ``head`` from one that confuses height with width."""

    name: StageName
    detector: Detector

    @property
    def heads(self) -> tuple[Head, ...]:
        return self.detector.heads

    @property
    def layout(self) -> Layout:
        return self.detector.layout

    @property
    def classes(self) -> int:
        return self.heads[0].classes

    @property
    def input_wh(self) -> tuple[int, int]:
        return self.heads[0].input_w, self.heads[0].input_h

    def with_profile(self, profile: LossProfile) -> Stage:
        return replace(self, detector=replace(self.detector, profile=profile))

    def given_heads(self) -> Any:
        return self.detector.one_or_list(self.heads)

    def declared_pred(self, canonical: Sequence[Tensor]) -> Any:
        """What a user's function is handed; differentiable."""
        parts = [self.layout.write_pred(p, h).clone() for p, h in zip(canonical, self.heads, strict=True)]
        return self.detector.one_or_list(parts)

    def declared_targets(self, canonical: Sequence[Tensor]) -> Any:
        parts = [self.layout.write_targets(t, h).clone() for t, h in zip(canonical, self.heads, strict=True)]
        return self.detector.one_or_list(parts)

    def raw(self, names: Sequence[str], tensor: str = "pred") -> str:
        """How these channels are written in code: ``pred[..., 1:5]``."""
        declared = self.layout.pred if tensor == "pred" else self.layout.target
        index: list[int] = []
        for name in names:
            wanted = "class*" if tensor == "pred" and name == "class" else name
            if wanted in declared:
                index.append(self._first_index(wanted, tensor))
        if not index:
            return tensor
        last = self.layout.order.replace(")", "").replace("(", "").split()[-1] == "c"
        if list(names) == ["class"] and tensor == "pred":
            text = (
                f"{index[0]}:"
                if self.layout.pred[-1] == "class*"
                else f"{index[0]}:{index[0] + self.classes}"
            )
        elif index == list(range(index[0], index[0] + len(index))) and len(index) > 1:
            text = f"{index[0]}:{index[-1] + 1}"
        else:
            text = ", ".join(map(str, index)) if len(index) == 1 else f"[{', '.join(map(str, index))}]"
        return f"{tensor}[..., {text}]" if last else f"channels {text} of {tensor}"

    def _first_index(self, name: str, tensor: str) -> int:
        if tensor == "targets":
            return self.layout.target.index(name)
        place = 0
        for each in self.layout.pred:
            if each == name:
                return place
            place += self.classes if each == "class*" else 1
        return place


def stages(detector: Detector) -> tuple[Stage, Stage, Stage]:
    """The config's own, the uneven and the control stage, all without the user's functions."""
    plain = detector.without_user()
    return (
        Stage("own", plain),
        Stage("uneven", replace(plain, heads=_uneven(plain.heads))),
        Stage("control", replace(plain, heads=_control(plain.heads))),
    )


def references(stage: Stage) -> dict[str, Any]:
    """The reference under the contract's names and signatures, for code that calls it by name."""
    detector = stage.detector

    def around(head: Any) -> Detector:
        heads = tuple(head) if isinstance(head, (list, tuple)) else (head,)
        return replace(detector, heads=heads)

    def assign(boxes: Any, labels: Any, head: Any, *_: Any, **__: Any) -> Any:
        made = around(head)
        return made.one_or_list(made.encode(list(boxes), list(labels)).targets)

    def decode(pred: Tensor, head: Head, *_: Any, **__: Any) -> Tensor:
        return around(head).decode(pred, head)

    def iou(a: Tensor, b: Tensor, *_: Any, **__: Any) -> Tensor:
        return overlap_of(a, b)

    def detect(pred: Any, head: Any, sizes: Any, *_: Any, **keywords: Any) -> Any:
        known = {name: keywords[name] for name in ("conf", "iou") if name in keywords}
        return around(head).detect(pred, sizes, **known)

    return {"assign": assign, "decode": decode, "iou": iou, "detect": detect}


def _uneven(own: Sequence[Head]) -> tuple[Head, ...]:
    coarse = max(head.stride for head in own)
    spread = coarse // min(head.stride for head in own)
    rows, cols = (5, 7) if spread < 4 else (3, 5)
    if (rows, cols) == (own[-1].grid_h, own[-1].grid_w):
        rows, cols = rows + 1, cols + 3
    return _with_anchors(own, rows * coarse, cols * coarse, even=False)


def _control(own: Sequence[Head]) -> tuple[Head, ...]:
    coarse = max(head.stride for head in own)
    side = 6 if own[-1].grid_h != 6 else 8
    return _with_anchors(own, side * coarse, side * coarse, even=True)


def _with_anchors(own: Sequence[Head], height: int, width: int, even: bool) -> tuple[Head, ...]:
    """As many anchors a head as ``own``, their sizes spread geometrically over the picture."""
    total = sum(head.anchor_count for head in own)
    low, high = 0.9 * min(head.stride for head in own), 0.55 * min(height, width)
    low = min(low, high / 3)
    heads, k = [], 0
    for head in own:
        anchors = []
        for _ in range(head.anchor_count):
            side = low * (high / low) ** ((k + 0.5) / total)
            aspect = 1.0 if even else ASPECTS[k % len(ASPECTS)] ** 0.5
            anchors.append([side * aspect / head.stride, side / aspect / head.stride])
            k += 1
        heads.append(
            replace(
                head,
                grid_h=height // head.stride,
                grid_w=width // head.stride,
                anchors=torch.tensor(anchors),
            )
        )
    return tuple(heads)
