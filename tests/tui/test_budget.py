from __future__ import annotations

import pytest

from tui.budget import DrawingBudget


class Clocks:
    def __init__(self) -> None:
        self.cpu = self.wall = 0.0

    def frame(self, budget: DrawingBudget, cost: float) -> float:
        self.cpu += cost
        self.wall += cost
        delay = budget.next_delay()
        self.wall += delay
        return delay


@pytest.mark.parametrize("cost", [0.02, 0.1, 0.15])
def test_the_share_is_kept_whatever_a_frame_costs(cost: float) -> None:
    clocks = Clocks()
    budget = DrawingBudget(0.05, cpu=lambda: clocks.cpu, wall=lambda: clocks.wall)
    for _ in range(200):
        clocks.frame(budget, cost)
    assert clocks.cpu / clocks.wall <= 0.055
    assert clocks.cpu / clocks.wall >= 0.045, "and it is used"


def test_cheap_frames_come_at_the_fastest_pace() -> None:
    clocks = Clocks()
    budget = DrawingBudget(0.05, cpu=lambda: clocks.cpu, wall=lambda: clocks.wall)
    assert {clocks.frame(budget, 0.005) for _ in range(20)} == {budget.fastest}


def test_a_dear_first_frame_does_not_stall_the_view() -> None:
    clocks = Clocks()
    budget = DrawingBudget(0.05, cpu=lambda: clocks.cpu, wall=lambda: clocks.wall)
    assert clocks.frame(budget, 0.15) == budget.fastest


def test_nobody_waits_longer_than_the_slowest_pace() -> None:
    clocks = Clocks()
    budget = DrawingBudget(0.05, cpu=lambda: clocks.cpu, wall=lambda: clocks.wall)
    assert clocks.frame(budget, 60.0) == budget.slowest
    assert clocks.frame(budget, 0.001) <= 0.3
