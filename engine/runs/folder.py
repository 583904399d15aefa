"""A run is a folder: where its parts lie, how one is made and recognised."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError


@dataclass(frozen=True)
class RunFolder:
    """The paths inside one run's folder. Nothing in it can execute code when opened."""

    path: Path

    @classmethod
    def create(cls, path: str | Path) -> RunFolder:
        """Make the folder and its subfolders; an empty one may be there already.

        Raises ``UserError`` where a run lies there, or where the folder cannot be made.
        """
        folder = cls(Path(path).expanduser().resolve())
        if folder.database.exists():
            raise UserError(
                "holds a run already",
                where=folder.path,
                fix="resume it with --resume, or name another folder",
            )
        try:
            for part in (folder.snapshots, folder.checkpoints):
                part.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot be made: {error.strerror}", where=folder.path) from None
        return folder

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The run at ``path``; raises ``UserError`` where there is none."""
        folder = cls(Path(path).expanduser().resolve())
        if not folder.database.is_file():
            what = "is not a run (it has no run.db)" if folder.path.exists() else "no such run"
            raise UserError(what, where=path, fix="list runs with: yolotui runs")
        return folder

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        """The resolved config, absolute paths, defaults included."""
        return self.path / "config.toml"

    @property
    def database(self) -> Path:
        return self.path / "run.db"

    @property
    def snapshots(self) -> Path:
        return self.path / "snapshots"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The newest weights, alone."""
        return self.checkpoints / "last.safetensors"

    @property
    def best(self) -> Path:
        """The weights of the best validation, alone."""
        return self.checkpoints / "best.safetensors"

    @property
    def last_state(self) -> Path:
        """What training needs beside ``last`` to go on."""
        return self.checkpoints / "last.state.pt"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def weights(self) -> Path | None:
        """What a run means as weights: ``best`` where it validated, else ``last``, else None."""
        return next((file for file in (self.best, self.last) if file.is_file()), None)


def next_free(root: str | Path, stem: str) -> Path:
    """``root/stem-n`` with n one above the largest there."""
    root = Path(root)
    pattern = re.compile(re.escape(stem) + r"-(\d+)")
    names = [entry.name for entry in root.iterdir()] if root.is_dir() else []
    taken = [int(match[1]) for match in map(pattern.fullmatch, names) if match]
    return root / f"{stem}-{max(taken, default=0) + 1}"


def claim_free(root: str | Path, stem: str) -> Path:
    """``next_free``, made: of two that begin at the same moment each has its own.

    Raises ``UserError`` where it cannot be made.
    """
    while True:
        path = next_free(root, stem)
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"cannot be made: {error.strerror}", where=path) from None
        return path
