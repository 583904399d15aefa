"""Rules on the loss terms: flat or swinging over epochs, without gradient, in no sum, dominating."""

from __future__ import annotations

import math

import numpy as np

from ...ranks import mann_whitney
from ...runs.events import EpochDone, StepDone
from .board import Verdicts, fine, warning
from .head_rules import OLD_EPOCHS, OLD_STEPS, older
from .noise import zigzag
from .setting import Sample, Setting, Window

COMPARED = 5
"""Epochs at either end: the fewest whose exact test can be significant at 0.01."""
NO_TREND = 0.1
"""The p above which the first and the last epochs are not told apart."""
SMALL, TINY = 0.03, 0.005
"""And the change that counts as none, as a share of the level: without a trend (there the scatter of the
epochs counts as none too), and whatever the trend."""
SWING, SWING_EPOCHS, SWING_ERRORS = 0.1, 6, 3.0
GOOD_IOU, GOOD_ACCURACY, GOOD_SEPARATION = 0.6, 0.8, 1.0
"""What has got here may be flat: it has been learnt."""


class EpochTrend:
    """A term that does not move, or swings, beyond its own noise: epochs' means, after the warm-up."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.means: dict[str, list[float]] = {}
        self.errors: dict[str, list[float]] = {}

    def epoch(self, done: EpochDone, seen: Window) -> Verdicts:
        if done.step - self._setting.steps_per_epoch < self._setting.warmup_steps:
            return {}
        verdicts: Verdicts = {}
        for name in self._setting.expected_terms:
            summary = done.summaries[name]
            means = self.means.setdefault(name, [])
            errors = self.errors.setdefault(name, [])
            means.append(summary.mean)
            errors.append(summary.spread / math.sqrt(max(1, self._setting.steps_per_epoch)))
            # the first epochs and the last ones are all that is ever compared
            for values in (means, errors):
                del values[COMPARED : -max(COMPARED, SWING_EPOCHS + 1)]
            swinging = self._swinging(name, done.step)
            if not any(swinging.values()):  # what swings has no trend either: once is enough
                verdicts |= self._flat(name, done.step, seen)
            verdicts |= swinging
        return verdicts

    def _flat(self, name: str, step: int, seen: Window) -> Verdicts:
        means = self.means[name]
        if len(means) < 2 * COMPARED or not older(self._setting, step, OLD_STEPS, OLD_EPOCHS):
            return {}
        first, last = means[:COMPARED], means[-COMPARED:]
        level = abs(float(np.mean(first)))
        change = float(np.mean(last)) - float(np.mean(first))
        p = mann_whitney(first, last)
        scatter = float(np.hypot(np.std(first), np.std(last)))
        moves = abs(change) > (TINY * level if p <= NO_TREND else max(SMALL * level, scatter))
        if level < 1e-9 or moves or self._learnt(name, seen):
            return fine(f"flat.{name}")
        return warning(
            f"flat.{name}",
            "loss",
            f"{name} does not move: the last {COMPARED} epochs are not told from the first {COMPARED}",
            step,
            expected=f"a change above {SMALL:.0%}, or above {TINY:.1%} with Mann-Whitney p <= {NO_TREND:g}",
            got=f"p = {p:.2f}; mean {level:.3g} then {level + change:.3g}",
            fix="inspect a positive cell: which channels does this term read, and do they get a gradient?",
        )

    @staticmethod
    def _learnt(name: str, seen: Window) -> bool:
        if not seen.full:
            return True
        if name == "lcls":
            return seen.accuracy > GOOD_ACCURACY
        if name == "lobj":
            return seen.separation > GOOD_SEPARATION
        return seen.iou > GOOD_IOU

    def _swinging(self, name: str, step: int) -> Verdicts:
        count = SWING_EPOCHS + 1
        means, errors = self.means[name][-count:], self.errors[name][-count:]
        if len(means) < count:
            return {}
        level = abs(float(np.mean(means)))
        swing = max(means) - min(means)
        if swing < SWING * level or not zigzag(means, errors, SWING_ERRORS):
            return fine(f"swing.{name}")
        return warning(
            f"swing.{name}",
            "optimizer",
            f"{name} goes up and down from epoch to epoch, far beyond its own noise",
            step,
            expected=f"moves between epochs within {SWING_ERRORS:g} standard errors, or in one direction",
            got=f"{SWING_EPOCHS} moves in turn, {min(means):.3g} to {max(means):.3g}",
            fix="lower train.lr, or look for something that changes from epoch to epoch",
        )


class TotalByValue:
    """``total`` is the sum of fewer terms than the profile names: seen from the numbers alone."""

    STEPS = 5

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._listed = [t for t in setting.total if t in setting.terms]
        self.left_out: dict[str, int] = {}

    def step(self, done: StepDone) -> Verdicts:
        values = {name: done.terms[name] for name in self._listed}
        total = done.terms["total"]
        near = 1e-5 * max(abs(total), *(abs(v) for v in values.values())) if values else 0.0
        whole = sum(values.values())
        verdicts: Verdicts = {}
        for name, value in values.items():
            if abs(value) <= 20 * near:
                continue
            missing = abs(whole - value - total) <= near
            count = self.left_out[name] = self.left_out.get(name, 0) + 1 if missing else 0
            if count >= self.STEPS:
                verdicts |= left_out(name, done.step, f"total = {total:.6g} is the sum without {name}")
            elif not missing and abs(whole - total) <= near:
                verdicts |= fine(f"sum.{name}")
        return verdicts


def left_out(name: str, step: int, got: str) -> Verdicts:
    return warning(
        f"sum.{name}",
        "loss",
        f"{name} is reported but is in no sum: it teaches the network nothing",
        step,
        expected=f"{name} in total",
        got=got,
        fix=f"add {name} to total, or leave it out of [loss] total where it is only to be shown",
    )


class TermGradient:
    """Terms without gradient, in no sum, or so large that nothing else is heard."""

    IN_A_ROW = 2
    ALONE = 0.98
    """Share of the terms' gradient norms."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.counts: dict[str, int] = {}

    def sample(self, sample: Sample) -> Verdicts:
        if sample.gradients is None or sample.head.positives == 0:
            return {}
        norms = dict(zip(self._setting.terms, sample.gradients.norms, strict=True))
        verdicts: Verdicts = {}
        for name in self._setting.expected_terms:
            # a term that is nothing has nothing to teach
            if abs(sample.terms[name]) > 1e-6 * abs(sample.terms["total"]):
                verdicts |= self._cut(name, norms[name], sample.step)
        return verdicts | self._sums(sample, norms) | self._dominating(sample, norms)

    def _again(self, key: str, seen: bool) -> bool:
        self.counts[key] = self.counts.get(key, 0) + 1 if seen else 0
        return self.counts[key] >= self.IN_A_ROW

    def _cut(self, name: str, norm: float, step: int) -> Verdicts:
        if not self._again(f"cut.{name}", norm == 0):
            return fine(f"gradient.{name}") if norm else {}
        return warning(
            f"gradient.{name}",
            "loss",
            f"{name} has no gradient: it cannot fall by learning",
            step,
            expected=f"a gradient of {name} with respect to pred",
            got="exactly 0 in every cell",
            fix="look for detach(), no_grad(), item(), argmax() or rounding on its way from pred",
            tensor="gradient",
        )

    def _sums(self, sample: Sample, norms: dict[str, float]) -> Verdicts:
        assert sample.gradients is not None
        names = [t for t in self._setting.expected_terms if norms[t] > 0]
        rows = [self._setting.terms.index(t) for t in names]
        whole = self._setting.terms.index("total")
        products = sample.gradients.products
        verdicts: Verdicts = {}
        for name in names:
            me = self._setting.terms.index(name)
            weight = _own_weight(products, me, [r for r in rows if r != me], whole)
            if weight is None:
                continue
            if self._again(f"sum.{name}", abs(weight) < 1e-3):
                verdicts |= left_out(name, sample.step, "the gradient of total holds nothing of it")
            elif abs(weight) >= 1e-3:
                verdicts |= fine(f"sum.{name}")
        return verdicts

    def _dominating(self, sample: Sample, norms: dict[str, float]) -> Verdicts:
        heard = {t: norms[t] for t in self._setting.expected_terms if norms[t] > 0}
        verdicts: Verdicts = {}
        if len(heard) < 2:
            return verdicts
        for name, norm in heard.items():
            share = norm / sum(heard.values())
            if self._again(f"dominating.{name}", share > self.ALONE):
                verdicts |= warning(
                    f"dominating.{name}",
                    "loss",
                    f"{name} drowns the other terms",
                    sample.step,
                    expected=f"no term above {self.ALONE:.0%} of the terms' gradients",
                    got=f"{share:.2%}",
                    fix="check its scale and what it is divided by: a sum over cells where a mean was meant?",
                    tensor="gradient",
                )
            elif share <= self.ALONE:
                verdicts |= fine(f"dominating.{name}")
        return verdicts


def _own_weight(products: np.ndarray, me: int, others: list[int], whole: int) -> float | None:
    """How much of term ``me`` is in ``whole``, as the coefficient beside those of the other terms, relative
    to theirs; None where it cannot be told from them."""
    scale = np.sqrt(np.diag(products))
    if scale[me] == 0 or scale[whole] == 0:
        return None
    names = [k for k in [*others, me] if scale[k] > 0]
    unit = products[np.ix_(names, names)] / np.outer(scale[names], scale[names])
    along = products[names, whole] / (scale[names] * scale[whole])
    values, vectors = np.linalg.eigh(unit)
    # too like another term, or too small beside the sum, to be told apart in single precision
    if values[0] < 1e-3 or scale[me] < 1e-3 * scale[whole]:
        return None
    weights = (vectors @ ((vectors.T @ along) / values)) * scale[whole] / scale[names]
    usual = np.abs(weights[:-1]).max() if len(names) > 1 else 1.0
    return float(weights[-1] / usual) if usual > 0 else float(weights[-1])
