"""How one training went: where it ends, how long it took, its best epoch, values that are no numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from ...ranks import mann_whitney
from .claims import Claim, listed, number
from .roles import is_validation
from .scores import score_of
from .training import Epoch, Training, finite_values
from .watching import Notes

COMPARED = 5
"""Epochs at either end: the fewest whose exact test can be significant at 0.01."""
MOVED = 0.05
"""Below this p an exact rank test says that a term moved."""


def ends(training: Training) -> Iterator[Claim]:
    if not training.counts_epochs or not training.epochs:
        return
    last = training.epochs[-1]
    gaps = [
        (a, b) for a, b in zip(training.epochs, training.epochs[1:], strict=False) if b.epoch > a.epoch + 1
    ]
    if gaps:
        words = ", ".join(
            f"{a.epoch + 1}–{b.epoch - 1}" if b.epoch > a.epoch + 2 else f"{a.epoch + 1}" for a, b in gaps[:5]
        )
        missing = sum(b.epoch - a.epoch - 1 for a, b in gaps)
        yield Claim(
            "info",
            "log.gap",
            "loop",
            f"epochs {words} are not in the log ({missing} of {last.epoch}): only {len(training.epochs)} are",
            line=gaps[0][1].line,
            training=training.number,
        )
    final = (training.total_epochs or 0) - training.epoch_offset
    if not training.complete(last):
        total = last.iterations or training.printed_iterations
        of = f" of {total}" if total and not training.runs_through else ""
        planned = f"; {training.total_epochs} epochs were planned" if training.total_epochs else ""
        yield Claim(
            "warning",
            "log.interrupted",
            "loop",
            f"epoch {last.epoch} is interrupted at iteration {last.last_iteration}{of}{planned}",
            line=last.line,
            training=training.number,
        )
    elif training.total_epochs and last.epoch < final:
        yield Claim(
            "warning",
            "log.stopped",
            "loop",
            f"ends after epoch {last.epoch} of {training.total_epochs}",
            line=last.line,
            training=training.number,
        )
    for line in training.resumed_at:
        yield Claim(
            "info", "log.resumed", "loop", f"resumed at line {line}", line=line, training=training.number
        )


def time(training: Training, notes: Notes) -> Iterator[Claim]:
    if notes.seconds <= 0:
        return
    hours = notes.seconds / 3600
    spent = f"{hours:.2f} hours" if hours >= 1 else f"{notes.seconds / 60:.1f} minutes"
    spent = spent if notes.seconds >= 60 else f"{notes.seconds:.1f} seconds"
    missing = ""
    epochs = training.epochs
    if epochs and training.counts_epochs:
        whole = [e for e in epochs if training.complete(e)]
        count = epochs[-1].epoch - epochs[0].epoch + 1
        if count > len(epochs) and whole:
            estimate = hours / len(epochs) * count
            gone = count - len(epochs)
            missing = f"; with the {gone} epochs that are not in the log, at the same pace about "
            missing += f"{estimate:.1f} hours (an inference)"
    speed = notes.timed_steps / notes.seconds
    pace = ""
    if notes.timed_steps and not (epochs and epochs[-1].whole):
        pace = (
            f", {speed:.2f} iterations a second"
            if speed >= 0.5
            else f", {1 / speed:.1f} seconds an iteration"
        )
        pace += f" ({speed * notes.batch:.0f} images a second)" if notes.batch else ""
    yield Claim(
        "info", "log.time", "loop", f"{spent} are in the log{pace}{missing}", training=training.number
    )


def bad_values(training: Training, notes: Notes) -> Iterator[Claim]:
    if not notes.bad:
        return
    names = sorted(notes.bad, key=lambda name: notes.bad[name][0])
    line, epoch, _ = notes.bad[names[0]]
    first = [name for name in names if notes.bad[name][0] == line]
    where = f"epoch {epoch}, " if training.counts_epochs else ""
    count = max(each[2] for each in notes.bad.values())
    recovered = any(notes.fresh.get(name) for name in names)
    after = "; finite values follow" if recovered else "; no finite value follows"
    if recovered and not any(is_validation(name) for name in names):
        after += ", so it came from single batches"
    yield Claim(
        "warning",
        "log.not_finite",
        "loss",
        f"{listed(first)} {'is' if len(first) == 1 else 'are'} not finite from line {line} ({where}"
        f"{count} {'value' if count == 1 else 'values'}){after}",
        terms=tuple(names),
        line=line,
        fix="the step before it is the one to look at: a rate too high, log(0), a division by a count of 0",
        training=training.number,
    )


def best(training: Training) -> Iterator[Claim]:
    scored = [(score_of(each.values), each) for each in training.evaluations]
    known = [(score, each) for score, each in scored if score is not None and math.isfinite(score[1])]
    if not known:
        return
    (name, value), best = max(known, key=lambda pair: pair[0][1])
    noun = "evaluation" if len(known) == 1 else "evaluations"
    if value <= 0:
        yield Claim(
            "warning",
            "log.nothing_found",
            "detect",
            f"{name} is 0 in {f'all {len(known)} evaluations' if len(known) > 1 else 'the only evaluation'}: "
            "nothing was found, or nothing found counts as right",
            expected="some precision after the first epochs, however small",
            fix="look at classes and their numbering, the boxes' scale, and the evaluation's own labels",
            line=best.line,
            training=training.number,
        )
        return
    last = known[-1]
    place = f"epoch {best.epoch}" if training.counts_epochs else f"iteration {best.iteration}"
    after = ""
    if last[1] is not best and last[0][0] == name:
        at = f"epoch {last[1].epoch}" if training.counts_epochs else f"iteration {last[1].iteration}"
        after = f"; the last, {at}, has {last[0][1]:.4g}"
    yield Claim(
        "info",
        "log.best",
        "loop",
        f"best {name} {value:.4g} at {place}, of {len(known)} {noun}{after}",
        line=best.line,
        training=training.number,
    )


def overfitting(training: Training) -> Iterator[Claim]:
    done = [epoch for epoch in training.epochs if training.complete(epoch)]
    if len(done) < 2 * COMPARED:
        return
    for name in training.terms():
        if not is_validation(name):
            continue
        pairs = [(epoch, epoch.last[name]) for epoch in done if math.isfinite(epoch.last.get(name, math.nan))]
        if len(pairs) < 2 * COMPARED:
            continue
        lowest = min(range(len(pairs)), key=lambda k: pairs[k][1])
        after = [value for _, value in pairs[lowest:]]
        if len(after) < 2 * COMPARED or lowest < 2:
            continue
        around = [value for _, value in pairs[max(0, lowest - 2) : lowest + 3]]
        late = [value for _, value in pairs[-COMPARED:]]
        partner = _partner(name, training)
        falls = partner is not None and _falls(done, partner, pairs[lowest][0].epoch)
        if falls and mann_whitney(around, late) < MOVED and median(late) > 1.02 * median(around):
            yield Claim(
                "warning",
                "log.overfitting",
                "data",
                f"{name} rises from {number(median(around))} around epoch {pairs[lowest][0].epoch} to "
                f"{number(median(late))} in the last {COMPARED} epochs, while {partner} goes on falling: "
                "a sign of overfitting",
                terms=(name, partner or ""),
                fix="stop at the best score, augment more, or train a smaller network",
                training=training.number,
            )


def _partner(name: str, training: Training) -> str | None:
    """The training's own value of a validation loss."""
    bare = _bare(name)
    return next((n for n in training.terms() if not is_validation(n) and _bare(n) == bare), None)


def _bare(name: str) -> str:
    low = name.lower()
    for word in ("validation", "valid", "val", "train", "training", "test", "eval"):
        for mark in ("/", "_", " ", "."):
            low = low.removeprefix(word + mark)
    return low


def _falls(epochs: list[Epoch], name: str, since: int) -> bool:
    values = finite_values([epoch for epoch in epochs if epoch.epoch >= since], name)
    if len(values) < 2 * COMPARED:
        return False
    return (
        median(values[-COMPARED:]) < median(values[:COMPARED])
        and mann_whitney(values[:COMPARED], values[-COMPARED:]) < MOVED
    )
