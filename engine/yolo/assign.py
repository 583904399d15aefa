"""Truth to target tensor: which slots (cell and anchor) answer for which truth.

``best`` is YOLOv2's rule: the cell that holds the centre and the anchor of best w/h IoU; with several heads
the best anchor of all heads (YOLOv3). ``multi`` adds, in every head, each anchor whose width and height are
within a ratio of the truth's (YOLOv5's rule), and for every anchor chosen the two cells nearest to the
centre. Where two truths want one slot, a truth's own cell and best anchor go before a slot it was merely
offered, and between equals the later truth overwrites, as in Darknet; both are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..boxes import shape_iou
from ..layout import TARGET, Head

Rule = Literal["best", "multi"]


@dataclass(frozen=True)
class Positives:
    """The positive slots of one head, found while the targets are built, so that no mask has to be read
    back from a device. ``index`` is ``[P, 4]`` int64: image, row, column, anchor."""

    index: Tensor

    def to(self, device: object, non_blocking: bool = False) -> Positives:
        return Positives(self.index.to(device, non_blocking=non_blocking))  # type: ignore[call-overload]


@dataclass(frozen=True)
class Assigned:
    """Targets of a batch: a canonical ``[B, H, W, A, 8]`` a head.

    ``truths`` is ``[B, T, 4]`` (cx, cy, w, h), padded with boxes of no size. ``overwritten`` counts claims on
    a slot that went to another truth, ``lost`` the truths left without any slot.
    """

    targets: list[Tensor]
    positives: list[Positives]
    truths: Tensor
    overwritten: int = 0
    lost: int = 0


def assign(
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    heads: Sequence[Head],
    rule: Rule = "best",
    ratio: float = 4.0,
) -> Assigned:
    """One entry an image: ``[N, 4]`` cx, cy, w, h in 0..1 of the input, ``[N]`` int64 class ids.

    A box without size is passed over; a centre at exactly 1.0 belongs to the last cell.
    """
    batch = len(boxes)
    truths = torch.cat(list(boxes)).reshape(-1, 4).float() if batch else torch.zeros(0, 4)
    classes = torch.cat(list(labels)).reshape(-1).long() if batch else torch.zeros(0, dtype=torch.long)
    owner = torch.repeat_interleave(
        torch.arange(batch, device=truths.device),
        torch.tensor([len(b) for b in boxes], dtype=torch.long, device=truths.device),
    )
    real = (truths[:, 2:] > 0).all(1).nonzero().squeeze(1)
    truths, classes, owner = (part.index_select(0, real) for part in (truths, classes, owner))

    anchors = torch.cat([head.anchors.to(truths) * head.stride for head in heads])
    pixels = truths[:, 2:] * truths.new_tensor([heads[0].input_w, heads[0].input_h])
    best = shape_iou(pixels, anchors).argmax(1)
    rows = _target_rows(truths, classes)

    targets, positives, overwritten = [], [], 0
    has_slot = torch.zeros(len(truths), dtype=torch.bool, device=truths.device)
    first = 0
    for head in heads:
        claims = _claims(truths, pixels, best - first, head, rule, ratio)
        won, slots, lost_claims = _winners(claims, owner, head)
        winners = won[:, 0]
        target = truths.new_zeros(batch, head.grid_h, head.grid_w, head.anchor_count, len(TARGET))
        target.view(-1, len(TARGET)).index_copy_(0, slots, rows.index_select(0, winners))
        has_slot.index_fill_(0, winners, True)
        targets.append(target)
        positives.append(Positives(torch.cat((owner.index_select(0, winners).unsqueeze(1), won[:, 1:]), 1)))
        overwritten += lost_claims
        first += head.anchor_count
    return Assigned(targets, positives, _padded(truths, owner, batch), overwritten, int((~has_slot).sum()))


def _target_rows(truths: Tensor, classes: Tensor) -> Tensor:
    """``[T, 8]``: what a slot holds that answers for a truth."""
    weight = 2 - truths[:, 2:3] * truths[:, 3:4]
    ones, zeros = torch.ones_like(weight), torch.zeros_like(weight)
    return torch.cat((ones, classes.to(truths).unsqueeze(1), truths, weight, zeros), dim=1)


def _claims(truths: Tensor, pixels: Tensor, best: Tensor, head: Head, rule: Rule, ratio: float) -> Tensor:
    """Wanted slots, ``[K, 4]``: the truth's number, row, column, anchor. Of several claims on one slot the
    last is the one that stays."""
    size = truths.new_tensor([head.grid_w, head.grid_h])
    centre = truths[:, :2] * size
    last = size.long() - 1
    cell = torch.minimum(centre.floor().long().clamp(min=0), last)
    own = (best >= 0) & (best < head.anchor_count)
    rows = own.nonzero().squeeze(1)
    if rule == "best":
        return _wanted(rows, cell.index_select(0, rows), best.index_select(0, rows))
    relation = pixels.unsqueeze(1) / (head.anchors.to(pixels) * head.stride)
    chosen = torch.maximum(relation, 1 / relation).amax(-1) < ratio
    chosen[rows, best[rows]] = True
    truth, anchor = chosen.nonzero(as_tuple=True)
    centres = _wanted(truth, cell.index_select(0, truth), anchor)
    step = torch.where(centre - cell < 0.5, -1, 1).index_select(0, truth)
    beside = []
    for axis, column in ((0, 2), (1, 1)):
        neighbour = centres.clone()
        neighbour[:, column] += step[:, axis]
        beside.append(neighbour[(neighbour[:, column] >= 0) & (neighbour[:, column] <= last[axis])])
    # weakest first: a neighbouring cell, the centre's own, the centre's with the best anchor of all heads
    rank = 1 + (best.index_select(0, truth) == anchor).long()
    claims = torch.cat((*beside, centres))
    ranks = torch.cat((rank.new_zeros(len(claims) - len(centres)), rank))
    # within a rank by the truth's place in its image
    order = (ranks * (len(truths) + 1) + claims[:, 0]).argsort(stable=True)
    return claims.index_select(0, order)


def _wanted(truth: Tensor, cell: Tensor, anchor: Tensor) -> Tensor:
    """``cell``: ``[K, 2]`` column and row."""
    return torch.stack((truth, cell[:, 1], cell[:, 0], anchor), dim=1)


def _winners(claims: Tensor, owner: Tensor, head: Head) -> tuple[Tensor, Tensor, int]:
    """The claims that got their slot, their slots' places in the flat head, and how many others lost theirs
    to another truth."""
    truth, y, x, anchor = claims.unbind(1)
    shape = (head.grid_h, head.grid_w, head.anchor_count)
    slots = ((owner.index_select(0, truth) * shape[0] + y) * shape[1] + x) * shape[2] + anchor
    taken, group = slots.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    place = torch.arange(len(slots), device=slots.device)
    winner = torch.zeros_like(taken).scatter_reduce(0, group, place, "amax", include_self=False)
    lost = truth != truth.index_select(0, winner).index_select(0, group)
    return claims.index_select(0, winner), taken, int(lost.sum())


def _padded(truths: Tensor, owner: Tensor, batch: int) -> Tensor:
    counts = torch.bincount(owner, minlength=batch)
    most = int(counts.max()) if batch else 0
    padded = truths.new_zeros(batch, most, 4)
    place = torch.arange(len(truths), device=truths.device) - (counts.cumsum(0) - counts)[owner]
    padded.view(-1, 4).index_copy_(0, owner * most + place, truths)
    return padded
