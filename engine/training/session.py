"""One training: a run's folder, its feed, its control and its loop."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..config import Config, dump_config, load_config
from ..errors import UserError
from ..files import write_atomically
from ..runs import events as ev
from ..runs.environment import environment
from ..runs.folder import RunFolder
from ..runs.store import RunWriter, StoreSubscriber
from ..yolo.plugin import UserFunctions, line_at_fault
from .capture import Captures
from .checkpoint import load_state
from .control import Control
from .distributed import Group, RankLost
from .launch import check_batch
from .loop import Loop
from .obeying import Obeying
from .setup import put_together

FREE_TO_DIFFER = {
    ("train", "workers"),
    ("train", "device"),
    ("train", "batch_norm"),
    ("train", "log_seconds"),
    ("train", "patience"),
    ("data", "cache"),
}
"""Settings that a resumed run may change: they alter no bit of what is learnt on one device."""


class LeaderFailed(Exception):
    """The training could not be set up, and the leader says why: nothing to say at this rank."""


class Training:
    """Set up in the constructor, which raises ``UserError``; ``run`` blocks to the end and never raises.

    In a ``group`` every rank makes one, with the same arguments. The leader writes the run and obeys; the
    others take part, and their feeds tell little.
    """

    def __init__(
        self,
        config: Config,
        run_dir: Path,
        *,
        source: Path,
        code: Path | None,
        resume: bool,
        group: Group | None = None,
    ) -> None:
        self.config = _with_code(config, code)
        self.source = source
        self.feed = ev.Feed()
        self.control = Control()
        self.group = group or Group()
        self._state: dict[str, Any] | None = None
        self._store: StoreSubscriber | None = None
        self._obeying: Obeying | None = None
        self._loop: Loop | None = None
        self.lost_others = False
        """Whether it ended because another rank has."""
        check_batch(self.config, self.group.size)
        if self.group.leads:
            with self._said_to_all():
                self._set_up(run_dir, resume)
        else:
            self._follow(run_dir)
        self._set_up_everywhere()
        self.captures = Captures(
            self.config.capture,
            self.parts.blueprint,
            self.parts.user,
            self.folder.snapshots,
            self.feed.emit,
        )
        if self.group.leads:
            self._store = self._open_store()
            self._obeying = Obeying(self.folder, self.control, self.log)

    def _set_up(self, run_dir: Path, resume: bool) -> None:
        """The leader's part, and all there is to a group of one."""
        if resume:
            self.folder = RunFolder.open(run_dir)
            self._state = load_state(self.folder.last_state)
            if self._state["finished"]:
                raise UserError(
                    "is finished: there is nothing to resume",
                    where=self.folder.path,
                    fix=f"to train on from its weights: --set model.weights={self.folder.path}",
                )
            kept = load_config(self.folder.config)
            if not self.config.data.classes:  # the run's own config names those that the data had
                self.config = _with_classes(self.config, kept.data.classes)
            _check_same(kept, self.config)
        self.parts = put_together(self.config, self._state and self._state["blueprint"], self.group)
        if not resume:
            self.config = _with_classes(self.config, self.parts.train.classes)
            self.folder = RunFolder.create(run_dir)
            text = dump_config(self.config)
            write_atomically(self.folder.config, lambda temporary: temporary.write_text(text))

    @contextmanager
    def _said_to_all(self) -> Iterator[None]:
        """The other ranks wait for what the leader finds: data that may have to be drawn first, fitted
        anchors, the state to go on from."""
        try:
            yield
        except Exception as error:
            self.group.tell({"failed": str(error)})
            raise
        told = {"blueprint": self.parts.blueprint.to_json(), "state": self._state}
        self.group.tell(told if self.group.size > 1 else {})

    def _follow(self, run_dir: Path) -> None:
        told: dict[str, Any] = self.group.tell()
        if "failed" in told:
            raise LeaderFailed(told["failed"])
        self.folder = RunFolder(run_dir)
        self._state = told["state"]
        try:
            self.parts = put_together(self.config, told["blueprint"], self.group)
        except Exception as error:
            self.group.collect(f"rank {self.group.rank}: {error}")
            raise LeaderFailed(str(error)) from error

    def _set_up_everywhere(self) -> None:
        """Raises ``UserError`` at the leader where another rank could not follow."""
        if self.group.leads or self.group.size > 1:
            problem = next((each for each in self.group.collect("") if each), "")
            if problem:
                raise UserError(problem) if self.group.leads else LeaderFailed(problem)
        self.group.equalize(self.parts.model)

    def run(self) -> ev.RunEnded:
        """All of the training, in the calling thread."""
        if self._obeying is not None:
            self._obeying.start()
        try:
            self._loop = Loop(
                self.config,
                self.parts,
                self.folder,
                self.control,
                self.feed.emit,
                self.captures,
                self._state,
                self.group,
            )
            ended = self._loop.run()
        except Exception as error:  # whatever it is, it must reach the screen and the log
            self._log_traceback()
            why = _in_one_line(error, self.parts.user)
            self.lost_others = isinstance(error, RankLost)
            if not self.lost_others:
                self.group.fail(why)
            ended = ev.RunEnded("failed", why, *self._last_step(), _exit_code(error))
        self._close(ended)
        self.parts.close()
        return ended

    def give_up(self, why: str) -> None:
        """Where ``run`` does not come back, from another thread: what is known is written down. The process
        is to end at once after it."""
        last = self._last_step()
        self._close(ev.RunEnded("failed", why, *last, 1))

    def _close(self, ended: ev.RunEnded) -> None:
        if self._obeying is not None:
            self._obeying.close()
        self.feed.emit(ended)
        if self._store is not None:
            self._store.close()

    def log(self, text: str, level: str = "info") -> None:
        self.feed.emit(ev.LogLine(level, text))  # type: ignore[arg-type]

    def _last_step(self) -> tuple[int, int]:
        return (self._loop.step, self._loop.epoch) if self._loop is not None else (0, 0)

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
        if not self.group.leads:
            return
        with self.folder.log.open("a", encoding="utf-8") as log:
            log.write(traceback.format_exc())


def _with_code(config: Config, code: Path | None) -> Config:
    if code is None:
        return config
    return config.model_copy(update={"code": config.code.model_copy(update={"file": str(code.resolve())})})


def _with_classes(config: Config, classes: Sequence[str]) -> Config:
    """What was trained stands in the run's config, whatever the data's own files say later."""
    data = config.data.model_copy(update={"classes": list(classes)})
    return config.model_copy(update={"data": data})


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
    if isinstance(error, UserError | RankLost):
        return str(error)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    line = line_at_fault(user.path, error)
    return f"{Path(user.path).name}:{line}: {text}" if line else text


def _exit_code(error: Exception) -> int:
    return 2 if isinstance(error, UserError) else 1
