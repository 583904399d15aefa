"""One training: a run's folder, its feed, its control and its loop."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from ..config import Config, dump_config, load_config
from ..errors import UserError
from ..files import write_atomically
from ..runs import events as ev
from ..runs.environment import environment
from ..runs.folder import RunFolder, next_free
from ..runs.store import RunWriter, StoreSubscriber, newest
from ..yolo.plugin import UserFunctions, line_at_fault
from .capture import Captures
from .checkpoint import load_state
from .control import Control
from .loop import Loop
from .obeying import Obeying
from .setup import put_together

FREE_TO_DIFFER = {("train", "workers"), ("train", "device"), ("train", "log_seconds"), ("data", "cache")}
"""Settings that a resumed run may change: they alter no bit of what is learnt on one device."""


def choose_run(config: Config, source: Path, run: Path | None, resume: bool) -> Path:
    """The folder of a run about to start or go on. Raises ``UserError``."""
    if run is not None:
        return run
    if not resume:
        return next_free("runs", source.stem)
    found = newest("runs", config=source, unfinished=True)
    if found is None:
        raise UserError(
            "has no unfinished run below runs/", where=source, fix="name one with --run, or drop --resume"
        )
    return found.path


class Training:
    """Set up in the constructor, which raises ``UserError``; ``run`` blocks to the end and never raises."""

    def __init__(
        self, config: Config, run_dir: Path, *, source: Path, code: Path | None, resume: bool
    ) -> None:
        self.config = _with_code(config, code)
        self.source = source
        self.feed = ev.Feed()
        self.control = Control()
        self._state: dict[str, Any] | None = None
        if resume:
            self.folder = RunFolder.open(run_dir)
            self._state = load_state(self.folder.last_state)
            if self._state["finished"]:
                raise UserError("is finished: there is nothing to resume", where=self.folder.path)
            _check_same(load_config(self.folder.config), self.config)
        self.parts = put_together(self.config, self._state and self._state["blueprint"])
        if not resume:
            self.folder = RunFolder.create(run_dir)
            text = dump_config(self.config)
            write_atomically(self.folder.config, lambda temporary: temporary.write_text(text))
        self.captures = Captures(
            self.config.capture,
            self.parts.blueprint,
            self.parts.user,
            self.folder.snapshots,
            self.feed.emit,
        )
        self._store = self._open_store()
        self._obeying = Obeying(self.folder, self.control, self.log)

    def run(self) -> ev.RunEnded:
        """All of the training, in the calling thread."""
        loop = None
        self._obeying.start()
        try:
            loop = Loop(
                self.config,
                self.parts,
                self.folder,
                self.control,
                self.feed.emit,
                self.captures,
                self._state,
            )
            ended = loop.run()
        except Exception as error:  # whatever it is, it must reach the screen and the log
            self._log_traceback()
            step, epoch = (loop.step, loop.epoch) if loop is not None else (0, 0)
            ended = ev.RunEnded(
                "failed", _in_one_line(error, self.parts.user), step, epoch, _exit_code(error)
            )
        self._obeying.close()
        self.feed.emit(ended)
        self.parts.close()
        self._store.close()
        return ended

    def log(self, text: str, level: str = "info") -> None:
        self.feed.emit(ev.LogLine(level, text))  # type: ignore[arg-type]

    def _open_store(self) -> StoreSubscriber:
        writer = RunWriter(self.folder)
        if (
            self._state is None
        ):  # gone on with by its own config.toml, it stays a run of the config it began with
            writer.set_meta(config=str(self.source.resolve()))
        writer.set_meta(
            environment=environment(self.parts.compute.name),
            blueprint=self.parts.blueprint.to_json(),
            code=self.parts.user.path,
            code_sha256=self.parts.user.sha256,
        )
        if self._state is not None:
            writer.rewind(self._state["step"])
        return StoreSubscriber(self.feed.subscribe(), writer, lambda line: self.log(line, "warning"))

    def _log_traceback(self) -> None:
        with self.folder.log.open("a", encoding="utf-8") as log:
            log.write(traceback.format_exc())


def _with_code(config: Config, code: Path | None) -> Config:
    if code is None:
        return config
    return config.model_copy(update={"code": config.code.model_copy(update={"file": str(code.resolve())})})


def _check_same(kept: Config, given: Config) -> None:
    """A resumed run goes on as it began. Raises ``UserError`` naming the first key that differs."""
    before, now = kept.model_dump(mode="json"), given.model_dump(mode="json")
    for section, keys in before.items():
        for key, value in keys.items():
            if now[section][key] != value and (section, key) not in FREE_TO_DIFFER:
                raise UserError(
                    f"{section}.{key} = {now[section][key]!r}, but the run began with {value!r}",
                    where="--resume",
                    fix="give the run's own config.toml, or start a new run",
                )


def _in_one_line(error: Exception, user: UserFunctions) -> str:
    if isinstance(error, UserError):
        return str(error)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    line = line_at_fault(user.path, error)
    return f"{Path(user.path).name}:{line}: {text}" if line else text


def _exit_code(error: Exception) -> int:
    return 2 if isinstance(error, UserError) else 1
