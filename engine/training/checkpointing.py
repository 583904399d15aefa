"""When a run is to be able to go on: what is written then, and how it is taken up again."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch

from ..runs import events as ev
from ..runs.folder import RunFolder
from .checkpoint import random_state, restore_random_state, save_model, save_state
from .distributed import Group
from .step import Stepper

MOST_SHARE = 0.02
"""Of a run's time, spent on writing when epochs end: where they are short, not every end is kept."""


class Checkpoints:
    """The leader's alone to write, for every rank holds the same; every rank goes on from the leader's."""

    def __init__(
        self,
        folder: RunFolder,
        blueprint: Mapping[str, Any],
        group: Group,
        emit: Callable[[ev.Event], None],
    ) -> None:
        self._folder = folder
        self._blueprint = blueprint
        self._group = group
        self._emit = emit
        self._next = 0.0

    @property
    def due(self) -> bool:
        """Whether writing now keeps to ``MOST_SHARE``; the first is always due."""
        return time.monotonic() >= self._next

    def write(self, stepper: Stepper, step: int, epoch: int, rest: Mapping[str, Any]) -> None:
        """``rest``: what must be known beside the weights, in plain values and tensors."""
        self._emit(ev.StateChanged("saving"))
        started = time.monotonic()
        save_model(self._folder.last, stepper.averaged, self._blueprint)
        state = {**stepper.state(), **rest, "random": random_state(), "blueprint": self._blueprint}
        save_state(self._folder.last_state, state)
        ended = time.monotonic()
        self._next = ended + (ended - started) / MOST_SHARE
        self._emit(ev.CheckpointSaved(step, epoch, str(self._folder.last), False))

    def take_up(self, state: Mapping[str, Any], stepper: Stepper, own: Hashable) -> None:
        """``own``: what the random numbers of a rank that kept none go on from."""
        stepper.load_state(dict(state))
        if self._group.leads:
            restore_random_state(state["random"])
        else:
            torch.manual_seed(hash(own))
