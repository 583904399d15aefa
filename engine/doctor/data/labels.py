"""What the readers refused, dropped or cut: a few labels are a warning, a good part of them an error."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ...data.sample import Dataset, Problem
from ..findings import Finding

REFUSED = 0.05
"""Share of a split's labels that cannot be used, beyond which something is wrong with all of them."""
CUT, CUT_OFF = 0.25, 0.1
"""The same of boxes that lose more than ``CUT_OFF`` of their area where the picture ends. More may: objects
marked beyond the picture's edge are a legitimate habit."""
FEW = 3
"""As many cases prove nothing in a small set."""
LOST = {
    "class id out of range": "ids count from 0, in the order of data.classes, which must name them all",
    "label not in 0..1": "a row is: class cx cy w h, as fractions of the picture's width and height",
    "bad label row": "a row is: class cx cy w h, five numbers",
    "box outside the image": "are x and y exchanged, or were the pictures resized without their labels?",
}
"""Kinds that lose a label, and what they come of where they are many."""
ASKED = (
    "are x and y exchanged, corners written where centre and size belong, "
    "or were the pictures resized without their labels?"
)


def judge_labels(dataset: Dataset) -> list[Finding]:
    """One finding a kind, with its count and first case."""
    counts = Counter(problem.kind for problem in dataset.problems)
    labels = dataset.objects + sum(counts[kind] for kind in (*LOST, "zero-area box"))
    found = []
    for kind, count in counts.most_common():
        cases = [problem for problem in dataset.problems if problem.kind == kind]
        fix = _fix_of_many(kind, cases, labels)
        message = f"{dataset.name}: {count} x {kind}"
        found.append(
            Finding(
                "error" if fix or cases[0].severity == "error" else "warning",
                "data.labels",
                "data",
                f"{message}, of {labels} labels" if fix else message,
                tensor="image" if "image" in kind and "box" not in kind else "boxes",
                expected="none",
                got=f"{Path(cases[0].path).name}: {cases[0].detail}",
                fix=f"{fix}; `yolotui data check` lists every case"
                if fix
                else "`yolotui data check` lists every case",
                file=cases[0].path,
            )
        )
    return found


def _fix_of_many(kind: str, cases: list[Problem], labels: int) -> str:
    """Empty where they are few."""
    if kind in LOST and len(cases) > max(FEW, REFUSED * labels):
        return LOST[kind]
    deep = sum(problem.cut > CUT_OFF for problem in cases)
    return ASKED if deep > max(FEW, CUT * labels) else ""


def judge_presence(train: Dataset) -> list[Finding]:
    """Pictures without objects are background; nothing but background teaches nothing."""
    if train.objects or not train.samples:
        return []
    return [
        Finding(
            "error",
            "data.objects",
            "data",
            f"none of the {len(train.samples)} pictures of {train.name} has an object that can be used",
            tensor="labels",
            expected="objects to learn",
            got="0 objects",
            fix="check where the label files are looked for, and what `yolotui data check` says of them",
        )
    ]
