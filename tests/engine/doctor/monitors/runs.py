"""Short runs on the tiny set, with and without planted faults, and what their monitors said."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
import tiny_voc

from engine.config import load_config
from engine.runs import events as ev
from engine.training.session import Training

T = TypeVar("T", bound=ev.Event)

MINE = """
import torch
from engine.yolo.assign import assign as reference_assign
from engine.yolo.detector import Detector, Encoded
from engine.yolo.loss import LossProfile
from engine.layout import Layout

PROFILE = LossProfile(
    confidence="bce", box="ciou", classes="bce", reduction="positives", ignore_iou=0.0,
    box_scale=5.0, object_scale=1.0,
)

def terms_of(pred, targets, head):
    detector = Detector((head,), Layout(decode="linear"), PROFILE)
    terms = detector.loss(pred, Encoded([targets], None, torch.zeros(len(pred), 0, 4)))
    del terms["total"]
    return terms

def targets_of(boxes, labels, head):
    return reference_assign(boxes, labels, [head], "multi", 3.0).targets[0]
"""
"""A user's file that does what the reference does; a fault is put below it."""

DARKNET = (
    "layout.decode=yolov2",
    "model.assign=best",
    "loss.confidence=mse",
    "loss.box=mse",
    "loss.classes=softmax",
    "loss.reduction=batch",
    "loss.ignore_iou=0.6",
    "loss.box_scale=1.0",
    "loss.object_scale=5.0",
    "train.optimizer=sgd",
    "train.lr=1e-3",
    "train.schedule=constant",
    "train.warmup=power4",
    "train.warmup_epochs=1",
    "train.ema=0",
    "train.clip=0",
)
"""YOLOv2's profile and training."""


def trained(
    folder: Path,
    steps: int,
    *overrides: str,
    fault: str = "",
    resume_after: int = 0,
    stop_after: int = 0,
    resume: bool = False,
) -> list[ev.Event]:
    """The events of ``steps`` steps (three an epoch). ``fault``: source below ``MINE``. ``stop_after``: leave
    the run there; ``resume``: go on with one that was left."""
    config = folder / "tiny.toml" if (folder / "tiny.toml").exists() else tiny_voc.write_config(folder)
    code = None
    if fault:
        code = folder / "mine.py"
        code.write_text(MINE + fault)
    values = load_config(
        config, [f"train.epochs={-(-steps // 3)}", "train.eval_every=0", 'data.val=""', *overrides]
    )
    seen: list[ev.Event] = []
    parts = [resume_after, steps] if resume_after else [stop_after or steps]
    for k, until in enumerate(parts):
        training = Training(values, folder / "run", source=config, code=code, resume=resume or k > 0)
        queue = training.feed.subscribe()
        if until < steps:
            training.control.step(until)
            training.control.stop()
        training.run()
        seen += queue.drain()
    assert isinstance(seen[-1], ev.RunEnded)
    return seen


def of_kind(events: Sequence[ev.Event], kind: type[T]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def raised(events: Sequence[ev.Event]) -> dict[str, ev.FindingRaised]:
    """The findings by probe; each was raised once, and no monitor failed."""
    assert not [line for line in of_kind(events, ev.LogLine) if "monitors are off" in line.text]
    found = of_kind(events, ev.FindingRaised)
    names = [f.probe for f in found]
    cleared = {event.probe for event in of_kind(events, ev.FindingCleared)}
    assert len(set(names)) == len(names) or cleared
    return {f.probe: f for f in found}
