"""A step's tensors as a snapshot."""

from __future__ import annotations

from pathlib import Path

from ..blueprint import Blueprint
from ..runs.environment import environment
from ..runs.snapshots import CodePlace, Snapshot, make_snapshot
from ..yolo.plugin import NAMES, UserFunctions
from .step import Captured


def as_snapshot(
    captured: Captured,
    blueprint: Blueprint,
    user: UserFunctions,
    step: int,
    epoch: int,
    reason: str,
) -> Snapshot:
    """On the CPU, with everything that is known about the step."""
    detector = blueprint.detector()
    encoded = captured.batch.targets
    return make_snapshot(
        step=step,
        epoch=epoch,
        layout=detector.layout,
        heads=detector.heads,
        pred=captured.preds,
        targets=encoded.targets,
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
        profile=blueprint.loss.model_dump(mode="json"),
        versions={k: v for k, v in environment().items() if k in ("yolotui", "torch", "python")},
    )


def code_places(user: UserFunctions) -> dict[str, CodePlace]:
    """Where the user's functions stand, by name."""
    places = {}
    for name in NAMES:
        place = user.place(name)
        if place:
            line = place.rpartition(":")[2]
            places[name] = CodePlace(str(Path(user.path)), int(line) if line.isdigit() else 0, user.sha256)
    return places
