"""A view where a permute is wanted, on grids so small that a patch moves most cells as declared."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from engine.doctor.build_model.patch import judge_patches
from engine.doctor.stage import Stage
from engine.layout import Head, Layout
from engine.yolo.detector import Detector
from engine.yolo.loss import LossProfile

STRIDE, ANCHORS, CHANNELS = 16, 3, 8
Shape = Callable[[Tensor], Tensor]


def judged(rows: int, columns: int, features: nn.Module, shape: Shape) -> list[str]:
    """``features`` end in one map ``[B, A * (5 + C), H, W]``."""
    anchors = torch.tensor([[1.0, 2.0], [3.0, 1.5], [4.0, 4.0]])
    head = Head(rows, columns, STRIDE, anchors, classes=CHANNELS - 5)

    def run(images: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return [shape(features(images))]

    stage = Stage("own", Detector((head,), Layout(), LossProfile()))
    return [finding.message for finding in judge_patches(stage, run)]


def strided(seed: int, kernel: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for k in range(4):
        layers += [nn.Conv2d(3 if k == 0 else 16, 16, kernel, 2, (kernel - 1) // 2), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers, nn.Conv2d(16, ANCHORS * CHANNELS, 1)).eval()


def connected(seed: int, rows: int, columns: int) -> nn.Module:
    """Every cell looks at the whole picture."""
    torch.manual_seed(seed)
    count = ANCHORS * CHANNELS * rows * columns
    flat = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * 4 * rows * columns, count))
    return nn.Sequential(flat, nn.Unflatten(1, (ANCHORS * CHANNELS, rows, columns)))


def permuted(out: Tensor) -> Tensor:
    return out.unflatten(1, (ANCHORS, CHANNELS)).permute(0, 3, 4, 1, 2)


def viewed(out: Tensor) -> Tensor:
    n, _, rows, columns = out.shape
    return out.reshape(n, rows, columns, ANCHORS, CHANNELS)


GRIDS = [(5, 7), (4, 6), (7, 5), (6, 6), (8, 10)]
SEEDS = range(6)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_view_is_found(grid: tuple[int, int], seed: int) -> None:
    (message,) = judged(*grid, strided(seed), viewed)
    assert "[b a c y x]" in message


@pytest.mark.parametrize("grid", [(3, 3), (3, 5), *GRIDS])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_permuted_is_right(grid: tuple[int, int], seed: int) -> None:
    assert judged(*grid, strided(seed), permuted) == []
    assert judged(*grid, strided(seed, kernel=4), permuted) == []


@pytest.mark.parametrize("grid", [(3, 3), (3, 5), *GRIDS])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_network_that_looks_everywhere_has_no_order(grid: tuple[int, int], seed: int) -> None:
    assert judged(*grid, connected(seed, *grid), permuted) == []
