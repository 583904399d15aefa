"""Detections: the truth in the original's pixels, NMS per class, thresholds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.layout import Head
from engine.letterbox import Letterbox
from engine.yolo.detect import detect, undo_letterbox

HEAD = Head(4, 6, 32, torch.tensor([[1.0, 1.0], [2.0, 2.0]]), 3)


def blank(batch: int = 1) -> tuple[Tensor, Tensor]:
    pred = torch.full((batch, 4, 6, 2, 8), -20.0)
    return pred, torch.full((batch, 4, 6, 2, 4), 0.5)


def place(
    pred: torch.Tensor, boxes: torch.Tensor, slot: tuple[int, ...], box: list[float], label: int, logit: float
) -> None:
    pred[slot] = -20
    pred[(*slot, 0)] = logit
    pred[(*slot, 5 + label)] = 20
    boxes[slot] = torch.tensor(box)


def test_nothing_found_is_an_empty_table() -> None:
    pred, boxes = blank(2)
    found = detect([pred], [boxes], [HEAD], [(100, 100), (50, 60)])
    assert [each.shape for each in found] == [(0, 6), (0, 6)]


def test_a_box_comes_back_in_the_originals_pixels() -> None:
    pred, boxes = blank()
    # the input is 192 x 128; an original of 96 x 128 (w x h) is not scaled and lies 48 px from the left
    place(pred, boxes, (0, 1, 2, 0), [96 / 192, 64 / 128, 32 / 192, 64 / 128], 1, 3.0)
    (found,) = detect([pred], [boxes], [HEAD], [(128, 96)])
    x1, y1, x2, y2, score, label = found[0].tolist()
    assert (x1, y1, x2, y2) == pytest.approx((32, 32, 64, 96), abs=1e-3)
    assert score == pytest.approx(1 / (1 + 2.718281828**-3), rel=1e-3)
    assert label == 1


def test_nms_keeps_the_stronger_duplicate_and_two_classes_on_one_box() -> None:
    pred, boxes = blank()
    same = [0.5, 0.5, 0.2, 0.2]
    place(pred, boxes, (0, 1, 2, 0), same, 0, 1.0)
    place(pred, boxes, (0, 1, 3, 0), same, 0, 2.0)
    place(pred, boxes, (0, 1, 3, 1), same, 2, 1.5)
    (found,) = detect([pred], [boxes], [HEAD], [(128, 192)])
    assert found[:, 5].tolist() == [0, 2]
    assert float(found[0, 4]) == pytest.approx(0.8808, rel=1e-3)


def test_only_scores_above_the_threshold() -> None:
    pred, boxes = blank()
    place(pred, boxes, (0, 1, 2, 0), [0.5, 0.5, 0.2, 0.2], 0, 0.0)
    assert len(detect([pred], [boxes], [HEAD], [(128, 192)], conf=0.49)[0]) == 1
    assert len(detect([pred], [boxes], [HEAD], [(128, 192)], conf=0.51)[0]) == 0


def test_independent_class_probabilities_where_the_profile_says_so() -> None:
    pred, boxes = blank()
    place(pred, boxes, (0, 1, 2, 0), [0.5, 0.5, 0.2, 0.2], 0, 20.0)
    pred[0, 1, 2, 0, 5:7] = 0.0
    (soft,) = detect([pred], [boxes], [HEAD], [(128, 192)], softmax=True, conf=0.1)
    (independent,) = detect([pred], [boxes], [HEAD], [(128, 192)], softmax=False, conf=0.1)
    assert soft[:, 4].tolist() == pytest.approx([0.5, 0.5], abs=1e-3)
    assert independent[:, 4].tolist() == pytest.approx([0.5, 0.5], abs=1e-3)
    assert len(independent) == 2


@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_the_letterbox_is_undone_as_the_loader_made_it(height: int, width: int, corners: list[float]) -> None:
    x1, x2 = sorted((corners[0] * width, corners[1] * width))
    y1, y2 = sorted((corners[2] * height, corners[3] * height))
    source = torch.tensor([[x1, y1, x2, y2]])
    place = Letterbox.fit((width, height), (HEAD.input_w, HEAD.input_h))
    inside = torch.from_numpy(place.boxes_to_input(source.numpy()))
    back = undo_letterbox(inside / torch.tensor([HEAD.input_w, HEAD.input_h] * 2), HEAD, (height, width))
    pixel = 1 / place.scale
    assert torch.allclose(back, source, atol=1e-4 * max(1.0, pixel) + 1e-5 * max(height, width))
