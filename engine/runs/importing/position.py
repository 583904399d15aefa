"""Where a line stands: ``epoch: 3/20, iter: 40/112``, ``Epoch [3][40/112]``, ``step 1200``."""

from __future__ import annotations

import re

from .points import Position

_EPOCH = re.compile(
    r"(?:\bepochs?\b|\bep\b|\bepoch(?=\d))(?:\s*\(\w+\))?['\"]?[\s:=#]*\[?\s*(\d+)(\.\d+)?\s*"
    r"(?:(?:/|of)\s*(\d+))?(?![\d.]*%)",
    re.I,
)
_TRAINING = re.compile(r"\btrain(?:ing)?\b[\s:]*\[?(\d+)\s*/\s*(\d+)", re.I)
_ITERATION = re.compile(
    r"\b(?:global[ _]?step|iter(?:ation)?s?|steps?|batch(?:es)?)\b['\"]?[\s:=#]*"
    r"\[?\s*(\d+)(?!\.\d|\s*\|)\s*(?:(?:/|of)\s*(\d+))?",
    re.I,
)
_BRACKETS = re.compile(r"\[\s*(\d+)(?:\s*/\s*(\d+))?\s*\]\s*\[\s*(\d+)\s*/\s*(\d+)\s*\]")
_TUTORIAL = re.compile(r"^\s*\[\s*(\d+)\s*,\s*(\d+)\s*\]")
"""``[1,  2000] loss: 2.199``: PyTorch's own tutorials."""
_LEADING = re.compile(r"^\s*\[\s*(\d+)(?:\s*/\s*(\d+))?\s*\]")
"""``[3] step 20``, ``[3/100] iter 20``: an epoch only where the iteration is named after it."""
_KERAS = re.compile(r"^\s*(\d+)/(\d+)\s+(?:\[[=>.\s]|[━╸╺]|-\s)")
_BATCH_COUNT = re.compile(r"\bbatch(?:es)?\b", re.I)


def position(text: str) -> Position:
    """Everything the line says about where it stands."""
    found = Position()
    epoch = _EPOCH.search(text) or _TRAINING.search(text)
    if epoch is not None:
        found.epoch = int(epoch[1])
        planned = epoch[epoch.re.groups]
        found.epochs = int(planned) if planned else None
        if epoch.re is _EPOCH and epoch[2]:
            found.part = float(epoch[2])
    if "[" in text:
        both = _BRACKETS.search(text)
        if both is not None:
            found.epoch = int(both[1])
            found.epochs = int(both[2]) if both[2] else found.epochs
            found.iteration, found.iterations = int(both[3]), int(both[4])
            return found
        pair = _TUTORIAL.match(text)
        if pair is not None and epoch is None:
            found.epoch, found.iteration = int(pair[1]), int(pair[2])
            return found
    iteration = _ITERATION.search(text)
    if iteration is not None:
        # "batch: 16" is a setting, "batch 16/120" a place.
        setting = not iteration[2] and _BATCH_COUNT.match(iteration[0])
        if not setting:
            found.iteration = int(iteration[1])
            found.iterations = int(iteration[2]) if iteration[2] else None
            leading = _LEADING.match(text) if epoch is None else None
            if leading is not None:
                found.epoch = int(leading[1])
                found.epochs = int(leading[2]) if leading[2] else None
    elif (keras := _KERAS.match(text)) is not None:
        found.iteration, found.iterations = int(keras[1]), int(keras[2])
    return found


def is_placed(found: Position) -> bool:
    return found.epoch is not None or found.iteration is not None
