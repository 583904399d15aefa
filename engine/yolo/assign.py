"""Truth to target tensor: which slots (cell and anchor) answer for which truth.

``best`` is YOLOv2's rule: the cell that holds the centre and the anchor of best w/h IoU; with several heads
the best anchor of all heads (YOLOv3). ``multi`` adds, in every head, each anchor whose width and height are
within a ratio of the truth's (YOLOv5's rule), and for every anchor chosen the two cells nearest to the
centre. Where two truths want one slot, a truth's own cell and best anchor go before a slot it was merely
offered, and between equals the later truth overwrites, as in Darknet; both are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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


@dataclass
class _Claims:
    """One head's wanted slots: row of the truth, row, column, anchor, and the rank of the claim."""

    truth: list[Tensor] = field(default_factory=list)
    y: list[Tensor] = field(default_factory=list)
    x: list[Tensor] = field(default_factory=list)
    anchor: list[Tensor] = field(default_factory=list)
    rank: list[Tensor] = field(default_factory=list)

    def add(self, truth: Tensor, y: Tensor, x: Tensor, anchor: Tensor, rank: int) -> None:
        self.truth.append(truth)
        self.y.append(y)
        self.x.append(x)
        self.anchor.append(anchor)
        self.rank.append(torch.full_like(truth, rank))


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
    truths = torch.cat([b.reshape(-1, 4).float() for b in boxes]) if batch else torch.zeros(0, 4)
    classes = torch.cat([k.reshape(-1) for k in labels]) if batch else torch.zeros(0, dtype=torch.long)
    owner = torch.repeat_interleave(
        torch.arange(batch, device=truths.device),
        torch.tensor([len(b) for b in boxes], dtype=torch.long, device=truths.device),
    )
    real = (truths[:, 2:] > 0).all(1)
    truths, classes, owner = truths[real], classes[real], owner[real]

    anchors = torch.cat([head.anchors.to(truths) * head.stride for head in heads])
    pixels = truths[:, 2:] * truths.new_tensor([heads[0].input_w, heads[0].input_h])
    best = shape_iou(pixels, anchors).argmax(1)

    targets, positives, overwritten = [], [], 0
    has_slot = torch.zeros(len(truths), dtype=torch.bool, device=truths.device)
    first = 0
    for head in heads:
        claims = _claims(truths, pixels, best - first, head, rule, ratio)
        target, index, winners, lost_claims = _fill(claims, truths, classes, owner, head, batch)
        has_slot[winners] = True
        targets.append(target)
        positives.append(Positives(index))
        overwritten += lost_claims
        first += head.anchor_count
    return Assigned(targets, positives, _padded(truths, owner, batch), overwritten, int((~has_slot).sum()))


def _claims(truths: Tensor, pixels: Tensor, best: Tensor, head: Head, rule: Rule, ratio: float) -> _Claims:
    claims = _Claims()
    size = truths.new_tensor([head.grid_w, head.grid_h])
    centre = truths[:, :2] * size
    last = size.long() - 1
    cell = torch.minimum(centre.floor().long().clamp(min=0), last)
    own = (best >= 0) & (best < head.anchor_count)
    rows = own.nonzero().squeeze(1)
    if rule == "best":
        claims.add(rows, cell[rows, 1], cell[rows, 0], best[rows], 0)
        return claims
    relation = pixels.unsqueeze(1) / (head.anchors.to(pixels) * head.stride)
    chosen = torch.maximum(relation, 1 / relation).amax(-1) < ratio
    chosen[rows, best[rows]] = True
    truth, anchor = chosen.nonzero(as_tuple=True)
    is_best = own[truth] & (best[truth] == anchor)
    step = torch.where(centre - cell < 0.5, -1, 1)
    for axis in (0, 1):
        neighbour = cell[truth].clone()
        neighbour[:, axis] += step[truth, axis]
        inside = (neighbour[:, axis] >= 0) & (neighbour[:, axis] <= last[axis])
        claims.add(truth[inside], neighbour[inside, 1], neighbour[inside, 0], anchor[inside], 0)
    for rank, rows in ((1, (~is_best).nonzero().squeeze(1)), (2, is_best.nonzero().squeeze(1))):
        claims.add(truth[rows], cell[truth[rows], 1], cell[truth[rows], 0], anchor[rows], rank)
    return claims


def _fill(
    claims: _Claims, truths: Tensor, classes: Tensor, owner: Tensor, head: Head, batch: int
) -> tuple[Tensor, Tensor, Tensor, int]:
    """The head's target tensor, its positives' index, the truths that won a slot, the claims that lost."""
    truth, y, x, anchor = (torch.cat(part) for part in (claims.truth, claims.y, claims.x, claims.anchor))
    # by rank, then by the truth's place in its image: the last claim on a slot is the one that stays
    order = (torch.cat(claims.rank) * (len(truths) + 1) + truth).argsort(stable=True)
    truth, y, x, anchor = truth[order], y[order], x[order], anchor[order]
    shape = (batch, head.grid_h, head.grid_w, head.anchor_count)
    slot = ((owner[truth] * shape[1] + y) * shape[2] + x) * shape[3] + anchor
    _, group = slot.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    place = torch.arange(len(slot), device=slot.device)
    winner = torch.zeros(int(group.max()) + 1 if len(group) else 0, dtype=torch.long, device=slot.device)
    winner = winner.scatter_reduce(0, group, place, "amax", include_self=False)
    contested = int((truth != truth[winner][group]).sum()) if len(group) else 0
    truth, slot = truth[winner], slot[winner]

    target = truths.new_zeros(*shape, len(TARGET))
    box = truths[truth]
    columns = (
        torch.ones_like(box[:, :1]),
        classes[truth].to(box).unsqueeze(1),
        box,
        (2 - box[:, 2] * box[:, 3]).unsqueeze(1),
        torch.zeros_like(box[:, :1]),
    )
    target.view(-1, len(TARGET))[slot] = torch.cat(columns, dim=1)
    index = torch.stack((owner[truth], y[winner], x[winner], anchor[winner]), dim=1)
    return target, index, truth, contested


def _padded(truths: Tensor, owner: Tensor, batch: int) -> Tensor:
    counts = torch.bincount(owner, minlength=batch)
    most = int(counts.max()) if batch else 0
    padded = truths.new_zeros(batch, most, 4)
    place = torch.arange(len(truths), device=truths.device) - (counts.cumsum(0) - counts)[owner]
    padded[owner, place] = truths
    return padded
