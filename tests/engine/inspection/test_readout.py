"""One slot's value is what the whole map holds there."""

from __future__ import annotations

import math

import pytest
import torch

from engine.inspection.quantities import grid, list_quantities, quantity_map
from engine.inspection.readout import strongest_anchor, value_at
from engine.inspection.slots import Slot
from engine.layout import Layout

from .scenes import COARSE, HEAD, POSITIVES, canonical_pred, frame, sliced_decode

PLACES = [Slot(0, *place) for place in POSITIVES] + [Slot(0, 1, 3, 4, 1), Slot(1, 1, 1, 2, 0)]


@pytest.mark.parametrize("order", ["b y x a c", "b (a c) y x"])
def test_every_quantity_is_read_as_its_map_has_it(order: str) -> None:
    for made in (frame(Layout(order), heads=(HEAD, COARSE)), sliced_decode(Layout(order))[1]):
        for quantity in list_quantities(made):
            for slot in PLACES:
                if not made.holds(slot):
                    assert value_at(made, quantity.name, slot) is None
                    continue
                value = value_at(made, quantity.name, slot)
                expected = float(quantity_map(made, quantity.name, slot.head)[slot[1:]])
                assert value == pytest.approx(expected, rel=1e-6, nan_ok=True)
    assert value_at(made, "no such thing", PLACES[0]) is None


def test_the_strongest_anchor_is_the_one_that_the_grid_shows() -> None:
    pred = canonical_pred()
    pred[0, 2, 3, 1, 3] = math.nan
    made = frame(pred=pred)
    for name in ("conf", "pred.w", "iou"):
        shown = torch.from_numpy(grid(made, name, 0, 0, "max"))
        for y in range(HEAD.grid_h):
            for x in range(HEAD.grid_w):
                anchor = strongest_anchor(made, name, 0, 0, y, x)
                value = quantity_map(made, name, 0)[0, y, x, anchor]
                assert torch.equal(value, shown[y, x]) or (value.isnan() and shown[y, x].isnan())
