"""Where captured steps come from: a fresh batch of a config, a run's folder, a training that goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engine.config import Config, load_config
from engine.errors import UserError
from engine.inspection.frames import Frame
from engine.inspection.history import Timeline
from engine.inspection.reference import reference_snapshot, with_functions
from engine.runs.folder import RunFolder
from engine.runs.foreign_tensors import read_foreign
from engine.runs.snapshot_ring import SnapshotRing
from engine.runs.snapshots import Snapshot, list_snapshots, load
from engine.yolo.plugin import load_functions

BUILT_IN = "the reference"
OPEN_FRAMES = 96
"""Frames kept open: the ring's steps share their tensors with it, so that most cost little."""
OPEN_FILES = 16


class Reference(Protocol):
    """What a step is held against."""

    name: str

    def frame(self, snapshot: Snapshot) -> Frame: ...

    def steps(self) -> list[int] | None:
        """The steps that it has something to say of; None: any."""


@dataclass
class NoReference:
    name: str = ""

    def frame(self, snapshot: Snapshot) -> Frame:
        return Frame(snapshot)

    def steps(self) -> list[int] | None:
        return None


@dataclass
class BuiltIn:
    """The built-in detector on the same step, where the step was made by somebody's own functions."""

    name: str = BUILT_IN

    def frame(self, snapshot: Snapshot) -> Frame:
        if not snapshot.functions:
            return Frame(snapshot)
        return Frame(snapshot, reference_snapshot(snapshot), reference_name=self.name)

    def steps(self) -> list[int] | None:
        return None


@dataclass
class OtherRun:
    """A second run's snapshot of the same step."""

    folder: RunFolder
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.folder.name
        if not list_snapshots(self.folder.snapshots):
            raise UserError("holds no snapshots to compare with", where=self.folder.path, fix=HOW_TO_GET)

    def frame(self, snapshot: Snapshot) -> Frame:
        paths = dict(list_snapshots(self.folder.snapshots))
        if snapshot.step not in paths:
            return Frame(snapshot)
        return Frame(snapshot, load(paths[snapshot.step]), reference_name=self.name)

    def steps(self) -> list[int] | None:
        return [step for step, _ in list_snapshots(self.folder.snapshots)]


@dataclass
class Dump:
    """A file of tensors that somebody else's code wrote under the declared layout."""

    path: Path
    name: str = ""
    _read: Snapshot | None = None

    def __post_init__(self) -> None:
        self.name = self.path.name

    def frame(self, snapshot: Snapshot) -> Frame:
        if self._read is None:
            self._read = read_foreign(self.path, snapshot.layout, snapshot.heads, snapshot.classes)
        return Frame(snapshot, self._read, reference_name=self.name)

    def steps(self) -> list[int] | None:
        return None


HOW_TO_GET = (
    "take one with the snapshot key in the live view, on a schedule with [capture] snapshot_every, "
    "or give a CONFIG to look at a fresh batch"
)


def choose_reference(text: str) -> Reference:
    """``--reference``: a run's folder or a file of tensors; empty: the built-in detector."""
    if not text:
        return BuiltIn()
    path = Path(text).expanduser()
    if path.is_file():
        if path.suffix not in (".npz", ".safetensors"):
            raise UserError("is neither a run nor .npz nor .safetensors", where=path, fix="see --reference")
        return Dump(path)
    return OtherRun(RunFolder.open(path))


@dataclass
class Steps:
    """Captured steps to look at. ``reload`` makes them anew where that means something."""

    name: str
    timeline: Timeline
    reference: Reference
    live: bool = False
    can_reload: bool = False
    keep: Callable[[Snapshot], Path] | None = None
    """Writes a step that is only in memory to the run's folder."""
    ask: Callable[[], None] | None = None
    """Asks the process that writes the run for the tensors of its next step."""

    def newest(self) -> Frame | None:
        """The last captured step, of those that the reference knows where there are any; None: none yet."""
        known = self.reference.steps()
        held = self.timeline.steps()
        for step in sorted(held, key=lambda step: (known is None or step in known, step), reverse=True):
            try:
                return self.timeline.frame(step)
            except KeyError:
                continue
        return None

    def without_reference(self, step: int) -> str:
        """Why this step has nothing to be held against; empty where it has, or none was asked for."""
        known = self.reference.steps()
        if known is None or step in known:
            return ""
        return f"{self.reference.name} has no snapshot of step {step:,}, only of {_list(known)}"

    def reload(self) -> None:
        raise NotImplementedError


def _list(steps: list[int], most: int = 6) -> str:
    more = f" and {len(steps) - most} more" if len(steps) > most else ""
    return ", ".join(f"{step:,}" for step in steps[:most]) + more


class FreshBatch(Steps):
    """One batch of a config through its network, without training; ``reload`` reads the user's file anew."""

    def __init__(self, source: Path, config: Config, reference: Reference) -> None:
        """Takes as long as setting up a training. Raises ``UserError``."""
        self.config = config
        super().__init__(source.stem, self._look(reference), reference, can_reload=True)

    def _look(self, reference: Reference) -> Timeline:
        from engine.training.fresh import look_once

        snapshot = look_once(self.config)
        ring = SnapshotRing(max(1, snapshot.nbytes), 1)
        ring.add(snapshot)
        timeline = Timeline(ring, None, reference.frame)
        timeline.frame(snapshot.step)
        return timeline

    def reload(self) -> None:
        """Raises ``UserError``; then the old batch stays."""
        self.timeline = self._look(self.reference)


class RunSnapshots(Steps):
    """The snapshots on a run's disk, as they are or as the functions of a file would have made them.

    Raises ``UserError`` where there are none, or the file cannot be imported.
    """

    def __init__(self, folder: RunFolder, reference: Reference, code: Path | None = None) -> None:
        if not list_snapshots(folder.snapshots):
            raise UserError("holds no snapshots", where=folder.path, fix=HOW_TO_GET)
        self.folder = folder
        self.code = code
        super().__init__(folder.name, self._open(reference), reference, can_reload=code is not None)

    def _open(self, reference: Reference) -> Timeline:
        make = reference.frame
        if self.code is not None:
            user = load_functions(self.code)

            def make(snapshot: Snapshot) -> Frame:
                return reference.frame(with_functions(snapshot, user))

        return Timeline(None, self.folder.snapshots, make, kept=OPEN_FILES)

    def reload(self) -> None:
        """Raises ``UserError``; then the steps stay as they were."""
        before, self.timeline = self.timeline, self._open(self.reference)
        try:
            self.newest()
        except UserError:
            self.timeline = before
            raise


class LiveSteps(Steps):
    """The ring of a training in this process, and what it has written to disk."""

    def __init__(
        self, name: str, ring: SnapshotRing, folder: Path, keep: Callable[[Snapshot], Path] | None = None
    ) -> None:
        reference = BuiltIn()
        timeline = Timeline(ring, folder, reference.frame, kept=OPEN_FRAMES)
        super().__init__(name, timeline, reference, live=True, keep=keep)


class WrittenSnapshots(Steps):
    """The snapshots of a run that another process writes: there may be none yet, and more may come.

    ``ask``: asks that process for its next step's.
    """

    def __init__(self, folder: RunFolder, ask: Callable[[], None] | None) -> None:
        reference = BuiltIn()
        timeline = Timeline(None, folder.snapshots, reference.frame, kept=OPEN_FILES)
        super().__init__(folder.name, timeline, reference, live=True, ask=ask)


def open_steps(target: Path, *, code: Path | None, reference: str, overrides: list[str]) -> Steps:
    """What ``yolotui inspect`` was given: a run's folder or a config. Raises ``UserError``."""
    chosen = choose_reference(reference)
    if target.is_dir():
        if overrides:
            raise UserError("--set goes with a CONFIG, not with a run's snapshots", where=target)
        return RunSnapshots(RunFolder.open(target), chosen, code)
    if not target.exists() and target.suffix != ".toml":
        raise UserError("no such run or config", where=target, fix="list runs with: yolotui runs")
    config = load_config(target, overrides)
    if code is not None:
        file = str(code.expanduser().resolve())
        config = config.model_copy(update={"code": config.code.model_copy(update={"file": file})})
    return FreshBatch(target, config, chosen)
