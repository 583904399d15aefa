"""Events as they lie in the store: a step as one row of numbers, any other event as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import events as ev

Values = NDArray[np.float64]

# "No value here" (a term that this step did not have) is a NaN of its own, told from a computed NaN
# by its bits, as R tells NA from NaN.
_MISSING_BITS = 0x7FF8_0000_0000_0A11
MISSING = np.array([_MISSING_BITS], dtype=np.uint64).view(np.float64)[0]

STEP_FIELDS = tuple(f.name for f in fields(ev.StepDone) if f.name not in ("step", "terms"))
"""The columns that every step has, in their order in a row; the terms follow."""
ELAPSED = "elapsed"
"""A column of the store's own: seconds of all steps so far, pauses between steps not counted."""
_OWN = {*STEP_FIELDS, ELAPSED}
_fields_of = attrgetter(*STEP_FIELDS)
_WHOLE = {f.name for f in fields(ev.StepDone) if f.type in ("int", int)}

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        ev.RunStarted,
        ev.EpochDone,
        ev.EvaluationDone,
        ev.CheckpointSaved,
        ev.SnapshotTaken,
        ev.FindingRaised,
        ev.FindingCleared,
        ev.LogLine,
        ev.StateChanged,
        ev.RunEnded,
    )
}


def missing(values: Values) -> NDArray[np.bool_]:
    """Where ``values`` hold nothing, as against a NaN that was computed."""
    found: NDArray[np.bool_] = np.ascontiguousarray(values).view(np.uint64) == _MISSING_BITS
    return found


def step_rows(steps: Sequence[ev.StepDone], columns: Sequence[str], elapsed: float) -> Values:
    """``[n, len(columns)]`` values of the steps; ``elapsed``: the seconds before the first of them."""
    terms = [name for name in columns if name not in _OWN]
    nothing = float(MISSING)
    block = np.array(
        [(*_fields_of(step), *[step.terms.get(name, nothing) for name in terms]) for step in steps],
        np.float64,
    )
    place = {name: k for k, name in enumerate(columns)}
    rows = np.full((len(steps), len(columns)), MISSING)
    rows[:, [place[name] for name in (*STEP_FIELDS, *terms)]] = block
    seconds = block[:, STEP_FIELDS.index("seconds")]
    rows[:, place[ELAPSED]] = elapsed + np.cumsum(np.where(np.isfinite(seconds), seconds, 0))
    return rows


def steps_from_rows(numbers: Iterable[int], rows: Values, columns: Sequence[str]) -> list[ev.StepDone]:
    """The inverse of ``step_rows``."""
    place = {name: k for k, name in enumerate(columns) if name in STEP_FIELDS}
    terms = [(name, k) for k, name in enumerate(columns) if name not in _OWN]
    absent = missing(rows)
    steps = []
    for number, row, gone in zip(numbers, rows.tolist(), absent.tolist(), strict=True):
        known = {
            name: _whole(row[place[name]]) if name in _WHOLE else row[place[name]] for name in STEP_FIELDS
        }
        values = {name: row[k] for name, k in terms if not gone[k]}
        steps.append(ev.StepDone(step=int(number), terms=values, **known))
    return steps


def _whole(value: float) -> int:
    return int(value) if math.isfinite(value) else 0


def encode(event: ev.Event) -> tuple[str, str]:
    """An event other than ``StepDone`` -> its kind and its JSON."""
    body = {f.name: getattr(event, f.name) for f in fields(event)}
    return type(event).__name__, json.dumps(body, default=_plain, ensure_ascii=False)


def decode(kind: str, body: str) -> Any:
    """The inverse of ``encode``; None for a kind or a body that this version does not know."""
    made = _KINDS.get(kind)
    if made is None:
        return None
    values = json.loads(body)
    known = {f.name for f in fields(made)}
    arguments: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if name in known
    }
    if made is ev.EpochDone:
        arguments["summaries"] = {name: ev.Summary(**parts) for name, parts in arguments["summaries"].items()}
    try:
        return made(**arguments)
    except TypeError:
        return None


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic):
        return value.item()
    return str(value)
