"""Cells that follow the pixels of another place, under a norm over the whole picture and without one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from engine.doctor.build_model.gaze import judge_gaze
from engine.doctor.stage import Stage
from engine.layout import Head, Layout
from engine.yolo.detector import Detector
from engine.yolo.loss import LossProfile

ROWS, COLUMNS, STRIDE = 6, 8, 16


def stage() -> Stage:
    head = Head(ROWS, COLUMNS, STRIDE, torch.tensor([[1.0, 2.0], [3.0, 1.5]]), classes=2)
    return Stage("own", Detector((head,), Layout(), LossProfile()))


def judged(place: Callable[[Tensor], Tensor], norm: nn.Module) -> int:
    torch.manual_seed(3)
    features = nn.Sequential(nn.Conv2d(3, 8, 8, 8), norm, nn.SiLU(), nn.Conv2d(8, 14, 3, 1, 1))

    def run(images: Tensor) -> list[Tensor]:
        out = place(features(images))
        return [out.unflatten(1, (2, 7)).permute(0, 3, 4, 1, 2)]

    return len(judge_gaze(stage(), run, 0.0))


NORMS = [nn.Identity(), nn.GroupNorm(2, 8), nn.GroupNorm(1, 8)]


@pytest.mark.parametrize("norm", NORMS)
def test_a_corner_cut_from_a_finer_map(norm: nn.Module) -> None:
    assert judged(lambda fine: fine[:, :, :ROWS, :COLUMNS], norm) == 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "place",
    [
        lambda fine: fine[:, :, ::2, ::2],
        lambda fine: nn.functional.avg_pool2d(fine, 2),
        lambda fine: nn.functional.avg_pool2d(fine, 10, 2, 4),
        lambda fine: fine[:, :, 1::2, 1::2] + 3 * fine.mean((2, 3), keepdim=True),
        lambda fine: fine.mean((2, 3), keepdim=True).expand(-1, -1, ROWS, COLUMNS),
    ],
    ids=["strided", "pooled", "widely pooled", "with the picture's mean", "everywhere alike"],
)
def test_cells_that_look_at_their_own_place_or_at_no_place(
    norm: nn.Module, place: Callable[[Tensor], Tensor]
) -> None:
    assert judged(place, norm) == 0


def test_a_part_without_gradient_says_nothing_of_where_it_looks() -> None:
    features, head = nn.Conv2d(3, 8, STRIDE, STRIDE), nn.Conv2d(8, 14, 1)

    def run(images: Tensor) -> list[Tensor]:
        return [head(features(images).detach()).unflatten(1, (2, 7)).permute(0, 3, 4, 1, 2)]

    assert judge_gaze(stage(), run, 0.0) == []
