"""The score of a detection: confidence times class probability."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from ..calling import Called
from ..findings import Finding
from ..inputs import generator, perfect
from ..stage import GROUPS, Stage
from .influence import influence, misread
from .run import Pictures, run_detect, strongest

SURE = (0.62, 0.9, 0.75, 0.995) * 2
"""Confidences of the pictures' objects."""
LOGITS = (2.0, 0.9)
"""Of the true class; one other stands at -1, the rest far below."""


def judge_score(called: Called, stage: Stage, shown: Pictures) -> list[Finding]:
    """Confidence and class probability at values of their own: the score is their product."""
    got = _scores(called, stage, shown, LOGITS[0])
    pairs = [(s, value) for s, value in zip(SURE, got, strict=True) if value is not None]
    missing_sure = any(value is None for s, value in zip(SURE, got, strict=True) if s > 0.95)
    sigmoid, softmax = _probabilities(stage, LOGITS[0])
    if not missing_sure and any(all(abs(v - s * p) < 0.01 for s, v in pairs) for p in (sigmoid, softmax)):
        return []
    text = "another score"
    channels: tuple[str, ...] = ("conf", "class")
    for name, wrong, value in _OTHERS:
        if pairs and any(all(abs(v - value(s, p)) < 0.01 for s, v in pairs) for p in (sigmoid, softmax)):
            text, channels = name, wrong
            break
    else:
        if pairs:
            channels = _wrong_factor(called, stage, shown, got) or channels
        else:
            certain = _scores(called, stage, shown, 12.0, crowd=0.0)
            if any(value is not None for value in certain):
                text, channels = "far below where the class is less than certain", ("class",)
            else:
                text = "far below"
            pairs = [(0.97, 0.0)]
        if text == "far below":
            unread, extra = misread(influence(called, stage, shown))
            channels = tuple(g for g in GROUPS if g in unread | extra) or channels
            text += "".join(f" ({g} does not matter to it)" for g in GROUPS if g in unread)
    finding = Finding(
        "error",
        "detect.score",
        "detect",
        f"the score is {text}, not confidence x class probability",
        tensor="detections",
        channels=channels,
        expected=f"{pairs[0][0]:.3f} x {softmax:.3f} (softmax) or x {sigmoid:.3f} (sigmoid)",
        got=f"{pairs[0][1]:.3f}",
        fix=f"score = sigmoid({stage.raw(['conf'])}) * probability from {stage.raw(['class'])}",
    )
    return [called.placed(finding)]


_OTHERS: tuple[tuple[str, tuple[str, ...], Callable[[float, float], float]], ...] = (
    # what is read and what is not: value(confidence, class probability)
    ("the confidence alone", ("class",), lambda s, p: s),
    ("the class probability alone", ("conf",), lambda s, p: p),
    ("the confidence's logit, no sigmoid", ("conf",), lambda s, p: math.log(s / (1 - s)) * p),
    ("the sigmoid of the confidence", ("conf",), lambda s, p: p / (1 + math.exp(-s))),
    ("the class's logit, no softmax or sigmoid", ("class",), lambda s, p: s * LOGITS[0]),
    ("the square root of the product", ("conf", "class"), lambda s, p: (s * p) ** 0.5),
    ("the mean of confidence and class probability", ("conf", "class"), lambda s, p: (s + p) / 2),
    ("the square of the product", ("conf", "class"), lambda s, p: (s * p) ** 2),
)


def _scores(
    called: Called,
    stage: Stage,
    shown: Pictures,
    logit: float,
    sure: tuple[float, ...] = SURE,
    crowd: float = 3.0,
) -> list[float | None]:
    """Of each picture's strongest detection; None where there is none."""
    preds = perfect(stage, shown.made)
    g = generator(91)
    for pred, positive in zip(preds, shown.made.positive, strict=True):
        # what the empty slots say of classes is nobody else's probability
        pred[..., 5:] = crowd * torch.randn(pred[..., 5:].shape, generator=g)
        picked = pred[positive]
        images = positive.nonzero()[:, 0]
        picked[:, 0] = torch.logit(torch.tensor(sure)[images])
        # others far down but one: softmax and sigmoid stay apart from 1
        labels = torch.cat(list(shown.made.labels))[images]
        picked[:, 5:] = -9.0
        rows = torch.arange(len(picked))
        picked[rows, 5 + (labels + 1) % stage.classes] = -1.0
        picked[rows, 5 + labels] = logit
        pred[positive] = picked
    tops = [strongest(rows) for rows in run_detect(called, stage, preds, shown.sizes)]
    return [None if row is None else float(row[4]) for row in tops]


def _probabilities(stage: Stage, logit: float) -> tuple[float, float]:
    """Of the true class: sigmoid, softmax."""
    others = [-1.0] * (stage.classes > 1) + [-9.0] * max(0, stage.classes - 2)
    logits = torch.tensor([logit, *others])
    return float(logits[0].sigmoid()), float(logits.softmax(0)[0])


def _wrong_factor(
    called: Called, stage: Stage, shown: Pictures, got: Sequence[float | None]
) -> tuple[str, ...]:
    """Which of the two factors does not go as it should while the other stands still; nothing where neither
    can be told."""
    rolled = (*SURE[1:], SURE[0])
    again = _scores(called, stage, shown, LOGITS[0], rolled)
    factors = [(b / a) / (t / s) for a, b, s, t in zip(got, again, SURE, rolled, strict=True) if a and b]
    conf = any(abs(factor - 1) > 0.02 for factor in factors)
    other = _scores(called, stage, shown, LOGITS[1])
    ratios = [b / a for a, b in zip(got, other, strict=True) if a and b is not None]
    high, low = (_probabilities(stage, logit) for logit in LOGITS)
    right = [after / before for after, before in zip(low, high, strict=True)]
    wrong_class = bool(ratios) and not any(all(abs(r - w) < 0.02 for r in ratios) for w in right)
    return tuple(name for name, wrong in (("conf", conf), ("class", wrong_class)) if wrong)
