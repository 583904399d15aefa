"""Test-time augmentation: boxes come back to where they were, and what the looks say together."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.yolo.views import PLAIN, SYMMETRIES, View, merged, views_of

VIEWS = views_of(SYMMETRIES)


def test_as_many_views_as_the_symmetries_leave_open() -> None:
    assert views_of(()) == PLAIN
    assert views_of(("flip_x",)) == (View(), View(flip_x=True))
    assert len(set(VIEWS)) == 8
    assert VIEWS[0] == View()


@given(st.sampled_from(VIEWS), st.data())
def test_a_box_found_on_a_view_comes_back_to_where_it_was(view: View, data: st.DataObject) -> None:
    width, height = data.draw(st.integers(2, 40)), data.draw(st.integers(2, 40))
    x1, y1 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x2, y2 = data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height))
    image = torch.zeros(1, 3, height, width)
    image[..., y1:y2, x1:x2] = 1
    laid = view.of(image)
    assert laid.shape[2:] == view.size((height, width))
    rows, columns = laid[0, 0].nonzero().unbind(1)
    seen = torch.stack((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))[None]
    assert view.back(seen, width, height).tolist() == [[x1, y1, x2, y2]]


def test_the_eight_views_are_eight_pictures() -> None:
    image = torch.arange(6.0).view(1, 1, 2, 3)
    assert len({(view.of(image).shape, tuple(view.of(image).flatten().tolist())) for view in VIEWS}) == 8


def rows(*values: list[float]) -> Tensor:
    return torch.tensor(values).view(-1, 6)


def test_boxes_are_averaged_by_score_and_scores_over_the_views() -> None:
    found = [rows([10, 10, 110, 110, 0.9, 0]), rows([20, 10, 120, 110, 0.3, 0])]
    (row,) = merged(found, iou=0.6, conf=0.1, most=10).tolist()
    # (10 * 0.9 + 20 * 0.3) / 1.2 and (0.9 + 0.3) / 2
    assert row == pytest.approx([12.5, 10, 112.5, 110, 0.6, 0])


def test_a_view_that_sees_nothing_counts_as_zero() -> None:
    found = [rows([0, 0, 50, 50, 0.8, 1]), rows()]
    (row,) = merged(found, iou=0.6, conf=0.1, most=10).tolist()
    assert row == pytest.approx([0, 0, 50, 50, 0.4, 1])
    assert len(merged(found, iou=0.6, conf=0.41, most=10)) == 0


def test_a_views_second_box_moves_the_place_but_counts_once() -> None:
    found = [rows([0, 0, 100, 100, 0.8, 0], [0, 0, 100, 80, 0.4, 0]), rows([0, 0, 100, 100, 0.6, 0])]
    (row,) = merged(found, iou=0.6, conf=0.0, most=10).tolist()
    assert row[4] == pytest.approx((0.8 + 0.6) / 2)
    assert row[3] == pytest.approx((100 * 0.8 + 80 * 0.4 + 100 * 0.6) / 1.8)


def test_classes_and_neighbours_stay_apart() -> None:
    # 60 of 140 in common: an overlap of 0.43, which NMS at 0.6 leaves alone and no mean may melt
    one = rows([0, 0, 100, 100, 0.9, 0], [40, 0, 140, 100, 0.8, 0], [0, 0, 100, 100, 0.7, 1])
    both = merged([one, one], iou=0.6, conf=0.1, most=10)
    torch.testing.assert_close(both, one)
    # nor where NMS is told to leave nearly everything
    near = rows([0, 0, 100, 100, 0.9, 0], [10, 0, 110, 100, 0.8, 0])
    torch.testing.assert_close(merged([near, near], iou=0.95, conf=0.1, most=10), near)


def test_strongest_first_and_no_more_than_asked_for() -> None:
    found = [rows([0, 0, 9, 9, 0.9, 0], [50, 50, 60, 60, 0.5, 0]), rows([50, 50, 60, 60, 0.6, 0])]
    together = merged(found, iou=0.6, conf=0.0, most=10)
    assert together[:, 4].tolist() == pytest.approx([0.55, 0.45])
    assert len(merged(found, iou=0.6, conf=0.0, most=1)) == 1
    assert merged([rows(), rows()], iou=0.6, conf=0.0, most=10).shape == (0, 6)


def test_a_box_without_an_area_stays_in_its_place() -> None:
    flat = rows([5, 5, 5, 5, 0.5, 0])
    torch.testing.assert_close(merged([flat], iou=0.6, conf=0.1, most=10), flat)


@given(st.integers(0, 2**31), st.integers(1, 4))
def test_no_view_is_better_than_another(seed: int, views: int) -> None:
    """The order of the views changes nothing, and all saying the same is that."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(views):
        corners = torch.rand(5, 2, generator=generator) * 80
        sizes = 5 + torch.rand(5, 2, generator=generator) * 40
        scores, labels = torch.rand(5, 1, generator=generator), torch.randint(2, (5, 1), generator=generator)
        found.append(torch.cat((corners, corners + sizes, scores, labels), 1))
    there = merged(found, iou=0.6, conf=0.0, most=100)
    back = merged(found[::-1], iou=0.6, conf=0.0, most=100)
    assert there.flatten().tolist() == pytest.approx(back.flatten().tolist(), abs=1e-3)
    same = merged([found[0]] * views, iou=0.6, conf=0.0, most=100)
    assert same.flatten().tolist() == pytest.approx(
        merged(found[:1], iou=0.6, conf=0.0, most=100).flatten().tolist(), abs=1e-3
    )
