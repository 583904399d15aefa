"""A plug-in without a fault for any declared design: the reference's functions under the contract's names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from engine.config import load_config
from engine.doctor.check import check
from engine.doctor.findings import Report

SOURCE = """
import torch
from engine.boxes import iou as corner_iou, to_xyxy
from engine.layout import Layout
from engine.yolo.detector import Detector, Encoded
from engine.yolo.loss import LossProfile

LAYOUT = Layout(**{layout!r})
PROFILE = LossProfile(**{profile!r})


def _detector(head):
    heads = tuple(head) if isinstance(head, (list, tuple)) else (head,)
    return Detector(heads, LAYOUT, PROFILE, {rule!r}, {ratio!r}, stretch={stretch!r})


def assign(boxes, labels, head):
    made = _detector(head)
    return made.one_or_list(made.encode(boxes, labels).targets)


def decode(pred, head):
    return _detector(head).decode(pred, head)


def iou(a, b):
    return corner_iou(to_xyxy(a), to_xyxy(b))


def loss(pred, targets, head):
    made = _detector(head)
    targets = made.as_list(targets)
    truths = []
    for image in range(made.as_list(pred)[0].shape[0]):
        rows = [LAYOUT.read_targets(t, h)[image] for t, h in zip(targets, made.heads)]
        truths.append(torch.cat([r[r[..., 0] > 0][:, 2:6] for r in rows]))
    padded = torch.nn.utils.rnn.pad_sequence(truths, batch_first=True)
    return made.loss(pred, Encoded(targets, None, padded), seen=10**9)


def detect(pred, head, sizes, conf=0.25, iou=0.45):
    return _detector(head).detect(pred, sizes, conf=conf, iou=iou)
"""


@dataclass(frozen=True)
class Design:
    """A config's model, layout and loss sections; ``said``: the loss keys that its text sets."""

    classes: int = 3
    model: dict[str, Any] = field(default_factory=dict)
    layout: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    said: bool = True

    def write(self, folder: Path) -> Path:
        model = {
            "name": "compact",
            "input_size": [320, 256],
            "strides": [32],
            "anchors": [[1.0, 1.6], [3.0, 2.0], [5.0, 6.0]],
            **self.model,
        }
        values: dict[str, Any] = {
            "data": {"classes": [f"class{k}" for k in range(self.classes)]},
            "model": model,
            "layout": self.layout,
        }
        if self.said:
            values["loss"] = self.loss
        path = folder / "design.toml"
        path.write_text(tomli_w.dumps(values))
        return path

    def source(self) -> str:
        layout = {k: tuple(v) if isinstance(v, list) else v for k, v in self.layout.items()}
        profile = {k: tuple(v) if isinstance(v, list) else v for k, v in self.loss.items()}
        rule = self.model.get("assign", "best")
        ratio = self.model.get("assign_ratio", 4.0)
        stretch = self.model.get("resize") == "stretch"
        return SOURCE.format(layout=layout, profile=profile, rule=rule, ratio=ratio, stretch=stretch)


def examine(folder: Path, text: str, design: Design | None = None, **keywords: Any) -> Report:
    """``check`` of a plug-in's text under a design."""
    folder.mkdir(parents=True, exist_ok=True)
    source = (design or Design()).write(folder)
    code = folder / "mine.py"
    code.write_text(text)
    return check(load_config(source), source=source, code=code, **keywords)


def errors(report: Report) -> list[str]:
    return [
        f"{f.function} {f.probe} {f.channels}: {f.message}" for f in report.findings if f.severity == "error"
    ]


MODERN = {
    "objectness": "iou",
    "confidence": "bce",
    "box": "ciou",
    "classes": "bce",
    "reduction": "positives",
    "ignore_iou": 0.0,
}
ONE = {
    "objectness": "one",
    "confidence": "bce",
    "box": "giou",
    "classes": "bce",
    "reduction": "mean",
    "ignore_iou": 0.5,
    "total": ["lcls", "lbox", "lobj"],
}
SMOOTH = {
    "box": "smooth-l1",
    "objectness": "one",
    "total": ["lcls", "lbox", "lobj", "liou"],
    "ignore_iou": 0.7,
}
OTHER_LAYOUT = {
    "order": "b (a c) y x",
    "pred": ["x", "y", "w", "h", "conf", "class*"],
    "target": ["class", "mask", "w", "h", "x", "y", "iou"],
    "target_xy": "cell",
    "target_wh": "log-anchor",
}
THREE_HEADS = {
    "strides": [8, 16, 32],
    "input_size": [416, 416],
    "anchors": [
        [[1.25, 1.625], [2.0, 3.75], [4.125, 2.875]],
        [[1.875, 3.8125], [3.875, 2.8125], [3.6875, 7.4375]],
        [[3.625, 2.8125], [4.875, 6.1875], [11.65625, 10.1875]],
    ],
}
VOC = {
    "name": "yolov2",
    "input_size": 416,
    "strides": [32],
    "anchors": [
        [1.3221, 1.73145],
        [3.19275, 4.00944],
        [5.05587, 8.09892],
        [9.47112, 4.84053],
        [11.2364, 10.0071],
    ],
}
DESIGNS = {
    "seed": Design(20, VOC),
    "seed, nothing said": Design(20, VOC, said=False),
    "stretched": Design(4, {"input_size": [224, 160], "resize": "stretch"}),
    "one class": Design(1, {"input_size": [224, 224], "anchors": [[2.0, 2.0]]}),
    "eighty classes": Design(80, {"input_size": [608, 416]}, loss=MODERN),
    "compact": Design(
        3,
        {
            "strides": [8],
            "input_size": [320, 240],
            "anchors": [[2.5, 2.5], [6, 6], [12, 12]],
            "assign": "multi",
            "assign_ratio": 2.0,
        },
        {"decode": "linear"},
        MODERN,
    ),
    "yolov5": Design(
        4,
        {
            "strides": [16, 32],
            "anchors": [[[1.2, 1.9], [2.5, 2.0]], [[2.8, 1.6], [4, 5.5]]],
            "assign": "multi",
        },
        {"decode": "yolov5"},
        ONE,
    ),
    "three heads": Design(2, THREE_HEADS, {"order": "b a y x c"}, ONE),
    "other layout": Design(5, {}, OTHER_LAYOUT, SMOOTH),
    "grid targets": Design(
        7,
        {"input_size": [224, 224]},
        {"target_xy": "grid", "target_wh": "grid", "order": "b a c y x"},
        {"box": "diou"},
    ),
    "plain iou": Design(6, {}, {}, {"box": "iou", "confidence": "bce", "reduction": "mean"}),
}
