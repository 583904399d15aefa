"""The loss: lcls, lbox, lobj, liou and their total, by a declared profile.

YOLOv2's semantics by default (Darknet's ``region_layer``): squared terms are *half* the sum of squares, so
that their gradient is Darknet's delta; the printed Darknet loss is twice that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..boxes import iou as corner_iou
from ..boxes import to_xyxy
from ..layout import TARGET, DecodeName, Head
from .assign import Assigned
from .decode import BOX, decode_boxes, decode_raw, grid_cells

IOU = TARGET.index("iou")
TERMS = ("lcls", "lbox", "lobj", "liou")
PRIOR_SCALE = 0.01
"""Darknet's weight of the pull towards the priors."""
MOST_PAIRS = {"cpu": 1 << 17, "cuda": 1 << 22}
"""Boxes times truths whose overlaps are taken at once: as many as stay in a core's cache, or some hundred MB
on a GPU, where each call costs more than its work."""

Index = tuple[Tensor, Tensor, Tensor, Tensor]
"""Image, row, column and anchor of the positives, ``[P]`` each."""
Decode = Callable[[Tensor, Head], Tensor]
Iou = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LossProfile:
    """What the terms are made of; the keys of ``[loss]``."""

    objectness: Literal["iou", "one"] = "iou"
    confidence: Literal["mse", "bce"] = "mse"
    box: Literal["mse", "smooth-l1", "iou", "giou", "diou", "ciou"] = "mse"
    classes: Literal["softmax", "bce"] = "softmax"
    reduction: Literal["batch", "positives", "mean"] = "batch"
    ignore_iou: float = 0.6
    prior_pull: int = 0
    total: tuple[str, ...] = ("lcls", "lbox", "lobj")
    box_scale: float = 1.0
    object_scale: float = 5.0
    noobject_scale: float = 1.0
    class_scale: float = 1.0

    def with_total(self, terms: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([terms[name] for name in self.total]).sum()


@dataclass(frozen=True)
class Whole:
    """Images and positives of the batch that this one is a part of, scalars on the device: terms normalised
    by them add up over the parts to those of the whole."""

    images: Tensor
    positives: Tensor


@dataclass
class LossResult:
    """``terms``: scalars by name, ``total`` among them. ``maps``: each term's share a slot, a
    ``[B, H, W, A]`` a head, empty unless asked for: the sum of a term's maps is the term.
    ``iou``: ``[P]`` a head, the IoU of each positive's decoded box with its truth."""

    terms: dict[str, Tensor]
    maps: dict[str, list[Tensor]]
    iou: list[Tensor]


@dataclass
class _HeadTerms:
    """One head's sums before the reduction, and what its maps are made of."""

    index: Index
    shape: torch.Size
    cls: Tensor
    box: Tensor
    one_minus_iou: Tensor
    conf: Tensor
    """``[B, H, W, A]``: the confidence loss is dense."""
    pull: Tensor | None
    iou: Tensor


def loss(
    preds: Sequence[Tensor],
    assigned: Assigned,
    heads: Sequence[Head],
    profile: LossProfile,
    decode: Decode | DecodeName = "yolov2",
    iou: Iou | None = None,
    *,
    seen: int = 0,
    maps: bool = False,
    whole: Whole | None = None,
) -> LossResult:
    """All terms over all heads.

    ``preds``: canonical ``[B, H, W, A, 5 + C]`` a head. ``decode`` is a name or somebody's own function,
    ``iou`` somebody's own ``[..., 4], [..., 4] -> [...]`` on cx, cy, w, h. ``seen``: images seen so far, for
    the pull to the priors. ``whole``: of a batch in parts, what all of them hold; the reductions are its.
    Fills the ``iou`` channel of ``assigned.targets``.
    """
    parts = [
        _head_terms(pred, target, positives.index, assigned.truths, head, profile, decode, iou, seen)
        for pred, target, positives, head in zip(
            preds, assigned.targets, assigned.positives, heads, strict=True
        )
    ]
    batch: float | Tensor = preds[0].shape[0]
    positives: float | Tensor = max(1, sum(len(part.box) for part in parts))
    slots: float | Tensor = sum(part.conf.numel() for part in parts)
    if whole is not None:
        slots = slots / batch * whole.images
        batch, positives = whole.images, whole.positives.clamp(min=1)
    matched = {"batch": batch, "positives": positives, "mean": positives}[profile.reduction]
    dense = {"batch": batch, "positives": positives, "mean": slots}[profile.reduction]

    terms = {
        "lcls": profile.class_scale * _sum([p.cls for p in parts]) / matched,
        "lbox": profile.box_scale
        * (_sum([p.box for p in parts]) + _sum([p.pull for p in parts if p.pull is not None]))
        / matched,
        "lobj": _sum([p.conf for p in parts]) / dense,
        "liou": _sum([p.one_minus_iou for p in parts]) / matched,
    }
    terms["total"] = profile.with_total(terms)
    for part, target in zip(parts, assigned.targets, strict=True):
        target[..., IOU][part.index] = part.iou.to(target)
    return LossResult(terms, _maps(parts, profile, matched, dense) if maps else {}, [p.iou for p in parts])


def _head_terms(
    pred: Tensor,
    target: Tensor,
    index: Tensor,
    truths: Tensor,
    head: Head,
    profile: LossProfile,
    decode: Decode | DecodeName,
    iou: Iou | None,
    seen: int,
) -> _HeadTerms:
    b, y, x, a = index.unbind(1)
    own, truth = pred[b, y, x, a], target[b, y, x, a]
    anchors = head.anchors.to(pred)
    dense_boxes: Tensor | None = None
    if isinstance(decode, str):
        boxes = decode_raw(own[:, BOX], torch.stack((x, y), 1).to(pred), anchors[a], head, decode)
    else:
        dense_boxes = decode(pred, head)
        boxes = dense_boxes[b, y, x, a]
    overlap = overlap_of(boxes, truth[:, 2:6], iou)
    if profile.ignore_iou > 0 and dense_boxes is None:
        with torch.no_grad():
            dense_boxes = decode_boxes(pred, head, decode)  # type: ignore[arg-type]
    return _HeadTerms(
        index=(b, y, x, a),
        shape=pred.shape[:4],
        cls=_class_loss(own[:, 5:], truth[:, 1].long(), profile),
        box=_box_loss(boxes, truth, overlap, torch.stack((x, y), 1), anchors[a], head, profile),
        one_minus_iou=1 - overlap,
        conf=_confidence_loss(
            pred[..., 0], (b, y, x, a), overlap.detach(), dense_boxes, truths, iou, profile
        ),
        pull=_prior_pull(pred, (b, y, x, a), head, profile, decode) if seen < profile.prior_pull else None,
        iou=overlap.detach(),
    )


def overlap_of(boxes: Tensor, truths: Tensor, iou: Iou | None = None) -> Tensor:
    """IoU of cx, cy, w, h boxes, by somebody's own function or ours: ``[..., 4], [..., 4] -> [...]``."""
    return iou(boxes, truths) if iou is not None else corner_iou(to_xyxy(boxes), to_xyxy(truths))


def _class_loss(logits: Tensor, labels: Tensor, profile: LossProfile) -> Tensor:
    """``[P, C], [P] -> [P]``: cross-entropy of the softmax, or binary cross-entropies summed over classes."""
    if profile.classes == "softmax":
        return F.cross_entropy(logits, labels, reduction="none")
    # built by comparison: one_hot would read the labels back from the device to check their range
    wanted = (labels.unsqueeze(1) == torch.arange(logits.shape[1], device=logits.device)).to(logits)
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(1)


def _box_loss(
    boxes: Tensor,
    truth: Tensor,
    overlap: Tensor,
    cells: Tensor,
    anchors: Tensor,
    head: Head,
    profile: LossProfile,
) -> Tensor:
    """``[P]``. Squared and smooth-l1 forms compare offsets in cells and log sizes over the anchor
    (what the network puts out: sigma(tx), sigma(ty), tw, th), weighted by 2 - w*h."""
    if profile.box == "iou":
        return 1 - overlap
    if profile.box == "giou" or profile.box == "diou" or profile.box == "ciou":
        return 1 - corner_iou(to_xyxy(boxes), to_xyxy(truth[:, 2:6]), profile.box)
    got, wanted = (_offsets(each, cells, anchors, head) for each in (boxes, truth[:, 2:6]))
    if profile.box == "mse":
        share = (got - wanted) ** 2 / 2
    else:
        share = F.smooth_l1_loss(got, wanted, reduction="none")
    return truth[:, 6] * share.sum(1)


def _offsets(boxes: Tensor, cells: Tensor, anchors: Tensor, head: Head) -> Tensor:
    """Boxes in 0..1 -> offsets from the cell's corner in cells, log of the size over the anchor."""
    x, y, w, h = boxes.unbind(-1)
    tiny = torch.finfo(boxes.dtype).tiny
    return torch.stack(
        (
            x * head.grid_w - cells[..., 0],
            y * head.grid_h - cells[..., 1],
            (w * head.grid_w / anchors[..., 0]).clamp(min=tiny).log(),
            (h * head.grid_h / anchors[..., 1]).clamp(min=tiny).log(),
        ),
        dim=-1,
    )


def _confidence_loss(
    logits: Tensor,
    index: Index,
    overlap: Tensor,
    boxes: Tensor | None,
    truths: Tensor,
    iou: Iou | None,
    profile: LossProfile,
) -> Tensor:
    """``[B, H, W, A]``: positives towards the live IoU (or 1), negatives towards 0 unless ignored."""
    wanted = torch.zeros_like(logits)
    wanted[index] = (overlap if profile.objectness == "iou" else torch.ones_like(overlap)).to(logits)
    scale = torch.full_like(logits, profile.noobject_scale)
    if profile.ignore_iou > 0 and boxes is not None and truths.shape[1]:
        with torch.no_grad():
            scale *= _best_overlap(boxes, truths, iou) <= profile.ignore_iou
    # a fill, not an assignment of a number: that would copy from host memory
    scale = scale.index_put(index, torch.full_like(overlap, profile.object_scale).to(scale))
    if profile.confidence == "bce":
        return scale * F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return scale * (logits.sigmoid() - wanted) ** 2 / 2


def _best_overlap(boxes: Tensor, truths: Tensor, iou: Iou | None) -> Tensor:
    """``[B, H, W, A, 4], [B, T, 4] -> [B, H, W, A]``: each box's best IoU with a truth of its image."""
    # some truths at a time: the full product would not fit at 76x76
    together = max(1, MOST_PAIRS[boxes.device.type] // boxes[..., 0].numel())
    best = boxes.new_zeros(boxes.shape[:-1])
    for some in torch.split(truths.to(boxes), together, dim=1):
        pairs = (some.shape[1], *boxes.shape)
        truth = some.transpose(0, 1)[:, :, None, None, None].expand(pairs)
        best = torch.maximum(best, overlap_of(boxes.expand(pairs), truth, iou).amax(0))
    return best


def _prior_pull(
    pred: Tensor, index: Index, head: Head, profile: LossProfile, decode: Decode | DecodeName
) -> Tensor:
    """``[B, H, W, A]``: 0.01 / 2 times the squared distance of every box but the positives from its prior."""
    boxes = decode(pred, head) if not isinstance(decode, str) else decode_boxes(pred, head, decode)
    cells = grid_cells(head, pred).expand(head.grid_h, head.grid_w, head.anchor_count, 2)
    anchors = head.anchors.to(pred).expand(head.grid_h, head.grid_w, -1, -1)
    offsets = _offsets(boxes, cells, anchors, head)
    # no vector of constants: it would come from host memory, and make a GPU wait
    centre = torch.cat((offsets[..., :2] - 0.5, offsets[..., 2:]), dim=-1)
    share = (centre**2).sum(-1) * PRIOR_SCALE / 2
    return share.index_put(index, torch.zeros(len(index[0]), device=share.device, dtype=share.dtype))


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack([part.sum() for part in parts]).sum() if parts else torch.zeros(())


def _maps(
    parts: Sequence[_HeadTerms], profile: LossProfile, matched: float | Tensor, dense: float | Tensor
) -> dict[str, list[Tensor]]:
    maps: dict[str, list[Tensor]] = {name: [] for name in TERMS}
    for part in parts:
        zeros = part.conf.detach().new_zeros(part.shape)

        def scatter(values: Tensor, zeros: Tensor = zeros, part: _HeadTerms = part) -> Tensor:
            return zeros.index_put(part.index, values.detach().to(zeros))

        maps["lcls"].append(scatter(part.cls) * (profile.class_scale / matched))
        box = scatter(part.box) + (part.pull.detach() if part.pull is not None else 0)
        maps["lbox"].append(box * (profile.box_scale / matched))
        maps["lobj"].append(part.conf.detach() / dense)
        maps["liou"].append(scatter(part.one_minus_iou) / matched)
    return maps
