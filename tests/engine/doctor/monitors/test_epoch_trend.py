"""Flat and swinging terms over epochs, told from terms that move, by numbers alone."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from engine.doctor.monitors.noise import zigzag
from engine.doctor.monitors.setting import HeadSums, Setting, Window
from engine.doctor.monitors.term_rules import EpochTrend
from engine.ranks import mann_whitney
from engine.runs.events import EpochDone, Summary

STEPS = 722


def setting(steps: int = STEPS) -> Setting:
    return Setting(
        classes=("a", "b"),
        terms=("lcls", "lbox", "lobj", "liou", "total"),
        total=("lcls", "lbox", "lobj"),
        objectness="iou",
        steps_per_epoch=steps,
        warmup_steps=steps,
        rate=1e-3,
    )


def window(iou: float) -> Window:
    """Eight samples of ten positives with this IoU, half of them classed right, conf two logits apart."""
    seen = Window()
    for _ in range(seen.most):
        seen.add(
            HeadSums(
                positives=10,
                conf=3,
                iou=10 * iou,
                recalled=2,
                logit=-20,
                negatives=1000,
                rest=20,
                rest_logit=-4000,
                gradient=(1,) * 6,
                slots=(5, 5),
                right=(2, 3),
                chosen=(5, 5),
            )
        )
    return seen


def raised(lbox: np.ndarray, spread: float = 0.3, iou: float = 0.4, steps: int = STEPS) -> dict[str, int]:
    """The epoch at which each finding first stood; the other terms fall as they should."""
    rule, found = EpochTrend(setting(steps)), {}
    for k, value in enumerate(lbox):
        epoch = k + 1
        falling = Summary(3 * math.exp(-epoch / 5), 0.1, 0, 0)
        summaries = dict.fromkeys(("lcls", "lobj", "liou", "total"), falling)
        summaries["lbox"] = Summary(float(value), spread, 0.0, float(value))
        verdicts = rule.epoch(EpochDone(epoch, epoch * steps, summaries, 1, 1, 1.0, 1e-3), window(iou))
        for probe, finding in verdicts.items():
            if finding is not None:
                found.setdefault(probe, epoch)
    return found


def noisy(level: np.ndarray, seed: int, spread: float = 0.3) -> np.ndarray:
    """Epoch means of steps with this spread."""
    return level + np.random.default_rng(seed).normal(0, spread / math.sqrt(STEPS), len(level))


@pytest.mark.parametrize("seed", range(20))
def test_a_falling_term_is_never_flat(seed: int) -> None:
    for level in (np.linspace(4, 2, 60), 2 + 2 * np.exp(-np.arange(60) / 4), np.linspace(4, 3.4, 73)):
        assert not raised(noisy(level, seed))


def test_a_term_that_stays_is_flat_as_soon_as_ten_epochs_tell() -> None:
    flagged = [raised(noisy(np.full(20, 4.2), seed)) for seed in range(20)]
    # by chance the ends differ in rank now and then: then it is said a little later
    assert all(set(found) == {"monitor.flat.lbox"} for found in flagged)
    assert sorted(found["monitor.flat.lbox"] for found in flagged)[10] == 11


def test_the_first_epochs_wild_fall_does_not_hide_it() -> None:
    level = np.full(20, 4.2)
    level[0] = 9.0  # the warm-up's epoch
    assert "monitor.flat.lbox" in raised(noisy(level, 1))


def test_what_has_been_learnt_may_be_flat() -> None:
    assert not raised(noisy(np.full(30, 0.4), 3), iou=0.75)


def test_few_steps_say_nothing_yet() -> None:
    assert not raised(noisy(np.full(30, 4.2), 3), steps=3)


def test_the_log_whose_author_saw_no_change_for_nine_hours(shared_data: Path) -> None:
    """First five epochs and last five: lcls and lobj moved (p = .008), lbox (.42) and liou (.22) did not."""
    lines = re.findall(r"iter \d+/722.*", (shared_data / "logs/seed-log.txt").read_text())
    values = {
        name: [float(re.search(rf"{name}=([\d.e+-]+)", line)[1]) for line in lines]  # type: ignore[index]
        for name in ("lcls", "lbox", "lobj", "liou")
    }
    p = {name: mann_whitney(each[:5], each[-5:]) for name, each in values.items()}
    assert p["lcls"] < 0.01
    assert p["lobj"] < 0.1
    assert min(p["lbox"], p["liou"]) > 0.1
    rule, standing = EpochTrend(setting()), set()
    for k in range(len(lines)):
        epoch = k + 2  # the first epoch is left to the warm-up
        summaries = {name: Summary(each[k], 100.0, 0.0, each[k]) for name, each in values.items()}
        verdicts = rule.epoch(EpochDone(epoch, epoch * STEPS, summaries, 1, 1, 1.0, 1e-3), window(0.4))
        standing |= {probe for probe, finding in verdicts.items() if finding is not None}
    assert standing == {"monitor.flat.lbox"}


def test_a_term_that_swings() -> None:
    level = np.array([4.0] + [3.0, 4.0] * 8)
    assert raised(noisy(level, 0)) == {"monitor.swing.lbox": 8}


@pytest.mark.parametrize("seed", range(20))
def test_noise_does_not_swing(seed: int) -> None:
    values = noisy(np.linspace(4, 3, 60), seed, spread=20)
    assert "monitor.swing.lbox" not in raised(values, spread=20)


def test_zigzag_needs_every_move_to_be_large() -> None:
    assert zigzag([1, 2, 1, 2], [0.1] * 4, 3)
    assert not zigzag([1, 2, 1.9, 2], [0.1] * 4, 3)
    assert not zigzag([1, 2, 3, 2], [0.1] * 4, 3)
