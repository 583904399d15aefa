"""When a run is to be able to go on: what is written then, and how it is taken up again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch

from ..runs import events as ev
from ..runs.folder import RunFolder
from .checkpoint import random_state, restore_random_state, save_model, save_state
from .distributed import Group
from .step import Stepper


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

    def write(self, stepper: Stepper, step: int, epoch: int, rest: Mapping[str, Any]) -> None:
        """``rest``: what must be known beside the weights, in plain values and tensors."""
        self._emit(ev.StateChanged("saving"))
        save_model(self._folder.last, stepper.averaged, self._blueprint)
        state = {**stepper.state(), **rest, "random": random_state(), "blueprint": self._blueprint}
        save_state(self._folder.last_state, state)
        self._emit(ev.CheckpointSaved(step, epoch, str(self._folder.last), False))

    def take_up(self, state: Mapping[str, Any], stepper: Stepper, own: Hashable) -> None:
        """``own``: what the random numbers of a rank that kept none go on from."""
        stepper.load_state(dict(state))
        if self._group.leads:
            restore_random_state(state["random"])
        else:
            torch.manual_seed(hash(own))
