"""A snapshot opened for looking: every tensor by slot, whatever layout it was written in.

All tensors handed out are ``[B, H, W, A, ...]`` float32 on the CPU; most are views of the snapshot's own.
Read through ``Layout``, computed once, kept.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..boxes import iou, to_xyxy
from ..errors import UserError
from ..layout import TARGET, Head, Layout
from ..runs.snapshots import Snapshot
from ..yolo.decode import decode_boxes
from .slots import Slot

Decode = Callable[[Tensor, Head], Tensor]
"""Canonical ``[B, H, W, A, 5 + C]`` -> ``[B, H, W, A, 4]`` cx, cy, w, h in 0..1 of the input."""

BOX_NAMES = ("x", "y", "w", "h")


def built_in_decode(layout: Layout) -> Decode:
    """The reference detector's decode under a layout's declared encoding."""
    return lambda pred, head: decode_boxes(pred, head, layout.decode)


class Tensors:
    """One snapshot's tensors by head, each read once."""

    def __init__(self, snapshot: Snapshot, decode: Decode | None = None) -> None:
        self.snapshot = snapshot
        self.layout = snapshot.layout
        self.heads = snapshot.heads
        self.decode = decode or built_in_decode(snapshot.layout)
        self._kept: dict[tuple[str, int], Tensor | None] = {}

    def channels(self, head: int) -> list[str]:
        """The names of ``pred``'s channels in the declared order."""
        return self.layout.pred_names(self.heads[head].classes)

    def pred(self, head: int) -> Tensor | None:
        """``[B, H, W, A, 5 + C]``, channels in the *declared* order (``channels``)."""
        return self._keep("pred", head, lambda: self._by_slot("pred", head, 5 + self.heads[head].classes))

    def grad(self, head: int) -> Tensor | None:
        """As ``pred``: the gradient of the total with respect to it."""
        return self._keep("grad", head, lambda: self._by_slot("grad", head, 5 + self.heads[head].classes))

    def pred_channel(self, head: int, name: str, of: str = "pred") -> Tensor | None:
        """``[B, H, W, A]``: one channel of ``pred`` or ``grad``."""
        tensor = self.pred(head) if of == "pred" else self.grad(head)
        return None if tensor is None else tensor[..., self.channels(head).index(name)]

    def canonical_pred(self, head: int) -> Tensor | None:
        """``[B, H, W, A, 5 + C]``: conf, x, y, w, h, class logits."""

        def read() -> Tensor | None:
            raw = self.snapshot.tensor("pred", head)
            return None if raw is None else self.layout.read_pred(raw, self.heads[head]).float()

        return self._keep("canonical pred", head, read)

    def targets(self, head: int) -> Tensor | None:
        """``[B, H, W, A, 8]``: mask, class, x, y, w, h, weight, iou, the box in 0..1 of the input."""

        def read() -> Tensor | None:
            raw = self.snapshot.tensor("targets", head)
            return None if raw is None else self.layout.read_targets(raw.float(), self.heads[head])

        return self._keep("targets", head, read)

    def declared_targets(self, head: int) -> Tensor | None:
        """``[B, H, W, A, T]``: the channels and the values as they stand in the tensor."""
        return self._keep(
            "declared targets", head, lambda: self._by_slot("targets", head, len(self.layout.target))
        )

    def decoded(self, head: int) -> Tensor | None:
        """``[B, H, W, A, 4]``: what the step's own decode gave, else ``decode`` of ``pred``."""

        def read() -> Tensor | None:
            own = self._by_slot("decoded", head, 4)
            if own is not None:
                return own
            pred = self.canonical_pred(head)
            return None if pred is None else self.decode(pred, self.heads[head])

        return self._keep("decoded", head, read)

    def loss_map(self, term: str, head: int) -> Tensor | None:
        """``[B, H, W, A]``."""

        def read() -> Tensor | None:
            values = self.snapshot.tensor(f"loss.{term}", head)
            return None if values is None else values.float()

        return self._keep(f"loss.{term}", head, read)

    def _by_slot(self, name: str, head: int, channels: int) -> Tensor | None:
        raw = self.snapshot.tensor(name, head)
        if raw is None:
            return None
        return self.layout.to_canonical_axes(raw, self.heads[head], channels).float()

    def _keep(self, name: str, head: int, read: Callable[[], Tensor | None]) -> Tensor | None:
        key = (name, head)
        if key not in self._kept:
            with torch.no_grad():
                self._kept[key] = read()
        return self._kept[key]


class Frame(Tensors):
    """One captured step, with or without a reference to hold it against.

    ``reference`` is another snapshot of the same heads and batch: a second run's, somebody's dump, or the
    built-in detector's tensors on the same step. ``reference_decode`` decodes *this* step's ``pred`` (or the
    reference's own, where it brings one) and needs no snapshot. ``decode`` stands in where the snapshot
    has no decoded boxes; the default is the built-in one under the declared layout.

    Raises ``UserError`` where the reference's heads or batch are not this step's.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        reference: Snapshot | None = None,
        *,
        reference_decode: Decode | None = None,
        decode: Decode | None = None,
        reference_name: str = "the reference",
    ) -> None:
        super().__init__(snapshot, decode)
        self.reference_name = reference_name
        self.reference_decode = reference_decode
        self.reference = None if reference is None else Tensors(reference, reference_decode)
        self.maps: dict[tuple[str, int], Tensor] = {}
        """Derived quantities, kept by ``quantities.quantity_map``."""
        self.ranges: dict[tuple[str, int], tuple[float, float] | None] = {}
        """Their ranges, kept by ``quantities.scale_of``."""
        if reference is not None:
            self._check_fit(reference)

    @property
    def step(self) -> int:
        return self.snapshot.step

    @property
    def batch(self) -> int:
        return self.snapshot.batch

    @property
    def has_reference(self) -> bool:
        return self.reference is not None or self.reference_decode is not None

    def positives(self, head: int) -> Tensor | None:
        """``[B, H, W, A]`` bool: slots that hold a truth."""
        targets = self.targets(head)
        return None if targets is None else targets[..., 0] != 0

    def iou(self, head: int) -> Tensor | None:
        """``[B, H, W, A]``: decoded box against the slot's truth; NaN where the slot holds none
        or the box is not finite."""
        return self._keep("iou", head, lambda: self._iou(self.decoded(head), head))

    def reference_boxes(self, head: int) -> Tensor | None:
        """``[B, H, W, A, 4]``: the reference's decoded boxes."""

        def read() -> Tensor | None:
            if self.reference is not None:
                theirs = self.reference.decoded(head)
                if theirs is not None:
                    return theirs
            pred = self.canonical_pred(head)
            if self.reference_decode is None or pred is None:
                return None
            return self.reference_decode(pred, self.heads[head])

        return self._keep("reference boxes", head, read)

    def reference_iou(self, head: int) -> Tensor | None:
        """``[B, H, W, A]``: as ``iou``, of the reference's box."""
        return self._keep("reference iou", head, lambda: self._iou(self.reference_boxes(head), head))

    def reference_pred(self, head: int, name: str) -> Tensor | None:
        """``[B, H, W, A]``: one channel of the reference's own prediction, or of this one where the
        reference only decodes it anew."""
        if self.reference is not None:
            theirs = self.reference.pred_channel(head, name)
            if theirs is not None:
                return theirs
        return self.pred_channel(head, name) if self.reference_decode is not None else None

    def slots(self, head: int) -> tuple[int, int, int, int]:
        """(B, H, W, A) of a head."""
        shape = self.heads[head]
        return self.batch, shape.grid_h, shape.grid_w, shape.anchor_count

    def holds(self, slot: Slot) -> bool:
        """Whether there is such a slot here."""
        if not 0 <= slot.head < len(self.heads):
            return False
        return all(0 <= at < size for at, size in zip(slot[1:], self.slots(slot.head), strict=True))

    def image(self, image: int) -> NDArray[np.uint8] | None:
        """H x W x 3 RGB, as the network saw it."""
        images = self.snapshot.tensor("images")
        if images is None:
            return None
        return np.ascontiguousarray(images[image].permute(1, 2, 0).numpy())

    def truths(self, image: int) -> list[tuple[tuple[float, float, float, float], int]]:
        """Every truth of an image: its corners in input pixels and its class."""
        boxes, labels = self.snapshot.tensor("boxes", image), self.snapshot.tensor("labels", image)
        if boxes is None or labels is None:
            return []
        head = self.heads[0]
        corners = to_xyxy(boxes.float()) * torch.tensor([head.input_w, head.input_h] * 2)
        return [
            ((x1, y1, x2, y2), int(k)) for (x1, y1, x2, y2), k in zip(corners.tolist(), labels, strict=True)
        ]

    def class_name(self, label: int) -> str:
        names = self.snapshot.classes
        return names[label] if 0 <= label < len(names) else f"class {label}"

    def _iou(self, boxes: Tensor | None, head: int) -> Tensor | None:
        targets = self.targets(head)
        if boxes is None or targets is None:
            return None
        box = TARGET.index("x")
        overlap = iou(to_xyxy(boxes), to_xyxy(targets[..., box : box + 4]))
        # a NaN box overlaps nothing by rule; here it must be seen
        unknown = (targets[..., 0] == 0) | ~boxes.isfinite().all(-1)
        return overlap.masked_fill(unknown, float("nan"))

    def _check_fit(self, reference: Snapshot) -> None:
        def shape(snapshot: Snapshot) -> str:
            grids = ", ".join(
                f"{h.grid_h}x{h.grid_w}x{h.anchor_count} of {h.classes} classes" for h in snapshot.heads
            )
            return f"{snapshot.batch} image(s) on {grids}"

        if shape(self.snapshot) != shape(reference):
            raise UserError(
                f"holds {shape(reference)}, the step looked at holds {shape(self.snapshot)}",
                where=self.reference_name,
                fix="take a reference of the same heads and batch",
            )
