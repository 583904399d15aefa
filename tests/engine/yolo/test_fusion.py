"""What slots that learnt the same truth say together."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
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


def test_two_slots_that_agree_give_the_mean_of_both() -> None:
    ((*box, score, label),) = found((0.75, [20, 20, 60, 60], 1), (0.25, [22, 20, 62, 60], 1))
    assert box == pytest.approx([20.5, 20, 60.5, 60], abs=1e-3)  # weighted 3 to 1
    assert (score, label) == (pytest.approx(0.5, abs=1e-5), 1)


def test_what_one_slot_alone_sees_counts_half() -> None:
    ((*box, score, _),) = found((0.8, [20, 20, 60, 60], 0))
    assert box == pytest.approx([20, 20, 60, 60], abs=1e-3)
    assert score == pytest.approx(0.4, abs=1e-5)


def test_a_third_slot_moves_the_box_and_not_the_score() -> None:
    two = found((0.8, [20, 20, 60, 60], 0), (0.6, [20, 20, 60, 60], 0))
    three = found((0.8, [20, 20, 60, 60], 0), (0.6, [20, 20, 60, 60], 0), (0.2, [20, 20, 60, 64], 0))
    assert two[0][4] == pytest.approx(three[0][4], abs=1e-5) == pytest.approx(0.7, abs=1e-5)
    assert three[0][3] == pytest.approx((60 * 1.4 + 64 * 0.2) / 1.6, abs=1e-3)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param((0.6, [20, 20, 60, 60], 2), id="another class"),
        pytest.param((0.6, [20, 20, 60, 46], 1), id="an overlap of .65: the same object, another box"),
        pytest.param((0.6, [100, 20, 140, 60], 1), id="another object"),
    ],
)
def test_others_have_no_say(other: Slot) -> None:
    first = found((0.8, [20, 20, 60, 60], 1), other)[0]
    assert first[:4] == pytest.approx([20, 20, 60, 60], abs=1e-3)
    assert first[4] == pytest.approx(0.4, abs=1e-5)


def test_a_box_that_is_told_twice_comes_before_a_stronger_one_that_is_told_once() -> None:
    rows = found((0.9, [100, 20, 140, 60], 0), (0.7, [20, 20, 60, 60], 0), (0.6, [20, 20, 60, 60], 0))
    assert [round(row[4], 3) for row in rows] == [0.65, 0.45]


def test_neighbours_that_a_high_nms_threshold_leaves_do_not_melt() -> None:
    rows = found((0.8, [20, 20, 60, 60], 0), (0.7, [20, 20, 60, 55], 0), iou=0.9)
    assert [row[3] for row in rows] == pytest.approx([60, 55], abs=1e-3)


BOXES = st.tuples(
    st.floats(0.02, 0.98), st.floats(0, 150), st.floats(0, 90), st.floats(4, 40), st.floats(4, 36)
)


@given(st.lists(BOXES, min_size=1, max_size=40), st.floats(0.02, 0.6))
def test_a_score_does_not_depend_on_the_threshold_asked_for(
    drawn: list[tuple[float, ...]], conf: float
) -> None:
    slots = [(c, [x, y, x + w, y + h], k % 3) for k, (c, x, y, w, h) in enumerate(drawn)]
    everything = [row for row in found(*slots, conf=0.001) if row[4] > conf]
    torch.testing.assert_close(torch.tensor(found(*slots, conf=conf)), torch.tensor(everything))


@given(st.lists(BOXES, min_size=1, max_size=40))
def test_no_score_rises_and_no_object_appears(drawn: list[tuple[float, ...]]) -> None:
    slots = [(c, [x, y, x + w, y + h], k % 3) for k, (c, x, y, w, h) in enumerate(drawn)]
    fused, plain = found(*slots, conf=0.0), found(*slots, conf=0.0, fused=False)
    assert len(fused) <= len(plain)
    assert [row[4] for row in fused] == sorted((row[4] for row in fused), reverse=True)
    for row, best in zip(fused, plain, strict=False):
        assert row[4] <= best[4] + 1e-6


def test_numbers_that_are_none_spoil_nobody_elses_box() -> None:
    pred = torch.full((1, 4, 6, 2, 8), -30.0)
    boxes = torch.full((1, 4, 6, 2, 4), 0.5)
    pred[0, 0, 0, 0, 0], pred[0, 0, 0, 0, 5] = 3.0, 30.0
    boxes[0, 0, 0, 0] = torch.tensor([0.5, 0.5, 0.2, 0.2])
    pred[0, 1, 1, 0] = torch.nan
    pred[0, 2, 2, 0, 0], pred[0, 2, 2, 0, 5] = 2.0, 30.0
    boxes[0, 2, 2, 0] = torch.nan
    (rows,) = detect([pred], [boxes], [HEAD], [SIZE], fused=True)
    assert rows.shape == (1, 6)
    assert bool(rows.isfinite().all())


def test_nothing_found_is_an_empty_table() -> None:
    pred: Tensor = torch.full((2, 4, 6, 2, 8), -30.0)
    rows = detect([pred], [torch.full((2, 4, 6, 2, 4), 0.5)], [HEAD], [SIZE, SIZE], fused=True)
    assert [each.shape for each in rows] == [(0, 6), (0, 6)]
