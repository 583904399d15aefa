"""The user's ``detect`` alone: perfect predictions in uneven letterboxes give the truths back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...boxes import to_cxcywh
from ..calling import Called
from ..findings import Finding, Table
from ..inputs import given, perfect
from ..stage import BOX_NAMES, GROUPS, Stage, columns
from .crowd import judge_crowd
from .explained import explain_boxes
from .influence import COLUMNS, influence, misread
from .nms import judge_many, judge_nms, judge_overlap
from .places import judge_places
from .run import Pictures, cut_to_picture, first, pictures, run_detect, strongest
from .score import judge_score

SLOW = 0.5
"""Seconds for one picture with one sure object."""
Results = Iterator[tuple[str, list[Finding]]]


def probe_detect(called: Called, stage: Stage, tables: list[Table]) -> Results:
    shown = pictures(stage)
    begun = time.perf_counter()
    found = run_detect(called, stage, perfect(stage, first(shown, stage).made), shown.sizes[:1])
    if time.perf_counter() - begun > SLOW:
        shown = first(shown, stage)  # every slot goes through its NMS, maybe: one picture will show it
    else:
        found = run_detect(called, stage, perfect(stage, shown.made), shown.sizes)
    yield "detect.call", []
    wrong = _roundtrip(called, stage, shown, found, tables)
    yield "detect.roundtrip", wrong
    if wrong:
        return
    yield "detect.many", (many := judge_many(called, stage))
    yield "detect.places", [] if many else judge_places(called, stage)
    yield "detect.score", judge_score(called, stage, shown)
    suppressed = judge_nms(called, stage) or judge_overlap(called, stage)
    yield "detect.nms", suppressed
    yield "detect.crowd", [] if many or suppressed else judge_crowd(called, stage)
    yield "detect.empty", _nothing(called, stage, shown)
    yield "detect.inputs", _inputs(called, stage, shown)


def _roundtrip(
    called: Called, stage: Stage, shown: Pictures, found: list[Tensor], tables: list[Table]
) -> list[Finding]:
    boxes_off, classes_off, counts_off = [], [], []
    for image, rows in enumerate(found):
        top = strongest(rows)
        if top is None or len(rows) != 1:
            counts_off.append(image)
        if top is None:
            continue
        room = shown.tolerance(stage, image)
        places = (cut_to_picture(shown, image), shown.pixels[image][0])  # clipped to the picture or not
        if all(float((top[:4] - place).abs().max()) > room for place in places):
            boxes_off.append(image)
        if int(top[5]) != int(shown.made.labels[image][0]):
            classes_off.append(image)
    if not (boxes_off or classes_off or counts_off):
        return []
    missing: set[str] = set()
    extra: set[str] = set()
    if len(shown.sizes) > 1:
        table = influence(called, stage, shown)
        if stage.name == "own":
            tables.append(table)
        missing, extra = misread(table)
    if counts_off and all(len(found[image]) > 3 for image in counts_off):
        missing -= set(BOX_NAMES)  # of a crowd the strongest may be any
    make = _Maker(called, stage, shown, found, tuple(g for g in GROUPS if g in missing | extra))
    if boxes_off and not (missing | extra) & {"conf", "class"}:
        return [make.boxes(boxes_off)]
    if counts_off:
        return [make.counts(counts_off, missing, extra)]
    return [make.classes(classes_off)] if classes_off else [make.boxes(boxes_off)]


@dataclass(frozen=True)
class _Maker:
    called: Called
    stage: Stage
    shown: Pictures
    found: list[Tensor]
    misread: tuple[str, ...]

    def boxes(self, images: list[int]) -> Finding:
        got = [strongest(rows) for rows in self.found]
        explained = explain_boxes(self.stage, self.shown.made.boxes, self.shown.sizes, got)
        image = images[0]
        top = got[image]
        assert top is not None
        wrong = self._coordinates(images, got)
        height, width = self.shown.sizes[image]
        only_bordered = all(k % 4 for k in images)
        message = "detect gives the truths of perfect predictions back in the wrong place"
        if explained.text:
            message += f": {explained.text}"
        elif only_bordered:
            message += ": right where the original has the input's shape, wrong where a letterbox has borders"
        return self.called.placed(
            Finding(
                "error",
                "detect.roundtrip",
                "detect",
                message,
                tensor="detections",
                channels=explained.channels or self.misread or wrong,
                expected=_row(self.shown.pixels[image][0]) + f" in an original of {width}x{height}",
                got=_row(top[:4]),
                fix=explained.fix
                or "take the letterbox's borders off, divide by its scale: x = (x * input_w - left) / scale",
            )
        )

    def _coordinates(self, images: list[int], got: list[Tensor | None]) -> tuple[str, ...]:
        """Which of cx, cy, w, h are off in any image."""
        off = torch.zeros(4, dtype=torch.bool)
        for image in images:
            top = got[image]
            if top is not None:
                away = (to_cxcywh(top[:4]) - to_cxcywh(cut_to_picture(self.shown, image))).abs()
                off |= away > self.shown.tolerance(self.stage, image)
        return tuple(n for n, o in zip(("x", "y", "w", "h"), off.tolist(), strict=True) if o)

    def _class_decides(self, images: list[int]) -> bool:
        """Whether the same objects would have been found under the class of a picture that came out right."""
        good = [k for k in range(len(self.found)) if k not in images]
        if not good:
            return False
        label = self.shown.made.labels[good[0]]
        labels = [label if k in images else own for k, own in enumerate(self.shown.made.labels)]
        other = replace(self.shown, made=given(self.stage, self.shown.made.boxes, labels))
        found = run_detect(self.called, self.stage, perfect(self.stage, other.made), other.sizes)
        return all(len(found[k]) == 1 for k in images)

    def counts(self, images: list[int], missing: set[str], extra: set[str]) -> Finding:
        image = images[0]
        if self._class_decides(images):
            return self.lost_classes(images)
        count = len(self.found[image])
        reads = []
        if missing:
            reads.append(f"{' '.join(g for g in GROUPS if g in missing)} does not matter to it")
        if extra:
            reads.append(f"{' '.join(g for g in GROUPS if g in extra)} changes the score")
        message = f"detect finds {count or 'nothing'} where one sure object stands"
        if reads:
            message += ": " + ", ".join(reads)
        return self.called.placed(
            Finding(
                "error",
                "detect.roundtrip",
                "detect",
                message,
                tensor="detections",
                channels=self.misread or ("conf",),
                expected="1 detection",
                got=f"{count} detections",
                fix=(
                    f"score = sigmoid({self.stage.raw(['conf'])}) x "
                    f"class probability of {self.stage.raw(['class'])}"
                ),
            )
        )

    def lost_classes(self, images: list[int]) -> Finding:
        lost = sorted({int(self.shown.made.labels[k][0]) for k in images})
        return self.called.placed(
            Finding(
                "error",
                "detect.roundtrip",
                "detect",
                f"detect does not find one object where its class is {', '.join(map(str, lost))}",
                tensor="detections",
                channels=("class",),
                expected=f"1 detection of each class, 0 to {self.stage.classes - 1}",
                got=f"{len(self.found[images[0]])} detections of class {lost[0]}",
                fix=f"take every class: {self.stage.raw(['class'])}, {self.stage.classes} of them",
            )
        )

    def classes(self, images: list[int]) -> Finding:
        image = images[0]
        top = strongest(self.found[image])
        assert top is not None
        wanted, got = int(self.shown.made.labels[image][0]), int(top[5])
        shifts = set()
        for k in images:
            row = strongest(self.found[k])
            if row is not None:
                shifts.add(int(row[5]) - int(self.shown.made.labels[k][0]))
        shift = f", every class is shifted by {shifts.copy().pop():+d}" if len(shifts) == 1 else ""
        return self.called.placed(
            Finding(
                "error",
                "detect.roundtrip",
                "detect",
                f"detect names the wrong class{shift}",
                tensor="detections",
                channels=tuple(dict.fromkeys((*self.misread, "class"))),
                expected=f"class {wanted}",
                got=f"class {got}",
                fix=f"argmax over {self.stage.raw(['class'])}, ids from 0",
            )
        )


def _row(box: Tensor) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in zip(COLUMNS, box.tolist(), strict=False))


def _nothing(called: Called, stage: Stage, shown: Pictures) -> list[Finding]:
    """No confident slot: no detection, and still a [0, 6]."""
    empty = [torch.zeros_like(p) for p in perfect(stage, shown.made)]
    for pred in empty:
        pred[..., 0] = -15.0
    found = run_detect(called, stage, empty, shown.sizes)
    if all(len(rows) == 0 for rows in found):
        return []
    finding = Finding(
        "error",
        "detect.empty",
        "detect",
        "detect finds objects where every confidence is 0",
        tensor="detections",
        channels=("conf",),
        expected="[0, 6] for every image",
        got=f"{sum(map(len, found))} detections",
        fix="drop what is below the threshold before NMS",
    )
    # a threshold of 0 is free: then every slot is reported, with a score of nothing
    if all(float(rows[:, 4].max()) < 1e-4 for rows in found if len(rows)):
        return []
    return [called.placed(finding)]


def _inputs(called: Called, stage: Stage, shown: Pictures) -> list[Finding]:
    preds = perfect(stage, shown.made, sure=5.0)
    handed = stage.declared_pred(preds)
    before = [p.clone() for p in stage.detector.as_list(handed)]
    called.call("detect", handed, stage.given_heads(), list(shown.sizes))
    after = stage.detector.as_list(handed)
    if all(torch.equal(p, q) for p, q in zip(after, before, strict=True)):
        return []
    moved = torch.zeros(5 + stage.classes, dtype=torch.bool)
    for now, was, head in zip(after, before, stage.heads, strict=True):
        moved |= (stage.layout.read_pred(now, head) != stage.layout.read_pred(was, head)).flatten(0, 3).any(0)
    finding = Finding(
        "error",
        "detect.inputs",
        "detect",
        "detect writes into pred",
        tensor="pred",
        channels=tuple(g for g in GROUPS if bool(moved[columns(g)].any())),
        expected="pred as it was",
        got="overwritten",
        fix="work on copies: no pred[...] = ..., no sigmoid_()",
    )
    return [called.placed(finding)]
