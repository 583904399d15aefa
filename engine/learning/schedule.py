"""The learning rate as a pure function of the step: the same after any resume."""

from __future__ import annotations

import math

from ..config import TrainConfig


def learning_rate(step: int, total_steps: int, steps_per_epoch: int, config: TrainConfig) -> float:
    """The rate of one step, ``step`` counted from 0.

    ``power4`` is Darknet's burn-in, ``lr * (step / warm-up steps) ^ 4``; a linear warm-up starts at
    ``lr / warm-up steps``. cosine and step run over the steps after the warm-up and over all steps.
    """
    warmup_steps = min(round(config.warmup_epochs * steps_per_epoch), total_steps)
    if step < warmup_steps:
        if config.warmup == "power4":
            return config.lr * (step / warmup_steps) ** 4
        return config.lr * (step + 1) / warmup_steps
    if config.schedule == "cosine":
        progress = (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps)
        return config.lr * (config.lr_end + (1 - config.lr_end) * (1 + math.cos(math.pi * progress)) / 2)
    if config.schedule == "step":
        drops = sum(step >= share * total_steps for share in config.milestones)
        return config.lr * config.gamma**drops
    return config.lr
