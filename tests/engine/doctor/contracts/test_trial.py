"""The rate beside its warm-up, layers that begin at zero, and what a check must not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from engine.config import TrainConfig
from engine.doctor.contracts import LoopJudge
from engine.doctor.contracts.warmed import bad_rate
from engine.doctor.findings import Finding

from ..healthy import Design


def regression(lr: float, warmup_epochs: float, clip: float = 0.0) -> list[Finding]:
    """Two layers, and a target whose first gradient is large."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1))
    images = torch.rand(2, 3, 12, 12)

    def total(network: nn.Module) -> Tensor:
        loss: Tensor = (network(images) - 3).square().sum()
        return loss

    config = TrainConfig(lr=lr, warmup_epochs=warmup_epochs, clip=clip)
    return bad_rate(network.train(), total, config, 100)


def test_a_rate_is_too_high_only_where_its_warm_up_does_not_help() -> None:
    assert regression(3e-4, 1.0) == []
    assert [f.probe for f in regression(3e-3, 0.0)][:1] in (["contract.update"], ["contract.diverges"])
    assert regression(3e-3, 0.0, clip=1.0) == []
    assert regression(10.0, 1.0) != []


def test_a_head_that_begins_at_zero_is_no_sign_of_a_high_rate() -> None:
    torch.manual_seed(0)
    body, head = nn.Conv2d(3, 16, 3).requires_grad_(False), nn.Conv2d(16, 4, 1)
    nn.init.zeros_(head.weight)
    model = nn.Sequential(body, head)
    optimizer = torch.optim.SGD(head.parameters(), lr=1e-2, momentum=0.9)
    judge = LoopJudge(model, optimizer)
    images, found = torch.rand(2, 3, 8, 8), []
    for _ in range(8):
        optimizer.zero_grad()
        loss = (model(images) - 0.5).square().mean()
        loss.backward()
        optimizer.step()
        found += judge.step({"total": loss})
    assert [f.probe for f in found] == []


@pytest.mark.slow
def test_a_check_does_not_pay_for_the_compiler(tmp_path: Path) -> None:
    """``torch._dynamo`` costs seconds; the first optimizer of torch's own brings it in."""
    source = Design(2, {"input_size": [96, 64], "width": 4}).write(tmp_path)
    text = (
        "import sys; from pathlib import Path; from engine.config import load_config; "
        "from engine.doctor.check import check; path = Path(sys.argv[1]); "
        "report = check(load_config(path), source=path, deep=True); "
        "assert {p.name for p in report.probes} >= {'loop.contracts', 'loop.overfit'}, report.probes; "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", text, str(source)], cwd=Path(__file__).parents[4], capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
