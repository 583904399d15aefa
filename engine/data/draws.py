"""Which image comes when: pure functions of the seed, so that a run can go on from any step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Draw:
    """One image of one epoch, 0-based, and whether it may be made a mosaic."""

    epoch: int
    index: int
    mosaic: bool


@dataclass(frozen=True, slots=True)
class BatchDraw:
    """A batch: its images, and width and height of the input that all of them are drawn into."""

    draws: list[Draw]
    input_wh: tuple[int, int]


def draw_rng(seed: int, draw: Draw) -> np.random.Generator:
    """The only source of randomness of a sample: it is a pure function of (seed, epoch, index)."""
    return np.random.default_rng((seed, 1, draw.epoch, draw.index))


def epoch_draws(seed: int, images: int, epoch: int, mosaic_on: Callable[[int], bool]) -> list[Draw]:
    """Every image once, in the epoch's own order. ``mosaic_on`` is asked with a place, 0..images - 1."""
    order = np.random.default_rng((seed, 0, epoch)).permutation(images)
    return [Draw(epoch, int(index), mosaic_on(place)) for place, index in enumerate(order)]


def part_of(draws: list[Draw], rank: int, ranks: int) -> list[Draw]:
    """A rank's slice of a batch, sizes as even as can be; where it is empty, the batch's last image."""
    return draws[_start(len(draws), rank, ranks) : _start(len(draws), rank + 1, ranks)] or draws[-1:]


def part_is_empty(images: int, rank: int, ranks: int) -> bool:
    """Whether a batch of so many images leaves none for a rank."""
    return _start(images, rank, ranks) == _start(images, rank + 1, ranks)


def _start(images: int, rank: int, ranks: int) -> int:
    # rounded up: the leader's slice is never empty
    return -(-images * rank // ranks)


def step_draws(
    seed: int, images: int, batch_size: int, first_step: int, total_steps: int, mosaic_off: float
) -> Iterator[list[Draw]]:
    """The draws of steps ``first_step .. total_steps - 1``, across epoch borders.

    An epoch has ``ceil(images / batch_size)`` steps: its last batch is kept when smaller. Mosaic is on for
    the steps before ``(1 - mosaic_off) * total_steps``.
    """
    per_epoch = -(-images // batch_size)
    last_mosaic = (1 - mosaic_off) * total_steps
    step = first_step
    while step < total_steps:
        epoch, position = divmod(step, per_epoch)
        start = epoch * per_epoch

        def mosaic_on(place: int, start: int = start) -> bool:
            return start + place // batch_size < last_mosaic

        draws = epoch_draws(seed, images, epoch, mosaic_on)
        for batch in range(position, per_epoch):
            if step == total_steps:
                return
            yield draws[batch * batch_size : (batch + 1) * batch_size]
            step += 1
