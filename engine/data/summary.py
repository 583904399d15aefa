"""A split in a few lines: what it holds, and what was wrong with it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from .sample import Dataset


def describe(dataset: Dataset) -> list[str]:
    """A split in a line, and a line for each kind of problem with its count and first case."""
    lines = [
        f"{dataset.name}: {len(dataset)} images, {dataset.objects} objects, {len(dataset.classes)} classes"
    ]
    counts = Counter(problem.kind for problem in dataset.problems)
    for kind, count in counts.most_common():
        first = next(problem for problem in dataset.problems if problem.kind == kind)
        lines.append(f"{dataset.name}: {count} x {kind}, first in {Path(first.path).name}: {first.detail}")
    return lines
