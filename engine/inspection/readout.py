"""One slot's value of a quantity, and which anchor of a cell stands out: without a map of the whole batch."""

from __future__ import annotations

import torch

from .frames import BOX_NAMES, Frame
from .quantities import quantity_map
from .slots import Slot


def value_at(frame: Frame, quantity: str, slot: Slot) -> float | None:
    """As ``quantity_map`` at the slot; None where the frame has no such slot or quantity.

    The quantities that stand in a tensor are read there: a step whose file was just opened is not read whole.
    """
    if not frame.holds(slot):
        return None
    head, at = slot.head, tuple(slot[1:])
    group, _, channel = quantity.partition(".")
    if (quantity, head) not in frame.maps:
        if quantity == "conf" and frame.pred(head) is not None:
            raw = frame.pred_channel(head, "conf")
            return None if raw is None else float(raw[at].sigmoid())
        if group in ("pred", "grad") and channel in frame.channels(head):
            raw = frame.pred_channel(head, channel, group)
            return None if raw is None else float(raw[at])
        if group == "loss":
            values = frame.loss_map(channel, head)
            return None if values is None else float(values[at])
        if group == "decoded" and channel in BOX_NAMES:
            boxes = frame.decoded(head)
            return None if boxes is None else float(boxes[at][BOX_NAMES.index(channel)])
    try:
        return float(quantity_map(frame, quantity, head)[at])
    except KeyError:
        return None


def strongest_anchor(frame: Frame, quantity: str, head: int, image: int, y: int, x: int) -> int:
    """The anchor that ``grid(..., "max")`` shows at a cell: a truth's where one is there and the quantity is
    of truths alone, else that of the largest magnitude, a NaN above all numbers."""
    values = quantity_map(frame, quantity, head)[image, y, x].abs()
    masked = quantity == "iou" or quantity.startswith("error.")
    lowest = float("-inf") if masked else float("inf")
    return int(torch.where(values.isnan(), lowest, values).argmax())
