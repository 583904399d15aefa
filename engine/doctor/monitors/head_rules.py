"""Rules on the prediction: objectness, the empty cells, recall, the gradient of each channel."""

from __future__ import annotations

from collections.abc import Sequence

from .board import Verdicts, fine, warning
from .setting import CHANNELS, Sample, Setting, Window

YOUNG_STEPS, YOUNG_EPOCHS = 300, 3
"""At a full learning rate, before anything must have been learnt."""
OLD_STEPS, OLD_EPOCHS = 500, 10
"""Before much must have been learnt."""


def older(setting: Setting, step: int, steps: int, epochs: int) -> bool:
    return setting.lived(step) >= max(steps, epochs * setting.steps_per_epoch)


class Positives:
    """Objects in the batch, and no positive slot in the targets."""

    SAMPLES = 3

    def __init__(self, setting: Setting) -> None:
        self.empty = 0

    def sample(self, sample: Sample) -> Verdicts:
        truths = sum(sample.truths)
        if not truths:
            return {}
        self.empty = self.empty + 1 if sample.head.positives == 0 else 0
        if self.empty < self.SAMPLES:
            return fine("positives") if not self.empty else {}
        return warning(
            "positives",
            "assign",
            "the targets hold no positive slot although the images hold objects",
            sample.step,
            expected=f"slots with mask 1 for the {truths} objects of this batch",
            got=f"none, in {self.empty} batches looked at in a row",
            fix="inspect targets: where mask > 0",
            tensor="targets",
            channels=("mask",),
        )


class Objectness:
    """conf at positives against conf elsewhere and against the boxes' IoU; the empty cells; recall."""

    FLAT, RISING = 0.5, 0.05
    """Logits between positives and negatives: less is no difference that a threshold could use. And what
    they must have come apart since ``AGO``."""
    GAP = 0.35
    """conf above the IoU that it is said to be trained towards."""
    LOUD, FALLEN = 0.25, 0.95
    """No-object mean, and the share of its value ``AGO`` under which it is falling."""
    MISSED, APART = 0.02, 0.15
    """Recall at 0.5 and mean IoU of boxes that never came near their truths."""
    AGO = 12
    """Samples."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.before: list[list[float]] = []
        """Separation and no-object mean, a sample each."""

    def judge(self, step: int, seen: Window) -> Verdicts:
        if not seen.full:
            return {}
        self.before.append([seen.separation, seen.no_object])
        del self.before[: -self.AGO]
        if len(self.before) < self.AGO or not older(self._setting, step, YOUNG_STEPS, YOUNG_EPOCHS):
            return {}
        verdicts = self._flat(step, seen) | self._no_object(step, seen)
        if older(self._setting, step, OLD_STEPS, OLD_EPOCHS):
            verdicts |= self._recall(step, seen) | self._above(step, seen)
        return verdicts

    def _flat(self, step: int, seen: Window) -> Verdicts:
        if seen.separation >= self.FLAT or seen.separation > self.before[0][0] + self.RISING:
            return fine("objectness")
        return warning(
            "objectness",
            "loss",
            "objectness is the same with and without an object",
            step,
            expected=f"conf of positives at least {self.FLAT:g} logits above the rest, rising to the IoU "
            f"({seen.iou:.2f} now)",
            got=f"Obj {seen.objectness:.3f}, No Obj {seen.no_object:.3f}: {seen.separation:+.2f} logits",
            fix="inspect a positive: the conf target, the mask that picks it, the channel that is read",
            tensor="pred",
            channels=("conf",),
        )

    def _above(self, step: int, seen: Window) -> Verdicts:
        if self._setting.objectness != "iou" or seen.objectness <= seen.iou + self.GAP:
            return fine("objectness.iou")
        return warning(
            "objectness.iou",
            "loss",
            "objectness is far above the IoU that it is declared to be trained towards",
            step,
            expected=f"Obj near the average IoU, {seen.iou:.2f}",
            got=f"Obj {seen.objectness:.2f}",
            fix='is the conf target the IoU of the box? or else declare objectness = "one"',
            tensor="pred",
            channels=("conf",),
        )

    def _no_object(self, step: int, seen: Window) -> Verdicts:
        earlier = self.before[0][1]
        if seen.no_object <= self.LOUD or seen.no_object < self.FALLEN * earlier:
            return fine("noobject")
        return warning(
            "noobject",
            "loss",
            "empty cells say that they hold an object, and do not unlearn it",
            step,
            expected=f"No Obj below {self.LOUD:g}, or falling",
            got=f"No Obj {seen.no_object:.3f}, was {earlier:.3f}",
            fix="is there a no-object term, over the negative cells, with a target of 0?",
            tensor="pred",
            channels=("conf",),
        )

    def _recall(self, step: int, seen: Window) -> Verdicts:
        if seen.recall >= self.MISSED or seen.iou >= self.APART:
            return fine("recall")
        return warning(
            "recall",
            "decode",
            "the boxes of positives do not come near their truths",
            step,
            expected=f"recall at IoU 0.5 above {self.MISSED:g}, average IoU above {self.APART:g}",
            got=f"recall {seen.recall:.3f}, average IoU {seen.iou:.3f}",
            fix="yolotui check: do decode and assign agree on cells, anchors and channels?",
            tensor="boxes",
            channels=("x", "y", "w", "h"),
        )


class ChannelGradients:
    """One channel group of the head without gradient, or the only one with any."""

    SAMPLES = 3
    ALONE, ALONE_SAMPLES = 0.99999, 10
    """Share of the squared gradient: a norm some 300 times that of all other channels together."""

    def __init__(self, setting: Setting) -> None:
        # with one class a softmax has nothing to learn
        self._names = CHANNELS if len(setting.classes) > 1 else CHANNELS[:-1]
        self.silent: dict[str, int] = {}
        self.alone: dict[str, int] = {}

    def sample(self, sample: Sample) -> Verdicts:
        squares = dict(zip(CHANNELS, sample.head.gradient, strict=True))
        whole = sum(squares.values())
        if not sample.head.positives or not whole > 0:
            return {}
        verdicts: Verdicts = {}
        for name in self._names:
            share = squares[name] / whole
            self.silent[name] = self.silent.get(name, 0) + 1 if squares[name] == 0 else 0
            self.alone[name] = self.alone.get(name, 0) + 1 if share > self.ALONE else 0
            if self.silent[name] >= self.SAMPLES:
                verdicts |= self._silent(name, squares, sample.step)
            elif not self.silent[name]:
                verdicts |= fine(f"channel.{name}")
            if self.alone[name] >= self.ALONE_SAMPLES:
                verdicts |= self._alone(name, share, sample.step)
            elif not self.alone[name]:
                verdicts |= fine(f"channel.alone.{name}")
        return verdicts

    def _silent(self, name: str, squares: dict[str, float], step: int) -> Verdicts:
        others = ", ".join(f"{k} {v**0.5:.2g}" for k, v in squares.items() if k != name)
        return warning(
            f"channel.{name}",
            "loss",
            f"the channel {name} of the prediction gets no gradient: no term reads it",
            step,
            expected=f"a gradient of total in {name}; the others have {others}",
            got=f"exactly 0, in {self.silent[name]} batches in a row",
            fix="check the slices of pred in the loss and in decode",
            tensor="gradient",
            channels=(name,),
        )

    @classmethod
    def _alone(cls, name: str, share: float, step: int) -> Verdicts:
        return warning(
            f"channel.alone.{name}",
            "loss",
            f"nearly all of the gradient is in the channel {name}",
            step,
            expected=f"no channel above {cls.ALONE:.3%} of the squared gradient",
            got=f"{share:.4%}",
            fix="check the scales of the terms and what they are divided by",
            tensor="gradient",
            channels=(name,),
        )


class Classes:
    """Classes that no label, no positive slot or no prediction ever shows."""

    NO_SLOT = 8
    """Objects of a class met without a positive slot for it."""
    NO_CHOICE = 100
    """Positives of a class met without its logit ever being the largest."""
    LEARNT = 0.8
    """Share of positives classed right, over all classes."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        count = len(setting.classes)
        self.without_slot = [0] * count
        self.without_choice = [0.0] * count
        self.labels = [0] * count
        """Objects since the epoch began."""

    def count(self, truths: Sequence[int]) -> None:
        """Every batch's objects a class."""
        self.labels = [a + b for a, b in zip(self.labels, truths, strict=True)]

    def sample(self, sample: Sample, seen: Window) -> Verdicts:
        head = sample.head
        for k, truths in enumerate(sample.truths):
            self.without_slot[k] = 0 if head.slots[k] else self.without_slot[k] + truths
            self.without_choice[k] = 0 if head.chosen[k] else self.without_choice[k] + head.slots[k]
        return self._no_slot(sample) | self._not_chosen(sample.step, seen)

    def epoch(self, step: int) -> Verdicts:
        absent = self._names([k for k, count in enumerate(self.labels) if not count])
        any_label = any(self.labels)
        self.labels = [0] * len(self.labels)
        if not any_label:
            return {}
        if not absent:
            return fine("class.data")
        return warning(
            "class.data",
            "data",
            f"no object of {absent} in a whole epoch",
            step,
            expected="objects of every class in [data] classes",
            got="none",
            fix="yolotui data check; or take the class out of the list",
            tensor="labels",
        )

    def _no_slot(self, sample: Sample) -> Verdicts:
        lacking = [k for k, count in enumerate(self.without_slot) if count >= self.NO_SLOT]
        if not lacking or not sample.head.positives:
            return fine("class.slots") if not lacking else {}
        return warning(
            "class.slots",
            "assign",
            f"no positive slot has the class {self._names(lacking)}, but the images hold such objects",
            sample.step,
            expected=f"a slot for at least one of {max(self.without_slot)} objects",
            got="none",
            fix="inspect targets: where mask > 0; does the class channel hold the label's id?",
            tensor="targets",
            channels=("class",),
        )

    def _not_chosen(self, step: int, seen: Window) -> Verdicts:
        lacking = [k for k, count in enumerate(self.without_choice) if count >= self.NO_CHOICE]
        if not lacking:
            return fine("class.dead")
        old = older(self._setting, step, OLD_STEPS, OLD_EPOCHS)
        if not old or not seen.full or seen.accuracy < self.LEARNT:
            return {}
        return warning(
            "class.dead",
            "loss",
            f"the class {self._names(lacking)} is never the likeliest, not even on its own objects",
            step,
            expected=f"of {max(self.without_choice):.0f} positives; {seen.accuracy:.0%} of all are right",
            got="none",
            fix="few examples, a label that means something else, or a class channel that is not read",
            tensor="pred",
            channels=("class",),
        )

    def _names(self, which: Sequence[int]) -> str:
        chosen = [repr(self._setting.classes[k]) for k in which]
        shown = ", ".join(chosen[:5])
        return f"{shown} and {len(chosen) - 5} more" if len(chosen) > 5 else shown
