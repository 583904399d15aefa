"""What the printed learning rates say of the schedule: how it warms up, and what it does afterwards."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

POWERS = (1, 2, 3, 4, 5, 6)


@dataclass(frozen=True)
class Rate:
    step: int
    """1-based over the training."""
    value: float
    half: float
    """Half a unit of the last printed digit."""


@dataclass(frozen=True)
class WarmUp:
    power: int
    length: int | None
    """Steps until the base rate; None where only the curve's form is known."""
    base: float
    points: int
    start: float = 0.0
    ruled_out: tuple[int, ...] = ()
    """Other powers that do not give the printed digits."""
    example: Rate | None = None


def warm_up(rates: Sequence[Rate], steps_per_epoch: int) -> WarmUp | None:
    """The power with which the rate rises from 0 (or, linearly, from a start) in the training's first steps.

    None where it does not rise, or where several forms give every printed digit.
    """
    top = next((k for k in range(1, len(rates)) if rates[k].value < rates[k - 1].value), len(rates))
    rising = list(rates[:top])
    if len(rising) < 2 or rising[0].value >= rising[-1].value:
        return None
    base = rising[-1].value
    climb = [rate for rate in rising if rate.value < base]
    reached = len(climb) < len(rising) - 1  # two equal rates at the top: the rise ended there
    after = rising[len(climb)].step
    if not climb or (len(climb) > 0 and climb[0].step > 20_000):
        return None
    found = [(p, fit) for p in POWERS if (fit := _fits(climb, p, base, after, reached, steps_per_epoch))]
    if len(found) == 1:
        power, length = found[0]
        out = tuple(p for p in POWERS if p != power)
        return WarmUp(
            power, length if length > 0 else None, base, len(climb), ruled_out=out, example=climb[-1]
        )
    if not found and len(climb) >= 3 and (start := _linear_start(climb)) is not None:
        return WarmUp(1, after if reached else None, base, len(climb), start=start, example=climb[-1])
    return None


def _fits(climb: list[Rate], power: int, base: float, after: int, reached: bool, epoch: int) -> int:
    """The length under which every printed digit comes out; -1: the form fits, its length is open; 0: no."""
    if len(climb) == 1 or reached:
        last = climb[-1].step
        lengths = [epoch * k for k in range(1, 11)] + [100, 200, 300, 400, 500, 1000, 1500, 2000, 3000, 5000]
        for length in lengths:
            if last <= length <= max(after, last):
                for offset in (0, 1):
                    if all(_close(r, base * ((r.step - offset) / length) ** power) for r in climb):
                        return length
        if len(climb) == 1:
            return 0
    for offset in (0, 1):
        anchor = climb[-1]
        at = anchor.step - offset
        if at > 0 and all(
            abs(r.value - anchor.value * ((r.step - offset) / at) ** power)
            <= r.half + anchor.half * ((r.step - offset) / at) ** power + 1e-12
            for r in climb
        ):
            # One point through zero fits any power.
            return -1 if len(climb) >= 3 else 0
    return 0


def _close(rate: Rate, value: float) -> bool:
    return abs(rate.value - value) <= rate.half * (1 + 1e-6)


def _linear_start(climb: list[Rate]) -> float | None:
    steps = np.array([rate.step for rate in climb], float)
    values = np.array([rate.value for rate in climb])
    slope, start = np.polyfit(steps, values, 1)
    off = np.abs(start + slope * steps - values)
    halves = np.array([rate.half for rate in climb])
    return float(start) if slope > 0 and bool((off <= 2 * halves + 1e-12).all()) else None


def schedule(rates: Sequence[Rate], total_steps: int) -> str:
    """In words, what the rate does after its highest value; "" where it cannot be said."""
    if len(rates) < 3:
        return ""
    peak = max(range(len(rates)), key=lambda k: (rates[k].value, -k))
    top, rest = rates[peak].value, rates[peak:]
    if top <= 0 or len(rest) < 3:
        return "rises over the whole log" if peak >= len(rates) - 2 and rates[0].value < top else ""
    values = [rate.value for rate in rest]
    distinct = list(dict.fromkeys(values))
    if len(distinct) == 1:
        return f"constant {top:g}"
    falls = all(b <= a for a, b in itertools.pairwise(values))
    if falls and len(distinct) <= max(2, len(values) // 3) and len(distinct) <= 8:
        return "steps: " + " → ".join(f"{value:g}" for value in distinct)
    if not falls or len(rest) < 6:
        return ""
    return _curve(rest, total_steps)


def _curve(rest: Sequence[Rate], total_steps: int) -> str:
    x = np.array([rate.step for rate in rest], float)
    y = np.array([rate.value for rate in rest])
    tried = {"linear": x, "cosine": np.cos(math.pi * (x - x[0]) / max(1.0, max(total_steps, x[-1]) - x[0]))}
    tried["cosine over the log"] = np.cos(math.pi * (x - x[0]) / (x[-1] - x[0]))
    # A cosine that began with the training: the warm-up lies over its beginning.
    tried["cosine from the start"] = np.cos(math.pi * x / max(total_steps, x[-1]))
    misses = {}
    for name, basis in tried.items():
        fit = np.polyfit(basis, y, 1)
        misses[name] = float(np.abs(np.polyval(fit, basis) - y).max() / y[0])
    positive = y > 0
    if positive.all():
        fit = np.polyfit(x, np.log(y), 1)
        misses["exponential"] = float(np.abs(np.exp(np.polyval(fit, x)) - y).max() / y[0])
    best = min(misses, key=lambda name: misses[name])
    if misses[best] > 0.02:
        return f"falls from {y[0]:g} to {y[-1]:g}"
    return f"{best.split(' ')[0]} decay from {y[0]:g} to {y[-1]:g}"
