"""How long to train: a number of steps, fixed before the first."""

from __future__ import annotations

import copy
import statistics
import time
from itertools import pairwise

import torch
from torch import nn

from ..config import TrainConfig
from ..data.batches import BatchLoader
from ..device import Compute
from ..yolo.detector import Detector
from .distributed import Group
from .step import Stepper

WARM_STEPS = 3
"""Not counted: the first passes allocate."""
MEASURE_SHARE, MEASURE_MOST = 0.04, 20.0
"""Of the time wished for, and in seconds, spent on measuring."""
RESERVE = 0.03
"""Share of the time kept back for checkpoints and a machine that slows down."""


def steps_for_minutes(
    model: nn.Module,
    detector: Detector,
    loader: BatchLoader,
    config: TrainConfig,
    compute: Compute,
    mosaic_off: float,
    group: Group | None = None,
) -> tuple[int, float]:
    """Steps that fit into ``config.minutes`` and the measured seconds of one, loading included.

    Measured on a copy: the run itself is left untouched. The measuring is part of the minutes. In a group the
    leader's clock decides, at every rank.
    """
    group = group or Group()
    started = time.monotonic()
    limit = min(MEASURE_MOST, MEASURE_SHARE * config.minutes * 60)
    stepper = Stepper(copy.deepcopy(model), detector, config, compute, group)
    marks = [time.monotonic()]
    for step, batch in enumerate(loader.train_batches(0, 1_000_000, mosaic_off, declared=True)):
        stepper.step(batch, config.lr / 100, 0, idle=loader.is_idle(step))
        if compute.device.type == "cuda":
            torch.cuda.synchronize(compute.device)
        marks.append(time.monotonic())
        if group.tell(len(marks) > WARM_STEPS + 1 and marks[-1] - started >= limit):
            break
    loader.close()
    # the median: a machine busy for a moment must not decide over the whole run
    seconds = statistics.median(b - a for a, b in pairwise(marks[min(WARM_STEPS, len(marks) - 2) :]))
    # measured at the declared size; the time goes by the pixels, and the last share of the run is at it
    seconds *= mosaic_off + (1 - mosaic_off) * loader.sizes.mean_area
    left = config.minutes * 60 * (1 - RESERVE) - (time.monotonic() - started)
    return group.tell((max(1, int(left / seconds)), seconds))
