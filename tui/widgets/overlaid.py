"""Several runs' curves in one chart, told apart by their dashes as well as by their colours."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..braille import Axis, blank, draw_spans, fit_axis, to_text, x_ticks, y_labels
from ..format import digits3, shorten
from ..overlaid import UNITS, RunCurves, Unit, binned
from .curves import layered, smoothed
from .panel import Panel, Piece

MOST = 8
"""Runs that can be told apart."""
LETTERS = "ABCDEFGH"
DASHES = ((1, 0), (2, 2), (4, 2), (1, 1), (6, 1), (2, 4), (4, 4), (1, 3))
"""Columns drawn and left out, a run each; the first is a full line."""
SMOOTHING = 0.025


class OverlaidChart(Panel):
    """One term of all runs."""

    key_scopes: tuple[str, ...] = ("panel",)
    COMPONENT_CLASSES: ClassVar = {f"panel--run{k}" for k in range(MOST)}
    help_title = "Comparison"
    help_text = "One term of every run over steps, epochs or hours of training; pauses are not counted."

    def __init__(self, curves: list[RunCurves], terms: list[str]) -> None:
        super().__init__("curves", id="overlaid")
        self.curves = curves
        self.terms = terms
        self.term = "total" if "total" in terms else terms[0] if terms else ""
        self.unit: Unit = "epoch"
        self.smooth = True
        self.log_scale = False

    def units(self) -> list[Unit]:
        """Those in which at least one run can be drawn."""
        return [unit for unit in UNITS if any(run.curve(self.term, unit) for run in self.curves)]

    def title(self, width: int) -> tuple[list[Piece], list[Piece]]:
        place = f"  {self.terms.index(self.term) + 1}/{len(self.terms)}" if self.term in self.terms else ""
        left = [self.name_piece(self.term), (place, "dim")]
        words = [word for word, on in (("smooth", self.smooth), ("log", self.log_scale)) if on]
        return left, [(" ".join([f"by {self.unit}", *words]), "dim")]

    def body(self, width: int, height: int) -> list[list[Piece]]:
        legend = self._legend(width)
        rows = height - 1 - len(legend)
        found = [
            (k, curve) for k, run in enumerate(self.curves) if (curve := run.curve(self.term, self.unit))
        ]
        if not found or rows < 3 or width < 20:
            return [[(f" no run has {self.term} by {self.unit}", "dim")], *legend][:height]
        end = max(float(curve.x.max()) for _, curve in found)
        axis = self._axis([curve.mean for _, curve in found])
        labels = {row: digits3(value) for row, value in y_labels(axis, rows).items()}
        margin = max(5, *(len(text) for text in labels.values()))
        plot = width - margin - 1
        layers = []
        for k, curve in reversed(found):  # the first has no holes and would hide what lies under it
            columns = binned(curve, end, plot * 2)
            dots = blank(plot, rows)
            line = smoothed(columns.mean, max(2.0, SMOOTHING * plot * 2)) if self.smooth else columns.mean
            draw_spans(dots, axis, line, line, columns.gap)
            layers.append((_dashed(to_text(dots), k), f"run{k}"))
        painted = []
        for row, cells in enumerate(layered(layers)):
            label = labels.get(row)
            painted.append(
                [((label or "").rjust(margin), "axis"), ("┤" if label is not None else "│", "axis"), *cells]
            )
        return [*painted, self._x_axis(end, margin + 1, plot), *legend]

    def _axis(self, means: list[np.ndarray]) -> Axis:
        values = np.concatenate([mean[np.isfinite(mean)] for mean in means])
        if self.log_scale and (values > 0).any():
            positive = values[values > 0]
            return fit_axis(float(positive.min()), float(positive.max()), log=True)
        return fit_axis(float(values.min()), float(values.max()))

    def _x_axis(self, end: float, margin: int, plot: int) -> list[Piece]:
        text = list(self.unit.rjust(margin - 1)[: margin - 1]) + [" "] * (plot + 1)
        free = margin
        for tick in x_ticks(0, end, plot, 8):
            at = margin + round(tick / max(end, 1e-12) * (plot - 1))
            label = "╵" + (f"{tick:,.0f}" if tick == round(tick) else digits3(tick))
            if free <= at and at + len(label) <= margin + plot:
                text[at : at + len(label)] = label
                free = at + len(label) + 1
        return [("".join(text), "axis")]

    def _legend(self, width: int) -> list[list[Piece]]:
        """As many runs a line as fit, each with its dashes and its last value."""
        lines: list[list[Piece]] = [[]]
        for k, run in enumerate(self.curves):
            curve = run.curve(self.term, self.unit)
            known = curve.mean[np.isfinite(curve.mean)] if curve else np.zeros(0)
            value = digits3(float(known[-1])) if len(known) else "none"
            sample = "".join("⠒" if _drawn(k, column) else " " for column in range(6))
            pieces: list[Piece] = [
                (f" {LETTERS[k]} {sample} ", f"run{k}"),
                (shorten(run.name, 24), "plain"),
                (f" {value} ", "dim"),
            ]
            size = sum(len(text) for text, _ in pieces)
            if lines[-1] and sum(len(text) for text, _ in lines[-1]) + size > width:
                lines.append([])
            lines[-1] += pieces
        return lines


def _drawn(run: int, column: int) -> bool:
    on, off = DASHES[run]
    return column % (on + off) < on


def _dashed(codes: np.ndarray, run: int) -> np.ndarray:
    drawn = np.array([_drawn(run, column) for column in range(codes.shape[1])])
    return np.where(drawn, codes, ord(" "))
