"""Charts of a report as inline SVG: drawn by matplotlib, coloured by the page.

matplotlib is given placeholder colours, which become the page's CSS variables: one picture for a light and a
dark page. Text stays text, in the page's font. No script, no id twice on a page, no address in it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..runs.reader import Series

Floats = NDArray[np.float64]
SIZE = (4.3, 2.35)
"""Inches at 72 points: about the width of a phone, so that the text is readable there."""
WIDE_RANGE = 30.0
"""A positive curve whose values span more than this factor is drawn on a logarithmic axis."""
SMOOTHED = 0.02
"""The smoothed line's time constant, as a share of the chart's width."""
COLOURS = {
    "#010101": "var(--ink)",
    "#020202": "var(--faint)",
    "#030303": "var(--grid)",
    "#040404": "var(--band)",
    "#050505": "var(--curve)",
    "#060606": "var(--second)",
}
INK, FAINT, GRID, BAND, CURVE, SECOND = COLOURS
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": FAINT,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
    "agg.path.chunksize": 0,
}


@dataclass(frozen=True)
class Axis:
    """The x axis of all charts of a report: ``per`` steps are one ``unit``."""

    unit: str
    per: float
    end: float
    """Its last step."""


def curve_chart(name: str, series: Series, axis: Axis, smooth: bool = True) -> str:
    """One value over the steps: each entry's range as a band, its smoothed mean as a line."""
    x, mean = series.x / axis.per, smoothed(series.mean, SMOOTHED * len(series)) if smooth else series.mean
    finite = np.isfinite(series.mean)
    if not finite.any():
        return ""
    figure, axes = _axes(axis)
    low, high = series.low, series.high
    if len(series) < 5:
        axes.plot(x, series.mean, color=CURVE, linewidth=1.6, marker="o", markersize=3)
    else:
        axes.fill_between(x, low, high, where=finite, color=BAND, linewidth=0.5, step=None)
        axes.plot(x, mean, color=CURVE, linewidth=1.6)
    smallest, largest = float(np.nanmin(low)), float(np.nanmax(high))
    label = f"{name} over {axis.unit}s, from {smallest:.3g} to {largest:.3g}"
    if smallest > 0 and largest > WIDE_RANGE * smallest:
        axes.set_yscale("log")
        axes.grid(visible=False, which="minor")
    elif smallest >= 0:
        axes.set_ylim(bottom=0)
    return _svg(figure, label, name)


def score_chart(steps: Sequence[int], map50: Sequence[float], map50_95: Sequence[float], axis: Axis) -> str:
    """Average precision of every evaluation."""
    figure, axes = _axes(axis)
    x = np.array(steps, np.float64) / axis.per
    axes.plot(x, map50, color=CURVE, linewidth=1.6, marker="o", markersize=3, label="mAP50")
    axes.plot(
        x, map50_95, color=SECOND, linewidth=1.6, marker="s", markersize=3, linestyle="--", label="mAP50-95"
    )
    axes.set_ylim(0, 1)
    axes.legend(loc="best", fontsize=9, frameon=False, labelcolor=INK)
    return _svg(figure, f"mAP50 and mAP50-95 of {len(steps)} evaluations, up to {max(map50):.4f}", "ap")


def smoothed(values: Floats, span: float) -> Floats:
    """Mean weighted by e^-(distance / ``span``) to both sides; NaN has no weight and stays NaN."""
    if not len(values):
        return values
    known = np.isfinite(values)
    reach = min(len(values) - 1, int(6 * span))
    kernel = np.exp(-np.abs(np.arange(-reach, reach + 1)) / max(span, 0.1))
    total = np.convolve(np.where(known, values, 0.0), kernel)[reach : reach + len(values)]
    weight = np.convolve(known.astype(np.float64), kernel)[reach : reach + len(values)]
    result: Floats = np.divide(total, weight, out=np.full(len(values), np.nan), where=known)
    return result


def _axes(axis: Axis) -> tuple[Figure, Axes]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
    axes.set_xlim(0, max(axis.end / axis.per, 1e-9))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel(axis.unit, loc="right", fontsize=8)
    axes.tick_params(length=0)
    return figure, axes


def _svg(figure: Figure, label: str, salt: str) -> str:
    """The figure as an element of an HTML page, which needs neither prologue nor namespaces."""
    target = io.StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": salt}):
        figure.savefig(target, format="svg", metadata={"Date": None})
    text = target.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'(<g|<path|<text)( [^>]*?)?\s+id="(?!m|p)[^"]*"', r"\1\2", text)
    for placeholder, variable in COLOURS.items():
        text = text.replace(placeholder, variable)
    head = text.index(">")
    box = re.search(r'viewBox="[^"]*"', text[:head])
    assert box is not None
    return f'<svg {box[0]} role="img" aria-label="{escape(label)}">{text[head + 1 :]}'
