"""What the built-in detector makes of a captured step: its own targets, boxes, losses and gradient.

From the snapshot alone: the truths and the raw prediction are in it, and what was declared.
"""

from __future__ import annotations

import dataclasses

import torch

from ..runs.snapshots import Snapshot, make_snapshot
from ..yolo.detector import Detector
from ..yolo.loss import LossProfile


def reference_snapshot(snapshot: Snapshot) -> Snapshot | None:
    """The same step by the reference; None where the snapshot lacks the prediction.

    Without truths (a foreign dump may have none) only the boxes are decoded.
    """
    preds = [snapshot.tensor("pred", k) for k in range(len(snapshot.heads))]
    whole = [pred.float().clone().requires_grad_() for pred in preds if pred is not None]
    if len(whole) != len(snapshot.heads):
        return None
    detector = declared_detector(snapshot)
    with torch.no_grad():
        decoded = [detector.decode(pred, head) for pred, head in zip(whole, snapshot.heads, strict=True)]
    boxes, labels = _truths(snapshot)
    parts: dict[str, object] = {}
    terms: dict[str, float] = {}
    if boxes is not None and labels is not None:
        encoded = detector.encode(boxes, labels)
        result = detector.loss(detector.one_or_list(whole), encoded, maps=True)
        maps = result.pop("maps")
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
        reason="the built-in detector on the same step",
        **parts,  # type: ignore[arg-type]
    )


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
