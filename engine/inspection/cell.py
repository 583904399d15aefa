"""One slot, a row a channel: target, prediction, reference, loss and gradient, and the boxes in pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .diff import Tolerance
from .frames import BOX_NAMES, Frame
from .loss_shares import loss_shares, slot_terms
from .slots import Slot, raw_text

PixelBox = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the network's input."""


@dataclass(frozen=True)
class CellRow:
    """One channel of ``pred``. Numbers are None where their tensor is absent."""

    index: str
    """As written in code under the declared order: ``pred[0, 4, 7, 2, 1]``."""
    name: str
    target: float | None
    """In the unit of ``decoded``: the box in 0..1 of the input, conf what it is trained towards, a class
    1 or 0; None at slots without a truth, but for conf, which is then 0."""
    pred: float | None
    decoded: float | None
    """conf: its sigmoid; x y w h: in 0..1 of the input; classes: their probability."""
    reference: float | None
    difference: float | None
    """decoded - reference where there is a reference, else decoded - target."""
    against: str
    """``reference``, ``target``, or empty: what ``difference`` was taken from."""
    differs: bool
    """Whether ``decoded`` and the reference differ by more than the tolerance."""
    term: str
    """The loss term that this channel feeds, where the step has its map."""
    loss: float | None
    """The channel's own part of the term at this slot, or the slot's whole term: see ``loss_is_shared``."""
    loss_is_shared: bool
    """True where the term cannot be split: the same number then stands on each of its channels."""
    gradient: float | None


@dataclass(frozen=True)
class TargetRow:
    """One channel of ``targets`` as it stands in the declared tensor."""

    index: str
    name: str
    value: float
    reference: float | None


@dataclass(frozen=True)
class CellTable:
    slot: Slot
    rows: tuple[CellRow, ...]
    target_rows: tuple[TargetRow, ...]
    terms: dict[str, float]
    """Each mapped term's value at this slot."""
    positive: bool | None
    """Whether the slot holds a truth; None without targets."""
    label: int | None
    class_name: str
    """The truth's class, empty where there is none."""
    cell: PixelBox
    anchor: PixelBox
    """The prior, centred in the cell."""
    truth: PixelBox | None
    decoded: PixelBox | None
    reference: PixelBox | None
    iou: float | None
    """Decoded against truth."""
    reference_iou: float | None
    """Reference against truth."""
    path: str
    """The image's file."""


def cell_table(frame: Frame, slot: Slot, tolerance: Tolerance = Tolerance()) -> CellTable:  # noqa: B008  frozen
    """Everything about one slot. Raises ``IndexError`` where the frame has no such slot."""
    if not frame.holds(slot):
        raise IndexError(f"no slot {slot} in head {slot.head}")
    head, at = frame.heads[slot.head], tuple(slot[1:])
    targets, decoded = _row(frame.targets(slot.head), at), _row(frame.decoded(slot.head), at)
    reference = _row(frame.reference_boxes(slot.head), at)
    positive = None if targets is None else targets[0] != 0
    iou = float(overlaps[at]) if (overlaps := frame.iou(slot.head)) is not None and positive else None
    theirs = frame.reference_iou(slot.head)
    label = int(targets[1]) if targets and positive and math.isfinite(targets[1]) else None
    centre = ((slot.x + 0.5) / head.grid_w, (slot.y + 0.5) / head.grid_h)
    anchor_w, anchor_h = (float(side) for side in head.anchors[slot.anchor])
    size = (head.input_w, head.input_h)
    return CellTable(
        slot=slot,
        rows=tuple(_rows(frame, slot, targets, decoded, reference, iou, tolerance)),
        target_rows=tuple(_target_rows(frame, slot)),
        terms=slot_terms(frame, slot),
        positive=positive,
        label=label,
        class_name="" if label is None else frame.class_name(label),
        cell=_pixels([*centre, 1 / head.grid_w, 1 / head.grid_h], size),
        anchor=_pixels([*centre, anchor_w / head.grid_w, anchor_h / head.grid_h], size),
        truth=_pixels(targets[2:6], size) if targets and positive else None,
        decoded=_pixels(decoded, size) if decoded else None,
        reference=_pixels(reference, size) if reference else None,
        iou=iou,
        reference_iou=float(theirs[at]) if theirs is not None and positive else None,
        path=frame.snapshot.paths[slot.image] if slot.image < len(frame.snapshot.paths) else "",
    )


def _rows(
    frame: Frame,
    slot: Slot,
    targets: list[float] | None,
    decoded: list[float] | None,
    reference: list[float] | None,
    iou: float | None,
    tolerance: Tolerance,
) -> Iterator[CellRow]:
    at = tuple(slot[1:])
    names = frame.channels(slot.head)
    pred, grad = _row(frame.pred(slot.head), at), _row(frame.grad(slot.head), at)
    own = _decoded_by_name(frame, names, pred, decoded)
    their_pred = _reference_pred(frame, slot, names, pred)
    other = _decoded_by_name(frame, names, their_pred, reference)
    wanted = _targets_by_name(frame, names, targets, iou)
    shares = loss_shares(frame, slot, names, decoded, targets, pred)
    for k, name in enumerate(names):
        value, ref, target = own.get(name), other.get(name), wanted.get(name)
        base = ref if ref is not None else target
        known = value is not None and base is not None
        term, loss, shared = shares.get(name, ("", None, False))
        yield CellRow(
            index=raw_text("pred", frame.layout, frame.heads, frame.batch, slot, k, len(names)),
            name=name,
            target=target,
            pred=pred[k] if pred else None,
            decoded=value,
            reference=ref,
            difference=value - base if value is not None and base is not None else None,
            against="" if not known else "reference" if ref is not None else "target",
            differs=value is not None and ref is not None and not tolerance.agree(value, ref),
            term=term,
            loss=loss,
            loss_is_shared=shared,
            gradient=grad[k] if grad else None,
        )


def _target_rows(frame: Frame, slot: Slot) -> Iterator[TargetRow]:
    at = tuple(slot[1:])
    own = _row(frame.declared_targets(slot.head), at)
    if own is None:
        return
    names = frame.layout.target
    reference = frame.reference
    same_form = reference is not None and reference.layout == frame.layout
    theirs = _row(reference.declared_targets(slot.head), at) if reference is not None and same_form else None
    for k, name in enumerate(names):
        index = raw_text("targets", frame.layout, frame.heads, frame.batch, slot, k, len(names))
        yield TargetRow(index, name, own[k], theirs[k] if theirs else None)


def _decoded_by_name(
    frame: Frame, names: Sequence[str], pred: list[float] | None, boxes: list[float] | None
) -> dict[str, float]:
    values = dict(zip(BOX_NAMES, boxes, strict=True)) if boxes else {}
    if pred is None:
        return values
    raw = torch.tensor(pred)
    values["conf"] = float(raw[names.index("conf")].sigmoid())
    classes = [k for k, name in enumerate(names) if name.startswith("class")]
    logits = raw[classes]
    odds = logits.sigmoid() if frame.snapshot.profile.get("classes") == "bce" else logits.softmax(0)
    values.update(zip((names[k] for k in classes), odds.tolist(), strict=True))
    return values


def _reference_pred(
    frame: Frame, slot: Slot, names: Sequence[str], own: list[float] | None
) -> list[float] | None:
    """The reference's raw channels in *our* declared order; our own where it only decodes them anew."""
    if frame.reference is not None:
        theirs = _row(frame.reference.pred(slot.head), tuple(slot[1:]))
        if theirs is not None:
            by_name = dict(zip(frame.reference.channels(slot.head), theirs, strict=True))
            return [by_name[name] for name in names]
    return own if frame.reference_decode is not None else None


def _targets_by_name(
    frame: Frame, names: Sequence[str], targets: list[float] | None, iou: float | None
) -> dict[str, float]:
    if targets is None:
        return {}
    if targets[0] == 0:
        return {"conf": 0.0}
    values = dict(zip(BOX_NAMES, targets[2:6], strict=True))
    values.update(
        {name: float(name == f"class{targets[1]:.0f}") for name in names if name.startswith("class")}
    )
    if frame.snapshot.profile.get("objectness") == "one":
        values["conf"] = 1.0
    elif "iou" in frame.layout.target:
        values["conf"] = targets[7]
    elif iou is not None:
        values["conf"] = iou
    return values


def _row(tensor: Tensor | None, at: tuple[int, ...]) -> list[float] | None:
    return None if tensor is None else tensor[at].tolist()


def _pixels(box: Sequence[float], size: tuple[int, int]) -> PixelBox:
    """cx, cy, w, h in 0..1 -> corners in pixels."""
    (x, y, w, h), (width, height) = box, size
    return (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height
