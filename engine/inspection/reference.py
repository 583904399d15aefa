"""What the built-in detector makes of a captured step: its own targets, boxes, losses and gradient.

From the snapshot alone: the truths and the raw prediction are in it, and what was declared.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from ..errors import UserError
from ..runs.snapshots import CodePlace, Snapshot, make_snapshot
from ..yolo.detector import Detector
from ..yolo.loss import LossProfile
from ..yolo.plugin import UserFunctions, line_at_fault

KEPT = ("images", "boxes.", "labels.")
"""What no function of the user's makes (``transform`` is not run again)."""


def reference_snapshot(snapshot: Snapshot) -> Snapshot | None:
    """The same step by the reference; None where the snapshot lacks the prediction.

    Without truths (a foreign dump may have none) only the boxes are decoded.
    """
    return _remake(snapshot, UserFunctions(), "the built-in detector on the same step")


def with_functions(snapshot: Snapshot, user: UserFunctions) -> Snapshot:
    """The same step as the user's functions would have had it: prediction and truths are kept, what
    ``assign``, ``decode``, ``iou`` and ``loss`` make of them is made anew.

    Raises ``UserError`` where the snapshot lacks the prediction, or the user's code raises (with its line) or
    gives other shapes than the declared.
    """
    try:
        made = _remake(snapshot, user, f"{snapshot.reason}; made anew by {Path(user.path).name}")
    except Exception as error:
        line = line_at_fault(user.path, error)
        where = f"{Path(user.path).name}:{line}" if line else user.path
        text = f"{type(error).__name__}: {error}" if line else str(error)
        raise UserError(" ".join(text.split()), where=where, fix="mend that line") from error
    if made is None:
        raise UserError(f"step {snapshot.step} holds no prediction", where="--code", fix="leave --code out")
    kept = {name: tensor for name, tensor in snapshot.tensors.items() if name.startswith(KEPT)}
    return dataclasses.replace(
        made,
        epoch=snapshot.epoch,
        tensors={**kept, **made.tensors},
        paths=snapshot.paths,
        functions=_places(user),
        versions=snapshot.versions,
    )


def _remake(snapshot: Snapshot, user: UserFunctions, reason: str) -> Snapshot | None:
    preds = [snapshot.tensor("pred", k) for k in range(len(snapshot.heads))]
    whole = [pred.float().clone().requires_grad_() for pred in preds if pred is not None]
    if len(whole) != len(snapshot.heads):
        return None
    detector = dataclasses.replace(declared_detector(snapshot), user=user)
    with torch.no_grad():
        decoded = [detector.decode(pred, head) for pred, head in zip(whole, snapshot.heads, strict=True)]
    boxes, labels = _truths(snapshot)
    parts: dict[str, object] = {}
    terms: dict[str, float] = {}
    if boxes is not None and labels is not None:
        encoded = detector.encode(boxes, labels)
        result = detector.loss(detector.one_or_list(whole), encoded, maps=True)
        maps = result.pop("maps", None)
        grads = torch.autograd.grad(result["total"], whole, allow_unused=True)
        terms = {name: float(value.detach()) for name, value in result.items()}
        parts = {
            "targets": encoded.targets,
            "maps": maps,
            "grad": [torch.zeros_like(p) if g is None else g for p, g in zip(whole, grads, strict=True)],
        }
    return make_snapshot(
        step=snapshot.step,
        epoch=snapshot.epoch,
        layout=snapshot.layout,
        heads=snapshot.heads,
        pred=whole,
        decoded=decoded,
        terms=terms,
        classes=snapshot.classes,
        profile=snapshot.profile,
        reason=reason,
        **parts,  # type: ignore[arg-type]
    )


def _places(user: UserFunctions) -> dict[str, CodePlace]:
    places = {}
    for name in user.functions:
        file, line = user.written(name)
        places[name] = CodePlace(user.path, line if file == user.path else 0, user.sha256)
    return places


def declared_detector(snapshot: Snapshot) -> Detector:
    """The built-in detector under what the snapshot declares; what it leaves out is YOLOv2's."""
    known = {field.name for field in dataclasses.fields(LossProfile)}
    values = {name: value for name, value in snapshot.profile.items() if name in known}
    if "total" in values:
        values["total"] = tuple(values["total"])
    return Detector(
        snapshot.heads,
        snapshot.layout,
        LossProfile(**values),
        snapshot.profile.get("assign", "best"),
        snapshot.profile.get("assign_ratio", 4.0),
    )


def _truths(snapshot: Snapshot) -> tuple[list[torch.Tensor] | None, list[torch.Tensor] | None]:
    boxes = [snapshot.tensors.get(f"boxes.{b}") for b in range(snapshot.batch)]
    labels = [snapshot.tensors.get(f"labels.{b}") for b in range(snapshot.batch)]
    if not snapshot.batch or any(part is None for part in (*boxes, *labels)):
        return None, None
    return [b.float() for b in boxes if b is not None], [k.long() for k in labels if k is not None]
