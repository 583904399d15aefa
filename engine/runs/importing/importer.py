"""A log file in, run folders and findings out."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..folder import RunFolder, next_free
from .claims import Claim
from .darknet import DarknetReader
from .points import Point
from .proofs import claims as claims_of
from .recognise import Chain, recognise
from .roles import role
from .storing import store
from .sums import SumSearch
from .text import LogFile
from .tracker import Tracker
from .training import Training
from .watching import Notes

TRAININGS = "trainings"
"""Where, in the run's folder, the further trainings of the same file lie, a run each."""
Progress = Callable[[int], None]


@dataclass(frozen=True)
class ImportedRun:
    path: Path
    training: int
    epochs: int
    steps: int
    first_line: int


@dataclass
class Imported:
    """What came of a log. ``run`` is the run of its longest training (the latest of equals)."""

    run: Path
    source: Path
    format: str
    runs: list[ImportedRun] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    """Of all trainings, in the file's order and numbers: ``epoch``, ``complete``, and the last value printed
    under each name; ``points`` and ``mean`` where there were several; ``training`` where the file holds more
    than one."""
    ends: dict[str, tuple[float, float]] = field(default_factory=dict)
    """The first and the last value under each name of ``run``'s training, where it counts no epochs."""
    restarts: list[int] = field(default_factory=list)
    """Their lines."""
    lines: int = 0
    unread: int = 0
    unread_examples: list[tuple[int, str]] = field(default_factory=list)
    findings: list[Claim] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The document of ``yolotui import --json``."""
        return {
            "run": str(self.run),
            "format": self.format,
            "epochs": self.epochs,
            "restarts": len(self.restarts),
            "unread_lines": self.unread,
            "findings": [claim.to_json(str(self.source)) for claim in self.findings],
            "restart_lines": self.restarts,
            "lines": self.lines,
            "runs": [
                {
                    "run": str(r.path),
                    "training": r.training,
                    "epochs": r.epochs,
                    "steps": r.steps,
                    "line": r.first_line,
                }
                for r in self.runs
            ],
        }


def import_log(
    source: Path, run: Path | None = None, root: Path = Path("runs"), progress: Progress | None = None
) -> Imported:
    """Read ``source`` and make the run ``run``, by default the next free one below ``root`` named after it.

    ``progress`` is called with the line reached. Raises ``UserError`` where the file cannot be read, holds
    nothing that can be understood, or the folder is taken; then nothing is left behind.
    """
    file = LogFile(source)
    final = _free(run, root, source)
    chain = recognise(file)
    if chain is None:
        raise UserError(
            "holds no values that can be read as a training's log" if source.stat().st_size else "is empty",
            where=source,
            fix="it reads progress bars, name=value lines, CSV, JSON lines and Darknet's output",
        )
    reading = _Reading(file, chain)
    try:
        reading.read(progress)
        return reading.write(final)
    finally:
        for training in reading.trainings:
            training.spool.close()


def _free(run: Path | None, root: Path, source: Path) -> Path:
    if run is None:
        name = source.name.removesuffix(".gz")
        stem = re.sub(r"[^\w.-]+", "-", Path(name).stem).strip("-.") or "log"
        return next_free(root.expanduser().resolve(), stem)
    final = run.expanduser().resolve()
    if final.is_dir() and any(final.iterdir()):
        what = "holds a run already" if (final / "run.db").exists() else "is not empty"
        raise UserError(what, where=run, fix="name another folder, or leave --run away")
    if final.exists() and not final.is_dir():
        raise UserError("is a file", where=run, fix="name a folder")
    return final


class _Reading:
    def __init__(self, file: LogFile, chain: Chain) -> None:
        self.file, self.chain = file, chain
        self._notes: dict[int, Notes] = {}
        self._json = chain.name in ("json", "mmdetection")
        self._tracker = Tracker(self._look, same_place_restarts=self._json)
        self.lines = self.unread = 0
        self.examples: list[tuple[int, str]] = []

    @property
    def trainings(self) -> list[Training]:
        return self._tracker.trainings

    def read(self, progress: Progress | None) -> None:
        """Every line once; a line counts as unread where no state of it gave a value."""
        take, read = self._tracker.take, self.chain.read
        blank, given, example = True, False, ""
        for piece in self.file.pieces():
            text = piece.text
            if text and not text.isspace():
                if blank:
                    blank, example = False, text
                points = read(text, piece.line)
                if points is not None:
                    given = given or not (points and all(point.begins for point in points))
                    for point in points:
                        take(point)
            if piece.ends:
                if not blank:
                    self.lines += 1
                    if not given:
                        self._unread(piece.line, example)
                blank, given = True, False
                if progress is not None and piece.line % 20_000 == 0:
                    progress(piece.line)
        if not blank:
            self.lines += 1
            if not given:
                self._unread(0, example)
        for point in self.chain.finish():
            take(point)
        self._tracker.finish()
        if not self.trainings:
            raise UserError("holds no training's values", where=self.file.path, fix="is it the whole log?")

    def write(self, final: Path) -> Imported:
        kept = max(self.trainings, key=lambda t: (len(t.epochs), t.spool.count, t.number))
        done = Imported(final, self.file.path.resolve(), self.chain.name)
        done.restarts, done.lines, done.unread = self._tracker.restarts, self.lines, self.unread
        done.unread_examples = self.examples
        done.findings = self._about_file()
        digest = self.file.digest()
        parent = final.parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            building = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=parent))
        except OSError as error:
            raise UserError(f"cannot be made: {error.strerror}", where=final) from None
        try:
            for training in sorted(self.trainings, key=lambda each: each.number):
                inner = Path() if training is kept else Path(TRAININGS) / str(training.number)
                self._store(training, building / inner, final / inner, digest, done)
            if len(self.trainings) > 1:
                done.findings.sort(key=lambda claim: claim.training not in (0, kept.number))
            building.chmod(0o777 & ~_umask())
            building.rename(final)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        done.epochs = [
            self._epoch(t, k) for t in self.trainings for k in range(len(t.epochs)) if t.counts_epochs
        ]
        if not kept.counts_epochs:
            last = {name: value for epoch in kept.epochs for name, value in epoch.last.items()}
            done.ends = {
                name: (kept.first_values.get(name, value), value)
                for name, value in last.items()
                if role(name) != "none"
            }
        return done

    def _store(self, training: Training, there: Path, final: Path, digest: str, done: Imported) -> None:
        notes = self._notes[training.number]
        folder = RunFolder.create(there)
        source = {
            "source": str(self.file.path.resolve()),
            "sha256": digest,
            "format": self.chain.name,
            "training": training.number,
            "trainings": len(self.trainings),
            "first_line": training.first_line,
        }
        store(training, notes, lambda: self._claims(training, notes, done), folder, final, source)
        steps = training.step_of(training.epochs[-1].epoch, training.epochs[-1].last_iteration)
        epochs = len(training.epochs) if training.counts_epochs else 0
        done.runs.append(ImportedRun(final, training.number, epochs, steps, training.first_line))

    def _claims(self, training: Training, notes: Notes, done: Imported) -> list[Claim]:
        found = claims_of(training, notes)
        done.findings += found
        return found

    def _about_file(self) -> list[Claim]:
        found = []
        restarts = self._tracker.restarts
        if restarts:
            shown = ", ".join(map(str, restarts[:8])) + (", ..." if len(restarts) > 8 else "")
            count = len(self.trainings)
            empty = len(restarts) + 1 - count - sum(len(t.resumed_at) for t in self.trainings)
            parts = [f"{count} {'training' if count == 1 else 'trainings'} with values"]
            parts += [f"{empty} {'start' if empty == 1 else 'starts'} that gave none"] if empty > 0 else []
            noun = "restart" if len(restarts) == 1 else "restarts"
            found.append(
                Claim(
                    "warning" if empty > 0 else "info",
                    "log.restarts",
                    "loop",
                    f"{len(restarts)} {noun} (at line {shown}): {', '.join(parts)}",
                    line=restarts[0],
                )
            )
        if self.file.broken_off:
            found.append(
                Claim(
                    "warning", "log.broken_off", "loop", "the compressed file breaks off: its end is missing"
                )
            )
        main = self.chain.main
        if isinstance(main, DarknetReader) and main.empty_regions:
            found.append(
                Claim(
                    "info",
                    "log.empty_heads",
                    "assign",
                    f"{main.empty_regions} of {main.regions} region lines have count 0: their head got no "
                    "object in that part of the batch, and -nan there is 0/0, not a failure",
                )
            )
        return found

    def _epoch(self, training: Training, place: int) -> dict[str, Any]:
        epoch = training.epochs[place]
        head: dict[str, Any] = {"epoch": epoch.epoch, "complete": training.complete(epoch)}
        if len(self.trainings) > 1:
            head["training"] = training.number
        if not epoch.whole and not training.runs_through and (epoch.iterations or epoch.points > 1):
            head["iterations"] = epoch.last_iteration + training.iteration_offset
        if epoch.points > 1:
            head["points"] = epoch.points
        values = {
            name: value for name, value in epoch.last.items() if role(name) != "none" and name not in head
        }
        means = {"mean": epoch.means()} if epoch.points > 1 else {}
        return {**head, **values, **means}

    def _look(self, training: Training, point: Point) -> None:
        notes = self._notes.get(training.number)
        if notes is None:
            notes = self._notes[training.number] = Notes(SumSearch(fixed_decimals=self._json))
        notes.look(training, point)

    def _unread(self, line: int, text: str) -> None:
        self.unread += 1
        if len(self.examples) < 5:
            self.examples.append((line, text.strip()))


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
