"""The claims about one training, from its notes and its epochs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from statistics import median

from ...ranks import mann_whitney
from .claims import Claim, listed, number
from .rates import WarmUp, schedule, warm_up
from .roles import is_validation
from .scores import score_of
from .sizes import expected_by_chance, fits
from .sums import Sum
from .training import Epoch, Training
from .watching import Notes, train_losses

COMPARED = 5
"""Epochs at either end: the fewest whose exact test can be significant at 0.01."""
MOVED = 0.05
SCATTER = 0.35
"""Relative change between neighbouring epochs that a mean over a whole epoch does not show."""
MANY_BATCHES = 30
FEW_BY_CHANCE = 0.5
STALLED = 0.01


def claims(training: Training, notes: Notes) -> list[Claim]:
    """Everything that can be said, warnings first."""
    found = [
        *_bad_values(training, notes),
        *_sum(training, notes),
        *_movement(training),
        *_single_batches(training, notes),
        *_overfitting(training),
        *_best(training),
        *_rate(training, notes),
        *_size(training, notes),
        *_ends(training),
        *_time(training, notes),
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
    for name in train_losses(training):
        if name not in summed and name in notes.sums.losses:
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
        early, late = _values(first, name), _values(last, name)
        if len(early) < COMPARED or len(late) < COMPARED or median(early) == 0 or len({*early, *late}) < 2:
            continue  # what is 0 at first is switched off, not still
        p = mann_whitney(early, late)
        word = f"{name} {number(median(early))} → {number(median(late))} (p = {p:.2g})"
        (moved if p < MOVED else still).append((name, word))
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


def _values(epochs: list[Epoch], name: str) -> list[float]:
    found = [epoch.means().get(name, epoch.last.get(name, math.nan)) for epoch in epochs]
    return [value for value in found if math.isfinite(value)]


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
        f"the values are those of single batches at the end of an epoch, not means: {name} goes from "
        f"{number(a.last[name])} to {number(b.last[name])} (a factor of {number(math.exp(size))}) from epoch "
        f"{a.epoch} to {b.epoch}, where a mean over {total} batches would scatter about "
        f"{number(math.sqrt(total))} times less than one batch",
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


def _ends(training: Training) -> Iterator[Claim]:
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


def _time(training: Training, notes: Notes) -> Iterator[Claim]:
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


def _bad_values(training: Training, notes: Notes) -> Iterator[Claim]:
    if not notes.bad:
        return
    names = sorted(notes.bad, key=lambda name: notes.bad[name][0])
    line, epoch, _ = notes.bad[names[0]]
    first = [name for name in names if notes.bad[name][0] == line]
    where = f"epoch {epoch}, " if training.counts_epochs else ""
    count = max(each[2] for each in notes.bad.values())
    recovered = any(notes.fresh.get(name) for name in names)
    after = (
        "; finite values follow, so it came from single batches" if recovered else "; no finite value follows"
    )
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


def _best(training: Training) -> Iterator[Claim]:
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


def _overfitting(training: Training) -> Iterator[Claim]:
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
    values = _values([epoch for epoch in epochs if epoch.epoch >= since], name)
    if len(values) < 2 * COMPARED:
        return False
    return (
        median(values[-COMPARED:]) < median(values[:COMPARED])
        and mann_whitney(values[:COMPARED], values[-COMPARED:]) < MOVED
    )
