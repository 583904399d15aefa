"""Which steps' tensors are kept, and where: the ring in memory, snapshots on disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ..blueprint import Blueprint
from ..config import CaptureConfig
from ..errors import UserError
from ..runs import events as ev
from ..runs.environment import environment
from ..runs.snapshot_ring import SnapshotRing
from ..runs.snapshots import CodePlace, Snapshot, make_snapshot, save, snapshot_path
from ..runs.spikes import Spikes
from ..yolo.detector import Detector
from ..yolo.plugin import NAMES, UserFunctions
from .step import Captured

WATCHED_SHARE = 0.02
"""Of a training's time, for the steps that an open inspector follows: behind a fast device not every step."""


class Captures:
    """Asked before a step whether it is to be captured, and given what was captured."""

    def __init__(
        self,
        config: CaptureConfig,
        blueprint: Blueprint,
        user: UserFunctions,
        folder: Path,
        emit: Callable[[ev.Event], None],
    ) -> None:
        self.ring = SnapshotRing(int(config.ring_mb * 2**20), config.ring_steps)
        self._config = config
        self._blueprint = blueprint
        self._user = user
        self._folder = folder
        self._emit = emit
        self._wanted = ""
        """Why the next step becomes a snapshot; empty: it does not."""
        self._afforded_at = 0.0
        """When the next step may be kept for somebody who looks on."""
        self.spikes = Spikes(config.spike)

    def ask(self, reason: str = "asked for") -> None:
        """The next step becomes a snapshot."""
        self._wanted = reason

    def wants(self, step: int, watched: bool) -> bool:
        """Whether this step (1-based) is to be captured. ``watched``: the inspector is open."""
        every = self._config.every
        followed = watched and time.monotonic() >= self._afforded_at
        return bool(self._wanted or followed or (every and step % every == 0) or self._scheduled(step))

    def take(self, captured: Captured, step: int, epoch: int) -> None:
        """Into the ring, and onto the disk where somebody asked or the schedule says so."""
        started = time.monotonic()
        reason = self._wanted or ("scheduled" if self._scheduled(step) else "")
        self._wanted = ""
        snapshot = as_snapshot(captured, self._blueprint, self._user, step, epoch, reason)
        self.ring.add(snapshot)
        if reason:
            self.write(snapshot)
        now = time.monotonic()
        self._afforded_at = now + (now - started) / WATCHED_SHARE

    def keep(self, captured: Captured, step: int, epoch: int, reason: str) -> Path:
        """Onto the disk, now."""
        return self.write(self.made(captured, step, epoch, reason))

    def made(self, captured: Captured, step: int, epoch: int, reason: str) -> Snapshot:
        return as_snapshot(captured, self._blueprint, self._user, step, epoch, reason)

    def write(self, snapshot: Snapshot) -> Path:
        path = snapshot_path(self._folder, snapshot.step)
        save(snapshot, path)
        self._emit(ev.SnapshotTaken(snapshot.step, str(path), snapshot.reason))
        return path

    def _scheduled(self, step: int) -> bool:
        return bool(self._config.snapshot_every and step % self._config.snapshot_every == 0)


def as_snapshot(
    captured: Captured,
    blueprint: Blueprint,
    user: UserFunctions,
    step: int,
    epoch: int,
    reason: str,
) -> Snapshot:
    """On the CPU, with everything that is known about the step.

    Raises ``UserError`` naming the user's function whose tensor has not the declared shape.
    """
    detector = blueprint.detector()
    try:
        return _make(captured, blueprint, detector, user, step, epoch, reason)
    except ValueError as error:
        name = {"decoded": "decode", "targets": "assign", "loss": "loss", "pred": "build_model"}.get(
            str(error).partition(".")[0], ""
        )
        if not user.get(name):
            raise
        raise UserError(f"`{name}` returned {error}", where=user.place(name)) from None


def _make(
    captured: Captured,
    blueprint: Blueprint,
    detector: Detector,
    user: UserFunctions,
    step: int,
    epoch: int,
    reason: str,
) -> Snapshot:
    return make_snapshot(
        step=step,
        epoch=epoch,
        layout=detector.layout,
        heads=captured.heads,
        pred=captured.preds,
        targets=captured.targets,
        decoded=captured.decoded,
        grad=captured.grads or None,
        maps=captured.maps,
        images=captured.batch.images,
        boxes=captured.batch.boxes,
        labels=captured.batch.labels,
        reason=reason,
        terms={name: float(value) for name, value in captured.terms.items()},
        classes=blueprint.classes,
        paths=tuple(captured.batch.paths),
        functions=code_places(user),
        profile={
            **blueprint.loss.model_dump(mode="json"),
            "assign": blueprint.model.assign,
            "assign_ratio": blueprint.model.assign_ratio,
        },
        versions=_versions(),
    )


@cache
def _versions() -> dict[str, str]:
    return {name: value for name, value in environment().items() if name in ("yolotui", "torch", "python")}


def code_places(user: UserFunctions) -> dict[str, CodePlace]:
    """Where the user's functions stand, by name."""
    places = {}
    for name in NAMES:
        place = user.place(name)
        if place:
            line = place.rpartition(":")[2]
            places[name] = CodePlace(str(Path(user.path)), int(line) if line.isdigit() else 0, user.sha256)
    return places
