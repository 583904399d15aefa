"""The data, as far as a look before training can tell; ``data check`` reads it all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...blueprint import declared_anchors
from ...config import Config
from ...data.anchors import best_possible_recall, fit_anchors
from ...data.demo import CLASSES, demo_root
from ...data.fitted import fitted_sizes
from ...data.opening import open_split
from ...data.sample import Dataset
from ...nets.registry import head_strides
from ...yolo.detector import Detector
from ..bench import Outcome
from ..findings import Finding
from .boxes import Contest, contest, crowded, doubles, small
from .labels import judge_labels, judge_presence
from .pictures import examine_pictures

MOST = 1500
"""Images of a split that are looked at here; `data check` reads them all."""
LOW_RECALL = 0.7


@dataclass
class DataLook:
    """``anchors``: fitted ones where the config asks for k-means and there is data to fit."""

    classes: tuple[str, ...]
    anchors: Any = None
    train: Dataset | None = None
    outcome: Outcome = field(default_factory=dict)


def examine_data(config: Config) -> DataLook:
    """Raises ``UserError`` where the named data cannot be opened at all."""
    if config.data.format == "demo" and not demo_root(config.data.root).is_dir():
        return DataLook(tuple(config.data.classes) or CLASSES)  # drawing it is not a check's business
    if config.data.format != "demo" and not config.data.root and config.data.classes:
        return DataLook(tuple(config.data.classes))
    train = open_split(config.data, config.data.train, most=MOST)
    look = DataLook(train.classes, train=train)
    look.outcome["data.labels"] = judge_labels(train)
    splits = [train]
    if config.data.val:
        val = open_split(config.data, config.data.val, most=MOST, trained=train.classes)
        look.outcome["data.labels"] += judge_labels(val)
        look.outcome["data.splits"] = _shared(train, val)
        splits += [val] if config.data.val != config.data.train else []
    # a picture that is turned explains why its labels stick out
    look.outcome = examine_pictures(splits) | look.outcome
    look.outcome["data.doubles"] = doubles(splits)
    look.outcome["data.objects"] = judge_presence(train)
    look.outcome["data.balance"] = _balance(train)
    look.outcome["data.anchors"] = _anchors(config, train, look)
    return look


def examine_slots(look: DataLook, detector: Detector) -> tuple[Contest, Outcome]:
    """The truths against the detector's grids: which are below a cell, which want one slot."""
    if look.train is None:
        return Contest(), {}
    heads, stretch = detector.heads, detector.stretch
    found = contest(look.train, heads, stretch)
    return found, {
        "data.small": small(look.train, heads, stretch),
        "data.contested": crowded(look.train, found),
    }


def _shared(train: Dataset, val: Dataset) -> list[Finding]:
    common = {str(s.path) for s in train.samples} & {str(s.path) for s in val.samples}
    if not common or train.name == val.name:
        return []
    return [
        Finding(
            "warning",
            "data.splits",
            "data",
            f"{len(common)} images stand in {train.name} and in {val.name}: validation will flatter",
            tensor="image",
            expected="no image in two splits",
            got=Path(sorted(common)[0]).name,
            fix="take them out of one split",
        )
    ]


def _balance(train: Dataset) -> list[Finding]:
    counts = np.bincount(
        np.concatenate([np.zeros(0, np.int64), *[s.labels for s in train.samples]]),
        minlength=len(train.classes),
    )
    missing = [name for name, count in zip(train.classes, counts, strict=True) if not count]
    if not missing or not train.samples:
        return []
    return [
        Finding(
            "warning",
            "data.balance",
            "data",
            f"{len(missing)} of {len(train.classes)} classes have no object in {train.name}",
            tensor="labels",
            channels=("class",),
            expected="objects of every class",
            got=", ".join(missing[:5]),
            fix="check data.classes and the labels' ids",
        )
    ]


def _anchors(config: Config, train: Dataset, look: DataLook) -> list[Finding]:
    sizes = fitted_sizes(train, config.model.input_wh, config.model.stretched)
    if not len(sizes):
        return []
    strides = head_strides(config.model)
    table = declared_anchors(config.model)
    if table is None:
        count = config.model.anchor_count
        total, seed = count * len(strides), config.train.seed
        pixels = fit_anchors(train, config.model.input_wh, total, seed, config.model.stretched)
        groups = [pixels[k * count : (k + 1) * count] for k in range(len(strides))]
        look.anchors = tuple(
            tuple((round(float(w) / stride, 4), round(float(h) / stride, 4)) for w, h in group)
            for stride, group in zip(strides, groups, strict=True)
        )
        return []
    flat = [(w, h, stride) for stride, head in zip(strides, table, strict=True) for w, h in head]
    recall, _ = best_possible_recall(sizes, [(w * s, h * s) for w, h, s in flat])
    if recall >= LOW_RECALL:
        return []
    for text, factor in (
        ("they are pixels, where grid units are wanted", [1.0 for _ in flat]),
        (
            "they are fractions of the input, where grid units are wanted",
            [float(max(config.model.input_wh)) for _ in flat],
        ),
    ):
        other, _ = best_possible_recall(
            sizes, [(w * f, h * f) for (w, h, _), f in zip(flat, factor, strict=True)]
        )
        if other > recall + 0.3:
            return [_anchor_finding(config, recall, f"{text} (as such they meet {other:.0%})", recall < 0.05)]
    turned, _ = best_possible_recall(sizes, [(h * s, w * s) for w, h, s in flat])
    if turned > recall + 0.2:
        return [
            _anchor_finding(
                config, recall, f"height and width look swapped (turned they meet {turned:.0%})", False
            )
        ]
    return [_anchor_finding(config, recall, "", False)]


def _anchor_finding(config: Config, recall: float, text: str, sure: bool) -> Finding:
    """An error only where next to no object meets an anchor and another unit mends it."""
    message = f"the anchors meet {recall:.0%} of the training objects at IoU 0.5"
    return Finding(
        "error" if sure else "warning",
        "data.anchors",
        "config",
        message + (f": {text}" if text else ""),
        tensor="boxes",
        channels=("w", "h"),
        expected="most objects near an anchor, [w, h] in grid units of their head",
        got=str(config.model.anchors)[:120],
        fix='divide them by the stride, or set model.anchors = "kmeans"',
    )
