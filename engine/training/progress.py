"""From step records on the device to events: read in bunches, so that no step waits for its losses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..runs.events import EpochDone, StepDone
from ..runs.summaries import summarize

MOST_UNREAD = 20
"""Steps whose losses may stay unread: a non-finite value is seen at most this much later."""
READ_SECONDS = 0.25


@dataclass(frozen=True)
class PendingStep:
    """A step done, its losses still on the device (``record``: the terms in order, the gradient's norm, in a
    group the images and objects of all ranks, and what the monitors measured)."""

    step: int
    epoch: int
    iteration: int
    lr: float
    record: Tensor
    images: int
    objects: int
    data_seconds: float
    seconds: float


@dataclass
class EpochTotals:
    """What one epoch's steps add up to: values of the terms, a row a step."""

    terms: Sequence[str]
    per_object: bool
    rows: list[list[float]] = field(default_factory=list)
    images: int = 0
    objects: int = 0
    seconds: float = 0.0
    lr: float = 0.0

    def add(self, done: StepDone) -> None:
        # terms are sums over a batch divided by its images: per object they compare across batches
        factor = done.images / max(1, done.objects) if self.per_object else 1.0
        self.rows.append([done.terms[name] * factor for name in self.terms])
        self.images += done.images
        self.objects += done.objects
        self.seconds += done.seconds
        self.lr = done.lr

    def event(self, epoch: int, step: int) -> EpochDone:
        table = np.array(self.rows, dtype=np.float64).reshape(-1, len(self.terms))
        summaries = {name: summarize(table[:, k]) for k, name in enumerate(self.terms)}
        return EpochDone(epoch, step, summaries, self.images, self.objects, self.seconds, self.lr)

    def state(self) -> dict[str, object]:
        return {
            "rows": torch.tensor(self.rows, dtype=torch.float64),
            "images": self.images,
            "objects": self.objects,
            "seconds": self.seconds,
            "lr": self.lr,
        }

    def load_state(self, state: dict[str, object]) -> None:
        rows = state["rows"]
        assert isinstance(rows, Tensor)
        self.rows = rows.tolist()
        self.images, self.objects = int(str(state["images"])), int(str(state["objects"]))
        self.seconds, self.lr = float(str(state["seconds"])), float(str(state["lr"]))


class StepReader:
    """Holds what is unread and reads it when it is time to, or when somebody must know."""

    def __init__(self, terms: Sequence[str], device: torch.device, counted: bool = False) -> None:
        """``counted``: images and objects stand in the records."""
        self._terms = tuple(terms)
        self._counted = counted
        self._immediate = device.type == "cpu"  # nothing to wait for there
        self._pending: list[PendingStep] = []
        self._arrivals: list[_Arrival] = []
        self._read_at = time.monotonic()

    def add(self, pending: PendingStep) -> None:
        self._pending.append(pending)
        self._arrivals.append(_Arrival(pending.record))

    def due(self) -> bool:
        if self._immediate:
            return bool(self._pending)
        full = len(self._pending) >= MOST_UNREAD
        return full or (len(self._pending) > 1 and time.monotonic() - self._read_at >= READ_SECONDS)

    def read(self, memory: int, all_of_them: bool = True) -> list[tuple[StepDone, list[float]]]:
        """Unread steps as events, and what the monitors measured at them: the one place where the host waits
        for the device. Unless ``all_of_them`` are wanted the newest stays, so that the device has work while
        the host reads."""
        count = len(self._pending) if all_of_them or self._immediate else len(self._pending) - 1
        if count < 1:
            return []
        found = [
            self._told(pending, arrival.values(), memory)
            for pending, arrival in zip(self._pending[:count], self._arrivals[:count], strict=True)
        ]
        del self._pending[:count], self._arrivals[:count]
        self._read_at = time.monotonic()
        return found

    def _told(self, pending: PendingStep, row: list[float], memory: int) -> tuple[StepDone, list[float]]:
        width = len(self._terms) + 1
        done = StepDone(
            step=pending.step,
            epoch=pending.epoch,
            iteration=pending.iteration,
            lr=pending.lr,
            terms=dict(zip(self._terms, row, strict=False)),
            grad_norm=row[width - 1],
            images=int(row[width]) if self._counted else pending.images,
            objects=int(row[width + 1]) if self._counted else pending.objects,
            data_seconds=pending.data_seconds,
            seconds=pending.seconds,
            memory=memory,
        )
        return done, row[width + 2 * self._counted :]


class _Arrival:
    """A record on its way from the device: sent off at once, behind its own step and before the next."""

    def __init__(self, record: Tensor) -> None:
        self._values = record
        self._event: torch.cuda.Event | None = None
        if record.device.type == "cuda":
            self._values = torch.empty(record.shape, dtype=record.dtype, pin_memory=True)
            self._values.copy_(record, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()

    def values(self) -> list[float]:
        if self._event is not None:
            self._event.synchronize()
        return self._values.tolist()
