"""``maps``, where the loss gives them: of the declared shape, each slot's value at that slot, adding up."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..findings import Finding
from ..stage import columns
from .run import OWN, TERMS, Trial, flat, near, unflat

SUM_ROOM = 0.02
"""By how much a map's sum over its term may vary between predictions, and still be in proportion to it."""


def judge_maps(trial: Trial) -> list[Finding]:
    """Nothing where there are none: they are optional."""
    preds = near(trial, 8)
    maps, terms = _run(trial, preds)
    if maps is None:
        return []
    if not isinstance(maps, Mapping):
        return [_finding((), "maps is no dict", "{term: one value a slot}", type(maps).__name__)]
    findings = []
    for name in TERMS:
        if name not in maps or name not in terms:
            continue
        values, fault = _slots(trial, maps[name])
        if values is None:
            findings.append(_finding((name,), f"maps[{name!r}] {fault}", _wanted_shapes(trial), fault))
        elif not bool(torch.isfinite(values).all()):
            findings.append(_finding((name,), f"maps[{name!r}] is not finite", "numbers", "NaN or infinity"))
        else:
            findings += _elsewhere(trial, name, preds, values) or _sums(trial, name)
    return findings


def _run(trial: Trial, preds: Sequence[Tensor]) -> tuple[Any, dict[str, float]]:
    handed, wanted = trial.stage.declared_pred(preds), trial.stage.declared_targets(trial.scene.targets)
    got = trial.called.call("loss", handed, wanted, trial.stage.given_heads())
    terms = {k: float(v) for k, v in got.items() if k in TERMS}
    return got.get("maps"), terms


def _slots(trial: Trial, value: Any) -> tuple[Tensor | None, str]:
    """``[N]`` in the order of the canonical slots; else what is wrong with the shape."""
    stage = trial.stage
    parts = list(value) if isinstance(value, (list, tuple)) else [value]
    if isinstance(value, (list, tuple)) != (len(stage.heads) > 1) or len(parts) != len(stage.heads):
        return None, f"is {_shape(value)}, where pred is {_shape(stage.declared_pred(near(trial, 8)))}"
    flats = []
    for part, head in zip(parts, stage.heads, strict=True):
        try:
            slots = stage.layout.read_slots(torch.as_tensor(part).detach().float(), head)
        except (ValueError, RuntimeError, TypeError, IndexError):
            return None, f"has shape {_shape(part)}"
        if slots.shape[0] != trial.scene.batch:
            return None, f"has shape {_shape(part)}"
        flats.append(slots.flatten())
    return torch.cat(flats), ""


def _shape(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    return str(list(getattr(value, "shape", [])) or type(value).__name__)


def _wanted_shapes(trial: Trial) -> str:
    layout = trial.stage.layout
    each = [
        list(layout.write_slots(torch.zeros(trial.scene.batch, h.grid_h, h.grid_w, h.anchor_count)).shape)
        for h in trial.stage.heads
    ]
    return f"one value a slot: {' and '.join(map(str, each))}"


def _elsewhere(trial: Trial, name: str, preds: list[Tensor], before: Tensor) -> list[Finding]:
    """One positive's own channels are moved: its own value must answer, and no other's more than it."""
    slots = trial.positive.nonzero()[:, 0].tolist()
    base = trial.values(preds)[name]
    for slot in itertools.islice(slots, 4):
        rows = flat(preds)
        for group in OWN[name]:
            step = torch.tensor([0.6, -0.4]) if group == "class" else torch.tensor([0.5])
            width = rows[slot, columns(group)].numel()
            rows[slot, columns(group)] += step.repeat(width)[:width]
        moved = unflat(rows, preds)
        maps, terms = _run(trial, moved)
        if abs(terms[name] - base) < 1e-4 * (1e-6 + abs(base)):
            continue  # the term itself does not answer: one class, a bounded box
        after, _ = _slots(trial, maps[name])
        if after is None:
            return []
        change = (after - before).abs()
        most = int(change.argmax())
        if float(change[most]) == 0:
            text = f"maps[{name!r}] does not change with {' '.join(OWN[name])} of a positive slot"
            return [_finding((name,), text, f"{name}'s value in each slot", "no change", trial.cell(slot))]
        if most != slot and float(change[slot]) < 0.5 * float(change[most]):
            got = f"it changes at {_said(trial, most)}"
            text = f"maps[{name!r}] holds a slot's value in another slot"
            wanted = f"a change at {_said(trial, slot)}"
            return [_finding((name,), text, wanted, got, trial.cell(slot))]
    return []


def _said(trial: Trial, slot: int) -> str:
    image, row, column, anchor = trial.cell(slot)
    return f"image {image}, row {row}, column {column}, anchor {anchor}"


def _sums(trial: Trial, name: str) -> list[Finding]:
    """A map's sum is its term, up to what the term is divided by: in proportion over predictions."""
    ratios = []
    for seed in (8, 11, 12):
        maps, terms = _run(trial, near(trial, seed))
        values, _ = _slots(trial, maps[name])
        if values is None or abs(terms[name]) < 1e-9:
            return []
        ratios.append(float(values.sum()) / terms[name])
    middle = sum(ratios) / len(ratios)
    if middle > 0 and max(abs(ratio / middle - 1) for ratio in ratios) < SUM_ROOM:
        return []
    shown = ", ".join(f"{ratio:.3g}" for ratio in ratios)
    finding = _finding(
        (name,),
        f"the values of maps[{name!r}] do not add up to {name}",
        f"their sum in proportion to {name}, whatever the predictions",
        f"sum / {name} is {shown} on three predictions",
    )
    return [Finding(**{**finding.__dict__, "severity": "warning"})]


def _finding(
    terms: tuple[str, ...], message: str, expected: str, got: str, cell: tuple[int, ...] | None = None
) -> Finding:
    return Finding(
        "error",
        "loss.maps",
        "loss",
        message,
        tensor="gradient",
        channels=tuple(channel for term in terms for channel in OWN[term]),
        expected=expected,
        got=got,
        fix="a term's map is the tensor of which the term is the sum, before it is summed: one value a slot",
        cell=cell,
    )
