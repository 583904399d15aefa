"""The claims about one training: what its numbers prove of how they were made."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from statistics import median

from ...ranks import mann_whitney
from . import course
from .claims import Claim, listed, number
from .course import COMPARED, MOVED
from .rates import WarmUp, schedule, warm_up
from .roles import is_best, is_loss, is_printed_twice, is_term, is_validation
from .sizes import expected_by_chance, fits
from .sums import Sum
from .training import Epoch, Training, finite_values
from .watching import Notes, train_losses

SCATTER = 0.35
"""Relative change between neighbouring epochs that a mean over a whole epoch does not show."""
MANY_BATCHES = 30
FEW_BY_CHANCE = 0.5


def claims(training: Training, notes: Notes) -> list[Claim]:
    """Everything that can be said, warnings first."""
    found = [
        *course.bad_values(training, notes),
        *_sum(training, notes),
        *_movement(training),
        *_single_batches(training, notes),
        *course.overfitting(training),
        *course.best(training),
        *_rate(training, notes),
        *_size(training, notes),
        *course.ends(training),
        *course.time(training, notes),
    ]
    found.sort(key=lambda claim: claim.severity != "warning")
    return found


def _sum(training: Training, notes: Notes) -> Iterator[Claim]:
    sums = notes.sums.sums()
    for each in sums:
        others = notes.sums.alternatives(each)
        factor = "" if each.scale == 1 else f"{each.scale:g} x "
        right = " + ".join(each.parts)
        right = f"{factor}({right})" if factor else right
        unsure = f"; {others} other sums of printed terms fit their digits as well" if others else ""
        were = "was" if len(each.zero) == 1 else "were"
        told = f"; {listed(each.zero)} {were} 0 wherever printed: nothing is told about that"
        zero = told if each.zero else ""
        yield Claim(
            "info",
            "log.sum",
            "loss",
            f"{each.total} = {right} on each of the {each.rows} lines that print them, to the printed digits"
            f"{unsure}{zero}",
            terms=(each.total, *each.parts),
            inference=bool(others),
            training=training.number,
        )
    if sums and not any(notes.sums.alternatives(each) for each in sums):
        yield from _left_out(training, notes, sums)


def _left_out(training: Training, notes: Notes, sums: list[Sum]) -> Iterator[Claim]:
    summed = {name for each in sums for name in (each.total, *each.parts, *each.zero)}
    absent = [name for name in train_losses(training) if name in notes.sums.losses and name not in summed]
    for name in absent:
        if not is_printed_twice(name) and not notes.sums.reached(name, absent):
            yield Claim(
                "warning",
                "log.no_sum",
                "loss",
                f"{name} is printed but is in no sum: nothing of {sums[0].total} comes from it, so if "
                f"{sums[0].total} is what is back-propagated, {name} gives no gradient",
                terms=(name,),
                expected=f"{sums[0].total} with {name} in it, where it is meant to be trained",
                got=f"{sums[0].total} = {' + '.join(sums[0].parts)}",
                fix=f"add {name} to the sum, or print it apart as a measurement",
                training=training.number,
            )


def _movement(training: Training) -> Iterator[Claim]:
    done = [epoch for epoch in training.epochs if training.complete(epoch)]
    if len(done) < 2 * COMPARED:
        return
    first, last = done[:COMPARED], done[-COMPARED:]
    moved: list[tuple[str, str]] = []
    still: list[tuple[str, str]] = []
    for name in training.terms():
        early, late = finite_values(first, name), finite_values(last, name)
        if len(early) < COMPARED or len(late) < COMPARED or median(early) == 0 or len({*early, *late}) < 2:
            continue  # what is 0 at first is switched off, not still
        p = mann_whitney(early, late)
        word = f"{name} {number(median(early))} → {number(median(late))} (p = {p:.2g})"
        if p < MOVED:
            moved.append((name, word))
        elif is_term(name) or (is_loss(name) and is_validation(name) and not is_best(name)):
            still.append((name, word))  # a speed or a count is not meant to move
    span = (
        f"epochs {first[0].epoch}–{first[-1].epoch} against {last[0].epoch}–{last[-1].epoch}, medians, "
        "exact Mann-Whitney test"
    )
    if moved:
        yield Claim(
            "info",
            "log.moved",
            "loss",
            f"moved beyond their noise: {', '.join(word for _, word in moved)}; {span}",
            terms=tuple(name for name, _ in moved),
            training=training.number,
        )
    if still:
        trained = any(not is_validation(name) for name, _ in still)
        yield Claim(
            "warning" if trained else "info",
            "log.not_moved",
            "loss",
            f"not moved beyond their noise: {', '.join(word for _, word in still)}; {span}",
            terms=tuple(name for name, _ in still),
            expected="a term that is trained differs between the first and the last epochs",
            fix="look at means over whole epochs; then at what this term reads: yolotui check",
            training=training.number,
        )


def _single_batches(training: Training, notes: Notes) -> Iterator[Claim]:
    """One value an epoch that scatters far more than a mean of that many batches could."""
    total = training.printed_iterations
    done = [epoch for epoch in training.epochs if training.complete(epoch)]
    if total is None or total < MANY_BATCHES or len(done) < 4 or any(epoch.points > 1 for epoch in done):
        return
    scatter: dict[str, tuple[float, Epoch, Epoch]] = {}
    for name in train_losses(training):
        steps = []
        for a, b in itertools.pairwise(done):
            x, y = a.last.get(name, math.nan), b.last.get(name, math.nan)
            if b.epoch == a.epoch + 1 and x > 0 and y > 0:
                steps.append((abs(math.log(y / x)), a, b))
        late = steps[len(steps) // 2 :]
        if len(late) >= 2 and median(size for size, _, _ in late) > SCATTER:
            scatter[name] = max(late, key=lambda each: each[0])
    if not scatter:
        return
    name = max(scatter, key=lambda each: scatter[each][0])
    size, a, b = scatter[name]
    yield Claim(
        "warning",
        "log.single_batches",
        "loop",
        f"the values look like those of single batches at the end of an epoch, not means: {name} goes from "
        f"{number(a.last[name])} to {number(b.last[name])} (a factor of {number(math.exp(size))}) from epoch "
        f"{a.epoch} to {b.epoch}, where a mean over {total} batches would scatter about "
        f"{number(math.sqrt(total))} times less than one batch (an inference)",
        terms=tuple(scatter),
        expected=f"means over the epoch's {total} batches",
        got="one line an epoch, with the last batch's values",
        fix="print the mean over the epoch: a trend cannot be told from noise here",
        inference=True,
        training=training.number,
    )


def _rate(training: Training, notes: Notes) -> Iterator[Claim]:
    rates = notes.ordered_rates(training)
    warm = warm_up(rates, training.steps_per_epoch if training.counts_epochs else 0)
    if warm is not None:
        yield _warm_up(training, warm)
    words = schedule(rates, (training.total_epochs or 0) * training.steps_per_epoch)
    if words:
        yield Claim("info", "log.schedule", "optimizer", f"learning rate: {words}", training=training.number)


def _warm_up(training: Training, warm: WarmUp) -> Claim:
    named = "linearly" if warm.power == 1 else f"by power {warm.power}"
    form, proof, other = f"as iteration^{warm.power}", "", ""
    if warm.start:
        form = f"from {number(warm.start)}"
    elif warm.length and warm.example is not None:
        form = f"base rate x (iteration / {warm.length:,})^{warm.power}"
        at = warm.example.step
        if abs(_at(warm, at, warm.power) - warm.example.value) > warm.example.half:
            at -= 1  # counted from 0
        value = _at(warm, at, warm.power)
        proof = f"{warm.base:g} x ({at:,}/{warm.length:,})^{warm.power} = {value:.4g}, "
        proof += f"printed {warm.example.value:g}; "
        digits = max(0, round(-math.log10(2 * warm.example.half)))
        power = warm.ruled_out[0]
        other = f" (power {power} would print {_at(warm, at, power):.{digits}f})"
    fit = "1 printed rate fits" if warm.points == 1 else f"{warm.points} printed rates fit"
    alone = "" if warm.start else ", and no other power from 1 to 6"
    return Claim(
        "info",
        "log.warm_up",
        "optimizer",
        f"the learning rate warms up {named}, {form}: {proof}{fit}{alone}{other}",
        inference=warm.points < 3,
        training=training.number,
    )


def _at(warm: WarmUp, step: int, power: int) -> float:
    return warm.base * (step / (warm.length or 1)) ** power


def _size(training: Training, notes: Notes) -> Iterator[Claim]:
    if notes.batch:
        yield Claim(
            "info",
            "log.batch",
            "data",
            f"batches of {notes.batch} images: the images seen grow by so many an iteration",
            training=training.number,
        )
    iterations = training.printed_iterations
    if iterations is None or iterations < 2:
        return
    chance = expected_by_chance(iterations)
    candidates = [fit for fit in fits(iterations, notes.batch) if fit.batch > 1]
    if not candidates or (chance > FEW_BY_CHANCE and notes.batch is None):
        return
    fit = candidates[0]
    more = "".join(f"; also {f.name} ({f.images:,}) at batch {f.batch}" for f in candidates[1:3])
    last = (
        f", whose last batch then holds {_count(fit.last_batch)} images"
        if 0 < fit.last_batch < fit.batch
        else ""
    )
    yield Claim(
        "info",
        "log.data_set",
        "data",
        f"{iterations:,} iterations an epoch fit {fit.name} ({fit.images:,} images) at batch {fit.batch}"
        f"{last}: {fit.arithmetic(iterations)}{more} (an inference)",
        inference=True,
        training=training.number,
    )


def _count(n: int) -> str:
    words = (
        "no",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    )
    return words[n] if n < len(words) else str(n)
