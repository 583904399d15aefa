"""From which epoch on two runs are further apart than their noise explains.

For a term with epoch means a_e, b_e, spreads s_e, r_e over n_e, m_e steps, and the difference d_e = a_e -
b_e:

- **batch noise**, as in Welch's test (1947): ``B_e^2 = s_e^2 / n_e + r_e^2 / m_e`` with Satterthwaite's
  degrees of freedom ``v_e = B_e^4 / ((s_e^2/n_e)^2 / (n_e - 1) + (r_e^2/m_e)^2 / (m_e - 1))``. A trend
  within an epoch is part of its spread, so B_e is rather too large than too small.
- **wander**: what the difference jumps from epoch to epoch beyond that. Two runs that differ in nothing but
  their seed do not jitter by batch noise alone. Second differences are free of level and slope, and
  independent noise of variance W^2 gives them 6 W^2: ``W = 1.4826 median|d_(e-1) - 2 d_e + d_(e+1)| /
  sqrt(6)``. A median, so that the parting itself does not count as noise. From ``WANDER_EPOCHS`` shared
  epochs on; before, W = 0.
- ``t_e = d_e / max(B_e, W)``, put on the normal scale by Wallace (1959): ``z_e = sqrt(v ln(1 + t^2/v)) (8 v
  + 1) / (8 v + 3)``.

The runs part at the first epoch e at which ``|z|`` is beyond the two-sided normal quantile of ``ALPHA /
(epochs x comparisons)`` (Bonferroni) at e and at the ``PERSISTENCE - 1`` shared epochs after it, always to
the same side. A parting in the last epochs, too young to have lasted, is not claimed. What this cannot
tell: whether a difference comes from a setting or from the seed. Two seeds of one config do part, where one
of them finds a better minimum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ALPHA = 0.01
PERSISTENCE = 3
WANDER_EPOCHS = 8


@dataclass(frozen=True)
class EpochMean:
    """One term over the steps of one epoch."""

    mean: float
    spread: float
    """Standard deviation over the steps, with n in the denominator."""
    steps: int


@dataclass(frozen=True)
class Parting:
    """Of one term of two runs."""

    epochs: int
    """How many could be compared: those that both runs finished, with finite values of at least two steps."""
    first: int | None
    """The epoch at which they part; None: nowhere beyond their noise."""
    apart: int = 0
    """Epochs beyond the noise, before and after."""
    difference: float = math.nan
    """a - b at ``first``."""
    noise: float = math.nan
    """What one standard deviation of the difference is there."""


def first_parting(a: Mapping[int, EpochMean], b: Mapping[int, EpochMean], comparisons: int = 1) -> Parting:
    """Of one term; ``a`` and ``b``: epoch -> its mean; ``comparisons``: how many terms are looked at."""
    epochs = sorted(e for e in a.keys() & b.keys() if _usable(a[e]) and _usable(b[e]))
    if len(epochs) < PERSISTENCE:
        return Parting(len(epochs), None)
    first, second = [a[e] for e in epochs], [b[e] for e in epochs]
    difference = _means(first) - _means(second)
    noise = np.maximum(_batch_noise(first, second)[0], _wander(np.array(epochs), difference))
    z = _normal_scores(difference, noise, _batch_noise(first, second)[1])
    limit = -NormalDist().inv_cdf(ALPHA / (2 * len(epochs) * max(1, comparisons)))
    side = np.where(np.abs(z) > limit, np.sign(z), 0)
    for k in range(len(epochs) - PERSISTENCE + 1):
        if side[k] and (side[k : k + PERSISTENCE] == side[k]).all():
            return Parting(
                len(epochs), epochs[k], int(np.count_nonzero(side)), float(difference[k]), float(noise[k])
            )
    return Parting(len(epochs), None, int(np.count_nonzero(side)))


def _usable(epoch: EpochMean) -> bool:
    return epoch.steps >= 2 and math.isfinite(epoch.mean) and math.isfinite(epoch.spread)


def _means(epochs: Sequence[EpochMean]) -> Floats:
    return np.array([epoch.mean for epoch in epochs])


def _batch_noise(a: Sequence[EpochMean], b: Sequence[EpochMean]) -> tuple[Floats, Floats]:
    """Standard error of the difference, and its degrees of freedom."""
    squares, downs = np.zeros(len(a)), np.zeros(len(a))
    for run in (a, b):
        steps = np.array([epoch.steps for epoch in run], np.float64)
        # s^2 / (n - 1) is the unbiased variance over n, of a spread that was taken with n in the denominator.
        share = np.array([epoch.spread for epoch in run]) ** 2 / (steps - 1)
        squares += share
        downs += share**2 / (steps - 1)
    freedom = np.divide(squares**2, downs, out=np.full(len(a), np.inf), where=downs > 0)
    return np.sqrt(squares), freedom


def _wander(epochs: NDArray[np.int64], difference: Floats) -> float:
    if len(difference) < WANDER_EPOCHS:
        return 0.0
    second = difference[:-2] - 2 * difference[1:-1] + difference[2:]
    neighbours = (epochs[2:] - epochs[:-2]) == 2
    if not neighbours.any():
        return 0.0
    return float(1.4826 * np.median(np.abs(second[neighbours])) / math.sqrt(6))


def _normal_scores(difference: Floats, noise: Floats, freedom: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        # Two runs to the same bits have no noise and no difference: 0 / 0 is no parting, x / 0 is one.
        t = np.where(difference == 0, 0.0, np.abs(difference) / noise)
        large = freedom > 1e6
        v = np.where(large, 1e6, freedom)
        scores = np.sqrt(v * np.log1p(t**2 / v)) * (8 * v + 1) / (8 * v + 3)
    return np.sign(difference) * np.where(large, t, scores)
