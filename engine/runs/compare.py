"""Several runs side by side: the settings that differ, where they part, their best evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from . import events as ev
from .folder import RunFolder
from .listing import RunInfo, run_info
from .parting import EpochMean, Parting, first_parting
from .reader import RunReader
from .settings import Difference, changes_meaning, differences, run_settings


@dataclass(frozen=True)
class ComparedRun:
    name: str
    """The folder's name; with its parent's where two runs have the same."""
    info: RunInfo
    terms: tuple[str, ...]
    means: dict[str, dict[int, EpochMean]]
    """Term -> epoch -> its mean over the epoch's steps."""
    best: ev.EvaluationDone | None
    """Its best evaluation, as it chose itself."""
    settings: dict[str, str]


@dataclass(frozen=True)
class Pair:
    """Where a run parts from the first one."""

    run: str
    partings: dict[str, Parting]
    """Of every term that both have."""

    @property
    def first(self) -> tuple[str, int] | None:
        """The term that parts first, and its epoch."""
        found = [(p.first, name) for name, p in self.partings.items() if p.first is not None]
        return (min(found)[1], min(found)[0]) if found else None


@dataclass(frozen=True)
class Comparison:
    runs: tuple[ComparedRun, ...]
    differences: tuple[Difference, ...]
    pairs: tuple[Pair, ...]
    """Each run but the first against the first."""
    notes: tuple[str, ...]
    """What must be known to read the rest."""

    @property
    def terms(self) -> list[str]:
        """Every term of any run."""
        return list(dict.fromkeys(name for run in self.runs for name in run.terms))


def compare(paths: Sequence[str | Path]) -> Comparison:
    """Read and compare two runs or more. Raises ``UserError``."""
    folders = [RunFolder.open(path) for path in paths]
    if len(folders) < 2:
        raise UserError("needs two runs or more", where="compare", fix="list runs with: yolotui runs")
    twice = next((f for k, f in enumerate(folders) if f in folders[:k]), None)
    if twice is not None:
        raise UserError("was given twice", where=twice.path, fix="name different runs")
    names = [folder.name for folder in folders]
    runs = tuple(
        _read(folder, folder.name if names.count(folder.name) == 1 else "/".join(folder.path.parts[-2:]))
        for folder in folders
    )
    first, others = runs[0], runs[1:]
    differing = tuple(differences([run.settings for run in runs]))
    pairs = tuple(_pair(first, other) for other in others)
    return Comparison(runs, differing, pairs, tuple(_notes(runs, differing, pairs)))


def _read(folder: RunFolder, name: str) -> ComparedRun:
    info = run_info(folder.path)
    if info.status == "damaged":
        raise UserError(info.message, where=folder.path)
    with RunReader(folder) as reader, reader.moment():
        started = reader.started()
        known = reader.terms()
        terms = [term for term in (started.terms if started else ()) if term in known]
        terms += [term for term in known if term not in terms]
        evaluations = reader.evaluations()
        return ComparedRun(
            name=name,
            info=info,
            terms=tuple(terms),
            means=_means(reader.epochs(), started),
            best=ev.best_of(evaluations),
            settings=run_settings(reader),
        )


def _means(epochs: Sequence[ev.EpochDone], started: ev.RunStarted | None) -> dict[str, dict[int, EpochMean]]:
    """An epoch that was not finished has no summary and is not compared."""
    means: dict[str, dict[int, EpochMean]] = {}
    usual = started.steps_per_epoch if started else 0
    before: ev.EpochDone | None = None
    for done in epochs:
        follows = before is not None and before.epoch == done.epoch - 1
        steps = done.step - before.step if follows and before else usual
        for name, summary in done.summaries.items():
            means.setdefault(name, {})[done.epoch] = EpochMean(summary.mean, summary.spread, steps)
        before = done
    return means


def _pair(first: ComparedRun, other: ComparedRun) -> Pair:
    shared = [name for name in first.means if name in other.means]
    return Pair(
        other.name,
        {name: first_parting(first.means[name], other.means[name], len(shared)) for name in shared},
    )


def _notes(runs: Sequence[ComparedRun], differing: Sequence[Difference], pairs: Sequence[Pair]) -> list[str]:
    notes = []
    if changes_meaning(differing):
        notes.append(
            "settings of the loss, the layout or the code differ: the terms may not measure the same"
        )
    every = set.intersection(*(set(run.terms) for run in runs))
    for run in runs:
        alone = [name for name in run.terms if name not in every]
        if alone:
            notes.append(f"not in every run: {', '.join(alone)} of {run.name}")
        if not run.info.steps:
            notes.append(f"{run.name} has no steps")
    for pair in pairs:
        if not pair.partings:
            notes.append(f"{pair.run} and {runs[0].name} have no finished epoch of a term in common")
        elif max(parting.epochs for parting in pair.partings.values()) < 3:
            notes.append(
                f"{pair.run} and {runs[0].name} share too few epochs to tell a parting: three are needed"
            )
    return notes
