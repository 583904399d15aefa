"""Rules of the head on made-up statistics: what a planted run looks like, and when it is said."""

from __future__ import annotations

from dataclasses import replace

from engine.doctor.monitors import Setting
from engine.doctor.monitors.head_rules import ChannelGradients, Classes, Objectness
from engine.doctor.monitors.setting import HeadSums, Sample, Window

SETTING = Setting(
    ("a", "b"), ("lcls", "lbox", "lobj", "total"), ("lcls", "lbox", "lobj"), "iou", 20, 20, 1e-3
)
HEALTHY = HeadSums(
    positives=50,
    conf=35,
    iou=36,
    recalled=44,
    logit=50,
    negatives=5000,
    rest=50,
    rest_logit=-22000,
    gradient=(1.0, 0.5, 0.5, 0.4, 0.4, 2.0),
    slots=(30, 20),
    right=(29, 19),
    chosen=(30, 20),
)
EVERY = 10
"""Steps between two samples."""


def sample(step: int, head: HeadSums) -> Sample:
    return Sample(step, 1 + step // 20, 1e-3, {}, (30, 20), head)


def first_said(probe: str, head: HeadSums, steps: int = 1200, setting: Setting = SETTING) -> int | None:
    """The step at which a run that looks like this is first warned of ``probe``; nothing else may be said."""
    window, objectness = Window(), Objectness(setting)
    channels, classes = ChannelGradients(setting), Classes(setting)
    for step in range(EVERY, steps, EVERY):
        one = sample(step, head)
        window.add(head)
        verdicts = objectness.judge(step, window) | channels.sample(one) | classes.sample(one, window)
        said = [name for name, found in verdicts.items() if found is not None]
        if said:
            assert said == [f"monitor.{probe}"]
            return step
    return None


def test_a_healthy_run_is_left_alone() -> None:
    assert first_said("", HEALTHY) is None


def test_a_channel_that_holds_all_of_the_gradient() -> None:
    loud = replace(HEALTHY, gradient=(1.0, 0.5, 0.5, 1e7, 0.4, 2.0))
    assert first_said("channel.alone.w", loud) == 10 * EVERY
    assert first_said("channel.alone.w", replace(HEALTHY, gradient=(1.0, 0.5, 0.5, 1e4, 0.4, 2.0))) is None


def test_a_class_that_is_never_the_likeliest() -> None:
    dead = replace(HEALTHY, slots=(47, 3), right=(47, 0), chosen=(50, 0))
    # after 500 steps at the full rate, when 100 objects of it were met and most others are classed right
    assert first_said("class.dead", dead) == 520
    poor = replace(dead, right=(30, 0))
    assert first_said("class.dead", poor) is None


def test_empty_cells_that_say_something_is_there() -> None:
    loud = replace(HEALTHY, rest=0.4 * 5000, rest_logit=-0.4 * 5000)
    assert first_said("noobject", loud) == 320


def test_boxes_that_never_come_near() -> None:
    far = replace(HEALTHY, iou=2.0, recalled=0.0, conf=10.0)
    assert first_said("recall", far) == 520


def test_objectness_far_above_the_overlap() -> None:
    proud = replace(HEALTHY, conf=49.0, iou=25.0, recalled=25.0)
    assert first_said("objectness.iou", proud) == 520
    assert first_said("objectness.iou", proud, setting=replace(SETTING, objectness="one")) is None
