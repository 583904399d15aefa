"""What slots that learnt the same truth say together."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.layout import Head
from engine.yolo.detect import detect

HEAD = Head(4, 6, 32, torch.tensor([[1.0, 1.0], [2.0, 2.0]]), 3)
SIZE = (128, 192)
"""Of the input itself: pixels of the picture are pixels of the input."""

Slot = tuple[float, list[float], int]
"""Confidence, x1 y1 x2 y2 in pixels, class."""


def found(*slots: Slot, conf: float = 0.01, iou: float = 0.45, fused: bool = True) -> list[list[float]]:
    pred = torch.full((1, 4, 6, 2, 8), -30.0)
    boxes = torch.full((1, 4, 6, 2, 4), 0.5)
    for k, (confidence, (x1, y1, x2, y2), label) in enumerate(slots):
        slot = (0, k // 12, k // 2 % 6, k % 2)
        pred[(*slot, 0)] = math.log(confidence / (1 - confidence))
        pred[(*slot, 5 + label)] = 30
        boxes[slot] = torch.tensor(
            [(x1 + x2) / 2 / 192, (y1 + y2) / 2 / 128, (x2 - x1) / 192, (y2 - y1) / 128]
        )
    (rows,) = detect([pred], [boxes], [HEAD], [SIZE], conf=conf, iou=iou, fused=fused)
    return [row.tolist() for row in rows]


def test_slots_that_agree_give_the_mean_of_them_under_the_strongest_score() -> None:
    ((*box, score, label),) = found((0.75, [20, 20, 60, 60], 1), (0.25, [22, 20, 62, 60], 1))
    assert box == pytest.approx([20.5, 20, 60.5, 60], abs=1e-3)  # weighted 3 to 1
    assert (score, label) == (pytest.approx(0.75, abs=1e-5), 1)


def test_what_one_slot_alone_sees_stays_as_it_is() -> None:
    ((*box, score, _),) = found((0.8, [20, 20, 60, 60], 0))
    assert box == pytest.approx([20, 20, 60, 60], abs=1e-3)
    assert score == pytest.approx(0.8, abs=1e-5)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param((0.6, [20, 20, 60, 64], 2), id="another class"),
        pytest.param((0.6, [20, 20, 60, 46], 1), id="an overlap of .65: the same object, another box"),
        pytest.param((0.6, [100, 20, 140, 60], 1), id="another object"),
    ],
)
def test_others_have_no_say(other: Slot) -> None:
    first = found((0.8, [20, 20, 60, 60], 1), other)[0]
    assert first[:4] == pytest.approx([20, 20, 60, 60], abs=1e-3)


def test_neighbours_that_a_high_nms_threshold_leaves_do_not_melt() -> None:
    rows = found((0.8, [20, 20, 60, 60], 0), (0.7, [20, 20, 60, 55], 0), iou=0.9)
    assert [row[3] for row in rows] == pytest.approx([60, 55], abs=1e-3)


BOXES = st.tuples(
    st.floats(0.02, 0.98), st.floats(0, 150), st.floats(0, 90), st.floats(4, 40), st.floats(4, 36)
)


@settings(max_examples=40)
@given(st.lists(BOXES, min_size=1, max_size=40), st.floats(0.02, 0.6))
def test_a_place_does_not_depend_on_the_threshold_asked_for(
    drawn: list[tuple[float, ...]], conf: float
) -> None:
    slots = [(c, [x, y, x + w, y + h], k % 3) for k, (c, x, y, w, h) in enumerate(drawn)]
    everything = [row for row in found(*slots, conf=0.001) if row[4] > float(torch.tensor(conf))]
    torch.testing.assert_close(torch.tensor(found(*slots, conf=conf)), torch.tensor(everything))


@settings(max_examples=40)
@given(st.lists(BOXES, min_size=1, max_size=40), st.floats(0.2, 1.0))
def test_only_places_change_and_none_by_much(drawn: list[tuple[float, ...]], iou: float) -> None:
    slots = [(c, [x, y, x + w, y + h], k % 3) for k, (c, x, y, w, h) in enumerate(drawn)]
    fused, plain = (torch.tensor(found(*slots, iou=iou, fused=fused)) for fused in (True, False))
    torch.testing.assert_close(fused[:, 4:], plain[:, 4:])
    sides = (plain[:, 2:4] - plain[:, :2]).repeat(1, 2)
    assert bool(((fused[:, :4] - plain[:, :4]).abs() <= 0.25 * sides + 1e-3).all())


def test_numbers_that_are_none_spoil_nobody_elses_box() -> None:
    pred = torch.full((1, 4, 6, 2, 8), -30.0)
    boxes = torch.full((1, 4, 6, 2, 4), 0.5)
    pred[0, 0, 0, 0, 0], pred[0, 0, 0, 0, 5] = 3.0, 30.0
    boxes[0, 0, 0, 0] = torch.tensor([0.5, 0.5, 0.2, 0.2])
    pred[0, 1, 1, 0] = torch.nan
    pred[0, 2, 2, 0, 0], pred[0, 2, 2, 0, 5] = 2.0, 30.0
    boxes[0, 2, 2, 0] = torch.nan
    (rows,) = detect([pred], [boxes], [HEAD], [SIZE], fused=True)
    (strongest,) = (row for row in rows if row[4] > 0.9)
    assert strongest[:4].tolist() == pytest.approx([0.4 * 192, 0.4 * 128, 0.6 * 192, 0.6 * 128])


def test_nothing_found_is_an_empty_table() -> None:
    pred: Tensor = torch.full((2, 4, 6, 2, 8), -30.0)
    rows = detect([pred], [torch.full((2, 4, 6, 2, 4), 0.5)], [HEAD], [SIZE, SIZE], fused=True)
    assert [each.shape for each in rows] == [(0, 6), (0, 6)]
