"""Which printed value is the sum of which others: on every line, to the printed digits, or not at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .roles import TOTAL, is_term
from .values import Printed

SEARCHED = 400
"""Rows among which the sums are searched; those found are then held against every further one."""
MOST_TERMS = 13
SCALES = (1.0, 0.5, 2.0)
"""Factors a sum may stand under: Darknet's halves."""
FEWEST = 3


@dataclass
class Sum:
    """``total = scale * (parts)`` on all ``rows`` lines that print them."""

    total: str
    parts: tuple[str, ...]
    scale: float
    rows: int
    slack: float
    """The largest miss, in units of what rounding allows: at most 1."""
    zero: tuple[str, ...] = ()
    """Losses that never were anything but 0: the sum does not tell about them."""


class SumSearch:
    """Fed with every row of one training; constant memory."""

    def __init__(self, fixed_decimals: bool) -> None:
        """``fixed_decimals``: trailing zeros are not printed (JSON), so a column's finest value tells how
        finely it is rounded."""
        self._fixed = fixed_decimals
        self._rows: list[dict[str, Printed]] = []
        self._found: list[Sum] | None = None
        self._halves: dict[str, float] = {}
        self._seen: dict[str, bool] = {}
        self.losses: dict[str, None] = {}
        """Every name of a loss seen."""
        self._kept: list[dict[str, Printed]] = []
        """The rows that were searched."""

    def add(self, values: dict[str, Printed]) -> None:
        losses = {
            name: value
            for name, value in values.items()
            if is_term(name) and not name.lower().startswith("avg")
        }
        for name, value in losses.items():
            self.losses.setdefault(name)
            if value.value:
                self._seen[name] = True
        if self._found is None:
            self._rows.append(losses)
            if len(self._rows) >= SEARCHED:
                self._search()
        else:
            self._found = [each for each in self._found if self._holds(each, losses)]

    def sums(self) -> list[Sum]:
        """One a total: the one with the fewest parts where several hold on every line."""
        if self._found is None:
            self._search()
        best: dict[str, Sum] = {}
        for each in sorted(self._found or [], key=lambda s: (len(s.parts), s.slack)):
            each.zero = tuple(name for name in self.losses if name not in self._seen)
            best.setdefault(each.total, each)
        return list(best.values())

    def alternatives(self, chosen: Sum) -> int:
        """How many other sums of printed terms hold as well."""
        return sum(each.total == chosen.total for each in self._found or []) - 1

    def reached(self, name: str, others: list[str]) -> bool:
        """Whether ``name`` may have its gradient through a sum after all: it is, with ``others`` that are in
        no sum, a weighted part of something summed, or is itself made of what is summed."""
        sums = self.sums()
        parts = list(dict.fromkeys(part for each in sums for part in each.parts))
        rest = [other for other in others if other != name]
        double = bool(rest) and self._made_of(name, rest)
        return self._made_of(name, parts) or any(
            self._made_of(whole, [name, *rest]) and (double or not self._made_of(whole, rest))
            for whole in (*parts, *(each.total for each in sums))
        )

    # inside

    def _made_of(self, whole: str, names: list[str]) -> bool:
        """Whether ``whole`` fits a weighted sum of ``names`` and a constant."""
        rows = [row for row in self._kept if whole in row and all(name in row for name in names)]
        if len(rows) < len(names) + 3:
            return bool(names)  # too few rows to tell
        values = np.array([[*(row[name].value for name in names), 1.0] for row in rows])
        halves = np.array([[*(self._half(name, row[name]) for name in names), 0.0] for row in rows])
        wanted = np.array([row[whole].value for row in rows])
        weights = np.linalg.lstsq(values, wanted, rcond=None)[0]
        allowed = halves @ np.abs(weights) + _EPSILON * np.abs(wanted)
        allowed += np.array([self._half(whole, row[whole]) for row in rows])
        # Least squares may miss single rows by more than the true weights would.
        return bool((np.abs(values @ weights - wanted) <= 2 * allowed).all())

    def _search(self) -> None:
        self._found = []
        rows = [row for row in self._rows if all(math.isfinite(v.value) for v in row.values())]
        self._rows, self._kept = [], rows
        if self._fixed:
            for row in rows:
                for name, value in row.items():
                    self._halves[name] = min(value.half, self._halves.get(name, math.inf))
        totals = [name for name in self.losses if TOTAL.match(name)] or [
            name for name in self.losses if "total" in name.lower()
        ]
        for total in totals:
            having = [row for row in rows if total in row]
            if having:
                self._search_total(total, having)

    def _search_total(self, total: str, rows: list[dict[str, Printed]]) -> None:
        names = [name for name in self.losses if name != total and all(name in row for row in rows)]
        names = [name for name in names if self._seen.get(name)][:MOST_TERMS]
        if len(names) < 2 or len(rows) < FEWEST or not self._seen.get(total):
            return
        values = np.array([[row[name].value for name in names] for row in rows])
        halves = np.array([[self._half(name, row[name]) for name in names] for row in rows])
        wanted = np.array([row[total].value for row in rows])
        rounding = np.array([self._half(total, row[total]) for row in rows])
        chosen = [c for size in range(2, len(names) + 1) for c in combinations(range(len(names)), size)]
        for start in range(0, len(chosen), 512):
            part = chosen[start : start + 512]
            member: NDArray[np.float64] = np.zeros((len(names), len(part)))
            for k, places in enumerate(part):
                member[list(places), k] = 1
            for scale in SCALES:
                miss = np.abs(scale * values @ member - wanted[:, None])
                allowed = scale * halves @ member + rounding[:, None] + _EPSILON * np.abs(wanted)[:, None]
                worst = (miss / allowed).max(0)
                for k in np.flatnonzero(worst <= 1 + 1e-9).tolist():
                    parts = tuple(names[place] for place in part[k])
                    assert self._found is not None
                    self._found.append(Sum(total, parts, scale, len(rows), float(worst[k])))

    def _holds(self, each: Sum, row: dict[str, Printed]) -> bool:
        needed = (each.total, *each.parts)
        if any(name not in row for name in needed) or any(not math.isfinite(row[n].value) for n in needed):
            return True
        miss = abs(each.scale * sum(row[name].value for name in each.parts) - row[each.total].value)
        allowed = each.scale * sum(self._half(name, row[name]) for name in each.parts)
        allowed += self._half(each.total, row[each.total]) + _EPSILON * abs(row[each.total].value)
        each.slack = max(each.slack, miss / allowed)
        each.rows += 1
        return miss <= allowed * (1 + 1e-9)

    def _half(self, name: str, value: Printed) -> float:
        return self._halves.get(name, value.half) if self._fixed else value.half


_EPSILON = 2e-6
"""Float32 sums in another order differ by so much where a log prints every digit."""
