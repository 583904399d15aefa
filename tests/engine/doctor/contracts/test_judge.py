"""The judge as a guest: what it leaves behind, what it costs, what it does with what it cannot read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from engine.doctor.contracts import LoopJudge
from engine.doctor.contracts.judge import EVERY
from engine.doctor.contracts.workers import shared_seed
from engine.doctor.findings import Finding


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 1))


def hooks_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    count = len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)  # type: ignore[attr-defined]
    for p in model.parameters():
        count += len(p._backward_hooks or {}) + len(getattr(p, "_post_accumulate_grad_hooks", None) or {})
    return count + sum(len(m._forward_hooks) for m in model.modules())


def iterate(
    model: nn.Module, optimizer: torch.optim.Optimizer, judge: LoopJudge | None, steps: int, seed: int = 1
) -> list[Finding]:
    draw = torch.Generator().manual_seed(seed)
    found: list[Finding] = []
    for _ in range(steps):
        images = torch.rand(4, 3, 9, 9, generator=draw)
        total: Tensor = (model(images) - 1).square().mean()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        if judge is not None:
            found += judge.step({"total": total}, images, ("mine.py", 7))
    return found


def test_the_hooks_go_and_come_back() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    judge = LoopJudge(model, optimizer)
    assert hooks_of(model, optimizer)
    assert iterate(model, optimizer, judge, 20) == []
    assert hooks_of(model, optimizer) == 0
    seen = 0
    for _ in range(EVERY * 40):
        judge.step({})
        seen = hooks_of(model, optimizer)
        if seen:
            break
    assert seen
    judge.close()
    assert hooks_of(model, optimizer) == 0


def test_a_judged_loop_learns_to_the_same_bits() -> None:
    weights = []
    for judged in (False, True):
        model = network()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        iterate(model, optimizer, LoopJudge(model, optimizer) if judged else None, 12)
        weights.append(torch.cat([v.flatten().float() for v in model.state_dict().values()]))
    assert torch.equal(*weights)


def test_a_forgotten_train_mode_is_seen_long_after_the_first_look() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    judge = LoopJudge(model, optimizer)
    assert iterate(model, optimizer, judge, 60) == []
    model.eval()
    found = iterate(model, optimizer, judge, 6)
    assert [(f.severity, f.probe, f.function) for f in found] == [("error", "contract.mode", "loop")]
    assert (found[0].file, found[0].line) == ("mine.py", 7)


def test_a_claim_is_made_once() -> None:
    model = network()
    optimizer = torch.optim.SGD(list(model.parameters())[:1], lr=0.01)
    judge = LoopJudge(model, optimizer)
    found = iterate(model, optimizer, judge, 30)
    assert [f.probe for f in found].count("contract.missing") == 1


class ByHand:
    """An optimizer that torch does not know."""

    def __init__(self, parameters: Iterator[nn.Parameter]) -> None:
        self.parameters = list(parameters)

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        with torch.no_grad():
            for p in self.parameters:
                p -= 0.01 * p.grad if p.grad is not None else 0


@pytest.mark.parametrize("given", [True, False], ids=["given", "unknown"])
def test_steps_that_torch_does_not_make_are_seen_by_what_moves(given: bool) -> None:
    model = network()
    optimizer: Any = ByHand(model.parameters())
    judge = LoopJudge(model, optimizer if given else None)
    assert iterate(model, optimizer, judge, 40) == []
    assert judge.end() == []
    # and where they make nothing move, that is said
    optimizer.step = lambda: None
    judge = LoopJudge(model, optimizer if given else None)
    assert "contract.step" in {f.probe for f in iterate(model, optimizer, judge, 40)}


def test_gradients_looked_at_before_the_one_that_is_used() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    judge = LoopJudge(model, optimizer)
    found: list[Finding] = []
    for _ in range(20):
        total: Tensor = (model(torch.rand(4, 3, 9, 9)) - 1).square().mean()
        for _ in range(6):
            optimizer.zero_grad()
            total.backward(retain_graph=True)
        optimizer.step()
        found += judge.step({"total": total})
    assert found == []


def test_before_the_first_step_there_is_nothing_to_say() -> None:
    model = network()
    judge = LoopJudge(model, torch.optim.SGD(model.parameters(), lr=0.01))
    assert judge.end() == []


def test_what_is_frozen_after_the_judge_came_is_meant_to_stay() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    judge = LoopJudge(model, optimizer)
    model[0].requires_grad_(False)
    assert iterate(model, optimizer, judge, 40) + judge.end() == []


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [(None, None), (nn.ReLU(), None), (network(), None), (network(), object()), (nn.LazyLinear(3), "sgd")],
)
def test_whatever_it_is_given_it_does_not_raise(model: Any, optimizer: Any) -> None:
    judge = LoopJudge(model, optimizer, loader=object())
    for losses in ({}, {"a": "text"}, {"a": None}, {"a": torch.ones(3)}, {"a": float("nan")}):
        for images in (None, "x", [1, 2], torch.ones(2), torch.ones(0, 3, 4, 4), {"image": 1}):
            assert isinstance(judge.step(losses, images), list)
    judge.close()


def test_a_compiled_model_is_its_inner_one() -> None:
    model = network()
    compiled = torch.compile(model, backend="eager")
    optimizer = torch.optim.SGD(compiled.parameters(), lr=0.01)
    assert iterate(compiled, optimizer, LoopJudge(compiled, optimizer), 12) == []  # type: ignore[arg-type]


class Counting(IterableDataset[Tensor]):
    """Numbers, not shared out among workers."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter([torch.tensor(float(k)) for k in range(20)])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_stream_that_every_worker_gives_whole() -> None:
    found = shared_seed(DataLoader(Counting(), num_workers=2))
    assert [(f.severity, f.probe, f.function) for f in found] == [("error", "contract.shards", "data")]
    assert shared_seed(DataLoader(Counting(), num_workers=1)) == []
    assert shared_seed(DataLoader(Counting())) == []
