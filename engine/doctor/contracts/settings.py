"""What a config's training settings lead to: the schedule replayed, values that cannot work."""

from __future__ import annotations

from ...config import Config, TrainConfig
from ...learning.schedule import learning_rate
from ..findings import Finding
from .saying import finding

REACHED = 0.99
"""Share of ``train.lr`` that a schedule must come to at some step."""
ADAM_HIGH = 0.3
"""AdamW moves every weight by about the rate, whatever the gradient; weights are of the order of 0.1."""
SHRINKS = 0.05
"""Share of the weights that decay alone may take in one step."""
UNKNOWN_STEPS = 100
"""An epoch's, where the data could not be read."""


def examine_settings(config: Config, images: int | None) -> list[Finding]:
    """``images``: of the training split, or None where it is not known."""
    train = config.train
    steps = epoch_steps(train, images)
    return [*_schedule(train, steps), *_optimizer(train), *_average(train, steps)]


def epoch_steps(train: TrainConfig, images: int | None) -> int:
    """Updates an epoch."""
    return max(1, -(-images // train.batch_size)) if images else UNKNOWN_STEPS


def _schedule(train: TrainConfig, steps: int) -> list[Finding]:
    if train.minutes:  # how many epochs that makes is measured when training starts
        return []
    total = train.epochs * steps
    warm = min(round(train.warmup_epochs * steps), total)
    places = {0, max(0, warm - 1), min(warm, total - 1), total // 2, total - 1}
    highest = max(learning_rate(k, total, steps, train) for k in places)
    found = []
    if highest < REACHED * train.lr or (train.epochs > 1 and warm >= total):
        found.append(
            finding(
                "warmup",
                "warning",
                "config",
                f"the warm-up is as long as the training: {train.warmup_epochs:g} of {train.epochs} epochs",
                expected=f"a rate that comes to train.lr = {train.lr:g} and stays there a while",
                got=f"{highest:.3g} at most, in {total:,} steps",
                fix="lower train.warmup_epochs or raise train.epochs",
            )
        )
    if train.schedule == "step" and train.gamma > 1:
        found.append(
            finding(
                "gamma",
                "warning",
                "config",
                f"train.gamma = {train.gamma:g} raises the learning rate at each milestone",
                expected="a factor below 1",
                got=f"{train.gamma:g}",
                fix="gamma is what the rate is multiplied by: 0.1 for a tenth",
            )
        )
    return found


def _optimizer(train: TrainConfig) -> list[Finding]:
    found = []
    if train.momentum >= 1:
        found.append(
            finding(
                "momentum",
                "error",
                "config",
                "train.momentum = 1 never forgets a gradient",
                expected="below 1: 0.9 averages about ten steps",
                got="1",
                fix="0.9 is usual",
            )
        )
    if train.optimizer == "adamw" and train.beta2 >= 1:
        found.append(
            finding(
                "beta2",
                "error",
                "config",
                "train.beta2 = 1 never learns how large gradients are, and torch refuses it",
                expected="below 1",
                got="1",
                fix="0.999 is usual",
            )
        )
    if train.optimizer == "adamw" and train.lr >= ADAM_HIGH:
        found.append(
            finding(
                "rate",
                "error",
                "config",
                f"train.lr = {train.lr:g} is too high for adamw: every step moves every weight by that much",
                expected="0.0001 to 0.01",
                got=f"{train.lr:g}, beside weights of about 0.1",
                fix="0.001 is usual for adamw",
            )
        )
    if train.lr * train.weight_decay >= SHRINKS:
        found.append(
            finding(
                "decay",
                "warning",
                "config",
                f"weight decay alone takes {train.lr * train.weight_decay:.0%} of the weights at each step",
                expected=f"lr x weight_decay below {SHRINKS:g}",
                got=f"{train.lr:g} x {train.weight_decay:g}",
                fix="0.0005 is usual for sgd, 0.05 for adamw at a rate of 0.001",
            )
        )
    return found


def _average(train: TrainConfig, steps: int) -> list[Finding]:
    """The averaged weights are those that are validated and kept."""
    total = train.epochs * steps
    if not train.ema or train.minutes or (train.ema < 1 and 1 / (1 - train.ema) <= 2 * total):
        return []
    over = "all steps there ever were" if train.ema >= 1 else f"{1 / (1 - train.ema):,.0f} steps"
    return [
        finding(
            "average",
            "warning",
            "config",
            f"train.ema = {train.ema:g} averages over {over}; the training has {total:,}",
            expected="an average over a small part of the training",
            got="weights to validate and keep that lag far behind",
            fix="0.999 for thousands of steps, 0.9999 for tens of thousands, 0 for none",
        )
    ]
