"""Is the declared rate too high? Its warm-up taken step by step, as the trainer would take it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from ...config import TrainConfig
from ...learning.optimizer import set_rate
from ...learning.schedule import learning_rate
from ..findings import Finding
from .descent import Descent
from .plain import PlainOptimizer
from .roster import roster
from .witness import Update, Witness

WARM, AFTER, SECONDS = 100, 8, 2.5
"""Steps of a warm-up at most (a longer one is drawn together into these), steps after it, and the time for
all of them."""


def bad_rate(
    network: nn.Module, total_of: Callable[[nn.Module], Tensor], train: TrainConfig, epoch_steps: int
) -> list[Finding]:
    """Findings of ``Descent`` that stand after the whole warm-up: steps that are a large part of the weights
    three times in a row, at whatever rate it had come to; or at the full rate a loss many times the first.
    Nothing where the time does not suffice to come that far."""
    optimizer = PlainOptimizer.of(network, train)
    people = roster(network, [optimizer])
    witness = Witness(network, people, [optimizer], lambda: (True, ()), lambda: ())
    witness.attach()
    descent = Descent()
    declared = round(train.warmup_epochs * epoch_steps)
    warm = min(declared, WARM)
    until = time.perf_counter() + SECONDS
    found: list[Finding] = []
    try:
        for k in range(warm + AFTER):
            total = total_of(network)
            optimizer.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            if train.clip:
                nn.utils.clip_grad_norm_(network.parameters(), train.clip)
            set_rate(optimizer, rate_at(train, k / warm if k < warm else 1.0, epoch_steps))
            optimizer.step()
            updates = [each for each in witness.take() if isinstance(each, Update)]
            told = k < 2 or k >= warm or not math.isfinite(float(total.detach()))
            found = descent.take(total.detach() if told else None, updates, people, first=True)
            if found or time.perf_counter() > until:
                break
    finally:
        witness.detach()
    return [replace(f, got=f"{f.got}, after {k + 1} steps of the schedule") for f in found]


def rate_at(train: TrainConfig, share: float, epoch_steps: int) -> float:
    """The schedule's rate at this share of its warm-up."""
    warm = round(train.warmup_epochs * epoch_steps)
    return learning_rate(
        round(share * warm), max(train.epochs * epoch_steps, warm + WARM), epoch_steps, train
    )
