"""Truth to target tensor: closed forms, borders, collisions, properties."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.layout import Head
from engine.yolo.assign import Assigned, Rule, assign

ANCHORS = torch.tensor([[1.0, 1.0], [2.0, 4.0], [5.0, 3.0]])
HEAD = Head(6, 9, 32, ANCHORS, 4)


def one(boxes: list[list[float]], labels: list[int], rule: Rule = "best", **options: float) -> Assigned:
    return assign([torch.tensor(boxes).reshape(-1, 4)], [torch.tensor(labels)], [HEAD], rule, **options)


def slots(assigned: Assigned) -> list[list[int]]:
    return assigned.targets[0][..., 0].nonzero().tolist()


def test_the_cell_of_the_centre_and_the_anchor_of_best_shape() -> None:
    made = one([[0.5, 0.25, 2 / 9, 4 / 6]], [3])
    assert slots(made) == [[0, 1, 4, 1]]
    assert made.targets[0][0, 1, 4, 1].tolist() == pytest.approx(
        [1, 3, 0.5, 0.25, 2 / 9, 4 / 6, 2 - 2 / 9 * 4 / 6, 0]
    )


def test_no_object_gives_no_positive() -> None:
    made = assign([torch.zeros(0, 4), torch.zeros(0, 4)], [torch.zeros(0).long()] * 2, [HEAD])
    assert made.targets[0].shape == (2, 6, 9, 3, 8)
    assert made.targets[0].abs().sum() == 0
    assert made.truths.shape == (2, 0, 4)


def test_a_centre_at_one_belongs_to_the_last_cell() -> None:
    assert slots(one([[1.0, 1.0, 0.1, 0.1]], [0])) == [[0, 5, 8, 0]]
    assert slots(one([[0.9999999, 0.5, 0.1, 0.1]], [0])) == [[0, 3, 8, 0]]


def test_a_box_without_size_is_passed_over() -> None:
    assert slots(one([[0.5, 0.5, 0.0, 0.2]], [0])) == []


def test_the_later_truth_overwrites_and_both_are_counted() -> None:
    made = one([[0.5, 0.5, 0.1, 0.1], [0.51, 0.51, 0.11, 0.1]], [1, 2])
    assert slots(made) == [[0, 3, 4, 0]]
    assert made.targets[0][0, 3, 4, 0, 1] == 2
    assert (made.overwritten, made.lost) == (1, 1)


def test_several_heads_share_the_anchors() -> None:
    fine = Head(12, 18, 16, torch.tensor([[1.0, 1.0]]), 4)
    coarse = Head(6, 9, 32, torch.tensor([[3.0, 3.0]]), 4)
    boxes = torch.tensor([[0.3, 0.3, 20 / 288, 20 / 192], [0.7, 0.7, 90 / 288, 90 / 192]])
    made = assign([boxes], [torch.tensor([0, 1])], [fine, coarse])
    assert made.targets[0][..., 0].sum() == 1
    assert made.targets[1][..., 0].sum() == 1
    assert made.targets[0][0, 3, 5, 0, 1] == 0
    assert made.targets[1][0, 4, 6, 0, 1] == 1


def test_multi_takes_the_two_nearest_neighbours() -> None:
    # centre at x 4.2 cells, y 2.7 cells: the left and the lower neighbour are nearest
    made = one([[4.2 / 9, 2.7 / 6, 1 / 9, 1 / 6]], [0], "multi", ratio=1.5)
    assert slots(made) == [[0, 2, 3, 0], [0, 2, 4, 0], [0, 3, 4, 0]]
    positive = made.targets[0][made.targets[0][..., 0] > 0]
    assert (positive == positive[0]).all(), "each slot holds the whole truth"


def test_multi_takes_every_anchor_within_the_ratio() -> None:
    made = one([[4.5 / 9, 2.5 / 6, 2 / 9, 3 / 6]], [0], "multi", ratio=2.6)
    assert {slot[3] for slot in slots(made)} == {1, 2}


def test_multi_keeps_the_best_anchor_beyond_the_ratio() -> None:
    made = one([[0.5, 0.5, 0.01, 0.01]], [0], "multi", ratio=1.1)
    assert {slot[3] for slot in slots(made)} == {0}


def test_multi_never_leaves_the_grid() -> None:
    corners = [[0.001, 0.001, 0.1, 0.1], [0.999, 0.999, 0.1, 0.1]]
    made = one(corners, [0, 1], "multi")
    assert [0, 0, 0, 0] in slots(made)
    assert [0, 5, 8, 0] in slots(made)


def test_multi_prefers_a_truths_own_cell_over_an_offered_one() -> None:
    # the second truth offers its left neighbour, which is the first one's own cell
    own, other = [4.5 / 9, 2.5 / 6, 1 / 9, 1 / 6], [5.1 / 9, 2.5 / 6, 1 / 9, 1 / 6]
    made = one([own, other], [1, 2], "multi", ratio=1.5)
    assert made.targets[0][0, 2, 4, 0, 1] == 1
    assert made.lost == 0


box = st.tuples(*[st.floats(0.0, 1.0, width=32)] * 2, *[st.floats(0.015625, 1.0, width=32)] * 2)


@given(st.lists(st.lists(box, max_size=6), min_size=1, max_size=3), st.sampled_from(["best", "multi"]))
def test_every_slot_holds_one_whole_truth(images: list[list[tuple[float, ...]]], rule: Rule) -> None:
    boxes = [torch.tensor(image).reshape(-1, 4) for image in images]
    labels = [torch.arange(len(image)) % 4 for image in images]
    made = assign(boxes, labels, [HEAD], rule)
    target = made.targets[0]
    index = made.positives[0].index
    assert len(index) == int(target[..., 0].sum())
    for b, y, x, a in index.tolist():
        found = target[b, y, x, a]
        assert _is_truth(found, boxes[b], labels[b])
        assert abs(float(found[2]) * 9 - 0.5 - x) <= 1.5
        assert abs(float(found[3]) * 6 - 0.5 - y) <= 1.5
    claimed = {tuple(row) for row in index.tolist()}
    assert len(claimed) == len(index)
    negative = target[..., 0] == 0
    assert target[negative].abs().sum() == 0
    if made.lost == 0 and rule == "best":
        assert len(index) == sum(len(image) for image in images)


def _is_truth(slot: Tensor, boxes: Tensor, labels: Tensor) -> bool:
    same_box = (boxes == slot[2:6]).all(1)
    return bool((same_box & (labels == int(slot[1]))).any())
