"""A training loop judged from inside, whoever wrote it: hooks in its first steps, then now and then."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..findings import Finding
from .descent import Descent
from .gradients import Gradients
from .membership import Membership
from .modes import Modes
from .pictures import Pictures
from .rates import Previous, Rates, Schedulers
from .roster import Optimizer, every_optimizer, innermost, roster
from .saying import Said
from .witness import Update, Witness
from .workers import shared_seed

__all__ = ["LoopJudge", "Previous"]

UPDATES, FIRST_LONGEST, LONGEST = 10, 256, 24
"""Updates seen in the first look, the iterations it may take (a loop may gather gradients over many), and
those of each later look."""
LATER_UPDATES, EVERY, SHARE = 4, 250, 0.002
"""Updates seen in a later look, iterations between two looks at least, and the share of the time they may
take."""


CONSEQUENCES = ("contract.finite", "contract.norm.poisoned")


class LoopJudge:
    """Judges the loop around ``model`` and ``optimizer``. Never raises; says each thing once.

    ``optimizer``: one, or a list or a dict of them. ``loader``: a ``torch.utils.data.DataLoader`` whose
    workers are then started once, beside the loop, to see whether they draw the same random numbers.
    ``previous``: where the run stood before it was resumed. ``scheduler``: found by itself if it is torch's.

    ``step`` is called once an iteration, at any place of it that stays the same. Between looks it costs
    some microseconds; hooks stay on the model only during a look.
    """

    def __init__(
        self,
        model: nn.Module | None,
        optimizer: Any = None,
        loader: Any = None,
        *,
        previous: Previous | None = None,
        scheduler: Any = None,
    ) -> None:
        self.broken = ""
        """Why the judge has given up: what it met in the loop that it cannot deal with."""
        self.iteration = 0
        self._said = Said()
        self._waiting: list[Finding] = []
        self._model = model
        self._witness: Witness | None = None
        self._optimizers: list[Optimizer] = []
        self._pictures = Pictures()
        self._until, self._next = 0, 0
        self._spent = 0.0
        self._begun = time.perf_counter()
        self._was_training = True
        self._first = True
        self._place: tuple[str, int | None] = ("", None)
        try:
            self._optimizers = every_optimizer(optimizer)
            self._schedulers = Schedulers(self._optimizers, scheduler)
            self._rates = Rates(previous)
            if loader is not None:
                self._waiting += shared_seed(loader)
            if model is not None:
                self._model = innermost(model)
                self._modes = Modes(self._model)
                self._gradients = Gradients()
                self._descent = Descent()
                self._open()
        except Exception as error:
            self._give_up(error)

    def step(
        self,
        losses: Mapping[str, Any] | None = None,
        images: Any = None,
        place: tuple[str, int] | None = None,
    ) -> list[Finding]:
        """One iteration is over. ``losses``: tensors or numbers, ``total`` among them if there is one.
        ``images``: the batch. ``place``: file and line of the loop, for the findings. Returns what is new."""
        if self.broken:
            return []
        try:
            found = self._step(losses or {}, images)
        except Exception as error:
            return self._give_up(error)
        self._place = place or self._place
        return self._news(found)

    def end(self) -> list[Finding]:
        """The loop is over: the look that is going on, if any, says what it has seen so far."""
        if self.broken or self._witness is None or not self.iteration:
            return []  # a script that failed before its first step has nothing to be told
        try:
            return self._news(self._end_look())
        except Exception as error:
            return self._give_up(error)

    def close(self) -> None:
        """Take the hooks off."""
        if self._witness is not None:
            self._witness.detach()

    def _news(self, found: list[Finding]) -> list[Finding]:
        if not found:
            return found
        file, line = self._place
        fresh = self._said.news(found)
        return [replace(f, file=f.file or file, line=f.line if f.line is not None else line) for f in fresh]

    def _give_up(self, error: Exception) -> list[Finding]:
        self.broken = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        self.close()
        return []

    def _step(self, losses: Mapping[str, Any], images: Any) -> list[Finding]:
        self.iteration += 1
        found, self._waiting = self._waiting, []
        witness = self._witness
        if witness is None:
            if self._model is None:
                if images is not None and self._pictures.wanted:
                    found += self._pictures.add(images)
                return found
            turned = self._was_training and not self._model.training
            if self.iteration >= self._next or turned:
                self._open()
            return found
        started = time.perf_counter()
        found += self._look(witness, losses, images)
        self._spent += time.perf_counter() - started
        return found

    # a look

    def _open(self) -> None:
        assert self._model is not None
        started = time.perf_counter()
        people = roster(self._model, self._optimizers)
        if not people.parameters:
            self._next = self.iteration + EVERY
            return
        self._witness = Witness(
            self._model, people, self._optimizers, self._modes.now, self._schedulers.ticks
        )
        self._witness.attach()
        self._membership = Membership(people, self._optimizers, self._witness)
        self._gradients.begin(self._witness)
        self._modes.begin()
        self._updates = 0
        self._until = self.iteration + (FIRST_LONGEST if self._first else LONGEST)
        self._spent += time.perf_counter() - started

    def _look(self, witness: Witness, losses: Mapping[str, Any], images: Any) -> list[Finding]:
        happened = witness.take()
        updates = [each for each in happened if isinstance(each, Update)]
        self._updates += len(updates)
        found = self._descent.take(total_of(losses), updates, witness.roster, self._first)
        found += [f for f in self._gradients.take(happened) if not self._explained(f)]
        found += self._modes.take(happened)
        found += self._membership.take(updates)
        found += self._rates.take(updates)
        found += self._schedulers.take(happened)
        if images is not None and self._pictures.wanted:
            found += self._pictures.add(images)
        enough = UPDATES if self._first else LATER_UPDATES
        if (self._updates >= enough and not self._membership.curious) or self.iteration >= self._until:
            found += self._end_look()
        return found

    def _end_look(self) -> list[Finding]:
        """What only a whole look can tell."""
        found = self._membership.end(self._gradients.arrivals)
        found += [f for f in self._modes.end() if not self._explained(f)]
        found += self._schedulers.forgotten(self.iteration)
        self._close_look()
        return found

    def _explained(self, finding: Finding) -> bool:
        """What steps far too large leave behind is no fault of its own."""
        return finding.probe in CONSEQUENCES and self._descent.wild

    def _close_look(self) -> None:
        assert self._model is not None
        assert self._witness is not None
        self.close()
        self._spent += self._witness.seconds
        self._witness = None
        self._was_training = self._model.training
        each = (time.perf_counter() - self._begun) / max(1, self.iteration)
        self._next = self.iteration + max(EVERY, int(self._spent / (SHARE * max(each, 1e-6))))
        self._spent = 0.0
        self._first = False


def total_of(losses: Mapping[str, Any]) -> Tensor | None:
    """What is said to be minimised: ``total`` or ``loss``, else the sum of all."""
    named = [losses[name] for name in ("total", "loss") if name in losses]
    values = [v for v in (named[:1] or losses.values()) if isinstance(v, (Tensor, int, float))]
    if not values:
        return None
    return torch.stack([torch.as_tensor(v).detach().float().sum().cpu() for v in values]).sum()
