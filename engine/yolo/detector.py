"""The detector's functions together: the reference, with the user's own in their places.

Everything here speaks the declared layout and the user's contract; the canonical functions beside it
(``assign``, ``decode``, ``loss``, ``detect``) do the work where the user has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..layout import CANONICAL, Head, Layout
from .assign import Assigned, Positives, Rule, assign
from .decode import decode_boxes
from .detect import detect
from .loss import LossProfile, LossResult, Whole, loss
from .plugin import UserFunctions, with_keywords

Pred = Tensor | list[Tensor]


@dataclass(frozen=True)
class Encoded:
    """A batch's targets in the declared layout, and what the reference loss wants beside them."""

    targets: list[Tensor]
    positives: list[Positives] | None
    """None where they are not known: for a loss of the user's, or in targets that are not as declared."""
    truths: Tensor
    overwritten: int = 0
    lost: int = 0

    def to(self, device: object, non_blocking: bool = False) -> Encoded:
        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=non_blocking)  # type: ignore[call-overload,no-any-return]

        positives = self.positives and [each.to(device, non_blocking) for each in self.positives]
        return Encoded(
            [move(t) for t in self.targets], positives, move(self.truths), self.overwritten, self.lost
        )

    def pin_memory(self) -> Encoded:
        positives = self.positives and [Positives(p.index.pin_memory()) for p in self.positives]
        pinned = [t.pin_memory() for t in self.targets]
        return Encoded(pinned, positives, self.truths.pin_memory(), self.overwritten, self.lost)


@dataclass(frozen=True)
class Detector:
    """``assign``, ``decode``, ``loss`` and ``detect`` for one or several heads. Can be pickled."""

    heads: tuple[Head, ...]
    layout: Layout = CANONICAL
    profile: LossProfile = field(default_factory=LossProfile)
    rule: Rule = "best"
    ratio: float = 4.0
    user: UserFunctions = field(default_factory=UserFunctions)
    stretch: bool = False
    """Whether pictures were stretched into the input, not letterboxed."""

    def to(self, device: object) -> Detector:
        return replace(self, heads=tuple(head.to(device) for head in self.heads))

    def at(self, input_wh: tuple[int, int]) -> Detector:
        """The same on an input of that width and height: grids of another size, the same anchors."""
        width, height = input_wh
        first = self.heads[0]
        if (first.input_w, first.input_h) == (width, height):
            return self
        heads = (replace(h, grid_h=height // h.stride, grid_w=width // h.stride) for h in self.heads)
        return replace(self, heads=tuple(heads))

    def without_user(self) -> Detector:
        """The reference alone, under the same layout and profile."""
        return replace(self, user=UserFunctions())

    def one_or_list(self, values: Sequence[Any]) -> Any:
        """What a user's function is given: the thing itself with one head, a list with several."""
        return values[0] if len(self.heads) == 1 else list(values)

    def as_list(self, values: Any) -> list[Any]:
        return list(values) if len(self.heads) > 1 else [values]

    def encode(
        self, boxes: list[Tensor], labels: list[Tensor], input_wh: tuple[int, int] | None = None
    ) -> Encoded:
        """Truths of a batch -> targets. ``boxes``: ``[N, 4]`` cx, cy, w, h in 0..1, one entry an image.
        ``input_wh``: of this batch's input; None: as ``heads`` have it."""
        if input_wh is not None and (sized := self.at(input_wh)) is not self:
            return sized.encode(boxes, labels)
        user = self.user.get("assign")
        if user is not None:
            targets = self.as_list(user(boxes, labels, self.one_or_list(self.heads)))
            return Encoded(targets, self._find_positives(targets, len(boxes)), _pad(boxes))
        made = assign(boxes, labels, self.heads, self.rule, self.ratio)
        targets = [self.layout.write_targets(t, h) for t, h in zip(made.targets, self.heads, strict=True)]
        return Encoded(targets, made.positives, made.truths, made.overwritten, made.lost)

    def _find_positives(self, targets: list[Any], batch: int) -> list[Positives] | None:
        """In targets of the user's ``assign``, for the reference loss: looked for here, where batches are
        loaded, since asking a device how many there are would make every step wait."""
        if self.user.get("loss") is not None:
            return None
        declared = [self.layout.target_shape(batch, head) for head in self.heads]
        if [tuple(getattr(target, "shape", ())) for target in targets] != declared:
            return None
        canonical = (self.layout.read_targets(t, h) for t, h in zip(targets, self.heads, strict=True))
        return [Positives(target[..., 0].nonzero()) for target in canonical]

    def decode(self, pred: Tensor, head: Head) -> Tensor:
        """One head's declared ``pred`` -> boxes cx, cy, w, h on the same axes, in 0..1."""
        user = self.user.get("decode")
        if user is not None:
            return user(pred, head)  # type: ignore[no-any-return]
        boxes = decode_boxes(self.layout.read_pred(pred, head), head, self.layout.decode)
        return self.layout.from_canonical_axes(boxes)

    def decode_canonical(self, pred: Tensor, head: Head) -> Tensor:
        """As ``decode``, on canonical axes ``[B, H, W, A, 4]``."""
        return self.layout.to_canonical_axes(self.decode(pred, head), head, 4)

    def loss(
        self, pred: Pred, encoded: Encoded, *, seen: int = 0, maps: bool = False, whole: Whole | None = None
    ) -> dict[str, Any]:
        """The terms by name, ``total`` among them, and ``maps`` where asked for and to be had. ``whole``: of
        the batch that this is a part of; the user's own loss is not told.

        Maps are ``{term: [one value a slot in the declared axes, a head]}``.
        """
        user = self.user.get("loss")
        if user is None:
            return self._reference_loss(pred, encoded, seen, maps, whole)
        heads = self.one_or_list(self.heads)
        terms: dict[str, Any] = dict(user(pred, self.one_or_list(encoded.targets), heads))
        if "total" not in terms:
            terms["total"] = self.profile.with_total(terms)
        if not maps:
            terms.pop("maps", None)
        elif "maps" in terms:
            terms["maps"] = {name: self.as_list(value) for name, value in terms["maps"].items()}
        return terms

    def detect(
        self,
        pred: Pred,
        sizes: Sequence[tuple[int, int]],
        *,
        conf: float = 0.25,
        iou: float = 0.45,
        fused: bool = False,
        one_class: bool = False,
    ) -> list[Tensor]:
        """One ``[M, 6]`` an image: x1, y1, x2, y2 in pixels of the original, score, class.

        ``sizes``: (height, width) of the originals. ``fused``: what slots say together counts;
        ``one_class``: of a slot its strongest alone. A user's own ``detect`` decides both itself.
        """
        user = self.user.get("detect")
        if user is not None:
            return list(
                with_keywords(user, pred, self.one_or_list(self.heads), list(sizes), conf=conf, iou=iou)
            )
        preds = self._canonical(pred)
        boxes = [
            self.decode_canonical(declared, head)
            for declared, head in zip(self.as_list(pred), self.heads, strict=True)
        ]
        softmax = self.profile.classes == "softmax"
        return detect(
            preds,
            boxes,
            self.heads,
            sizes,
            softmax=softmax,
            conf=conf,
            iou=iou,
            fused=fused,
            stretch=self.stretch,
            one_class=one_class,
        )

    def _canonical(self, pred: Pred) -> list[Tensor]:
        return [self.layout.read_pred(p, h) for p, h in zip(self.as_list(pred), self.heads, strict=True)]

    def _reference_loss(
        self, pred: Pred, encoded: Encoded, seen: int, maps: bool, whole: Whole | None
    ) -> dict[str, Any]:
        layout, heads = self.layout, self.heads
        targets = [layout.read_targets(t, h) for t, h in zip(encoded.targets, heads, strict=True)]
        positives = encoded.positives or [Positives(t[..., 0].nonzero()) for t in targets]
        result = loss(
            self._canonical(pred),
            Assigned(targets, positives, encoded.truths),
            heads,
            self.profile,
            self._user_decode if self.user.get("decode") else layout.decode,
            self.user.get("iou"),
            seen=seen,
            maps=maps,
            whole=whole,
        )
        self._fill_iou(encoded, positives, result)
        terms: dict[str, Any] = dict(result.terms)
        if maps:
            terms["maps"] = {
                name: [layout.write_slots(m) for m in each] for name, each in result.maps.items()
            }
        return terms

    def _user_decode(self, pred: Tensor, head: Head) -> Tensor:
        """The user's decode between canonical tensors, for the reference loss."""
        return self.decode_canonical(self.layout.write_pred(pred, head), head)

    def _fill_iou(self, encoded: Encoded, positives: list[Positives], result: LossResult) -> None:
        """Into the declared targets; where they are canonical the loss has already written there."""
        if self.layout.targets_are_canonical:
            return
        for target, head, slots, overlap in zip(
            encoded.targets, self.heads, positives, result.iou, strict=True
        ):
            dense = overlap.new_zeros(target.shape[0], head.grid_h, head.grid_w, head.anchor_count).index_put(
                tuple(slots.index.unbind(1)), overlap
            )
            self.layout.fill_iou(target, head, dense)


def _pad(boxes: Sequence[Tensor]) -> Tensor:
    """``[B, T, 4]``, padded with boxes of no size."""
    return torch.nn.utils.rnn.pad_sequence([b.reshape(-1, 4) for b in boxes], batch_first=True)
