"""``yolotui train --nproc N``: the processes of one training, and this one that looks after them.

yolotui train --nproc 2          the view, or nothing but a wait: no torch in it
  launcher (a session of its own, so that Ctrl+C comes here first)
    rank 0    writes the run, obeys what is asked through its folder, prints the lines
    rank 1    ...
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

import tui
from engine.errors import UserError
from engine.runs.events import RunEnded
from engine.runs.folder import RunFolder
from engine.runs.requests import RequestWriter

from .attached import INTERVAL, AttachedRun
from .console import complain
from .outcome import resume_command
from .signals import asked_twice, heeding

ROOT = Path(tui.__file__).resolve().parents[1]
ORPHANED_SECONDS = 60.0
"""How long a training may take to stop by itself whose terminal process was killed."""


class Ranks:
    """The launcher's process and those it has started."""

    def __init__(
        self, nproc: int, device: str, run: Path, command: Sequence[str], output: int | None
    ) -> None:
        """``command``: yolotui's arguments, for every rank. ``output``: where they print; None: where this
        process does."""
        self.folder = RunFolder(run.expanduser().resolve())
        self.process = subprocess.Popen(
            [
                *_python("from tui.ranks import launcher; launcher()"),
                str(nproc),
                device,
                str(self.folder.path),
                *_python("from tui.cli import main; main()"),
                *command,
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """With a checkpoint, where there is a run yet."""
        if self.attach() is not None:
            with contextlib.suppress(UserError):
                RequestWriter(self.folder).send("stop")
                return
        self.process.terminate()

    def wait(self) -> int:
        """To their end; returns the exit code. Not one long wait: a signal that the system hands to another
        thread (a library's) does not end that, and would be heeded when the training is over."""
        while (code := self.process.poll()) is None:
            time.sleep(0.1)
        return code

    def kill(self) -> None:
        """At once."""
        with contextlib.suppress(psutil.NoSuchProcess):
            launcher = psutil.Process(self.process.pid)
            for each in [launcher, *launcher.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        self.process.wait()

    def attach(self) -> AttachedRun | None:
        """The run, once its processes write it."""
        if not self.alive or not self.folder.database.is_file():
            return None
        try:
            run = OwnRun(self)
        except UserError:  # just being made
            return None
        return run if run.status.alive else None


class OwnRun(AttachedRun):
    """A run whose processes this one has started: it is over when they are."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        super().__init__(ranks.folder)

    def run(self) -> RunEnded | None:  # type: ignore[override]
        while not self._closing.wait(INTERVAL):
            gone = not self.ranks.alive
            self.follow()
            if gone:
                break
        self._reader.close()
        code = self.ranks.process.poll()
        if not code:
            return None
        return RunEnded("failed", "its processes were ended", 0, 0, code)


def wait_for(ranks: Ranks) -> int:
    """To the end of the training, whose lines rank 0 prints; returns the exit code. The first signal stops
    gracefully, the second at once."""
    caught: list[int] = []

    def leave(code: int) -> None:
        ranks.kill()
        raise SystemExit(code)

    with heeding(asked_twice(caught, threading.Thread(target=ranks.stop, daemon=True).start, leave)):
        code = ranks.wait()
    return caught[0] if caught else code


def output_file() -> Path:
    with tempfile.NamedTemporaryFile(prefix="yolotui-ranks-", suffix=".log", delete=False) as file:
        return Path(file.name)


def _python(code: str) -> list[str]:
    """This Python and this package, whatever lies in the current folder."""
    return [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]


# in the launcher's own process


def launcher() -> None:
    """Arguments: the number of processes, ``train.device``, the run's folder, the ranks' command."""
    from engine.training.launch import launch

    nproc, device, run, *command = sys.argv[1:]
    threading.Thread(target=_stop_with_parent, args=(os.getppid(), Path(run)), daemon=True).start()
    try:
        outcome = launch(int(nproc), command, device)
    except UserError as error:
        complain(str(error))
        raise SystemExit(2) from None
    if outcome.killed:
        again = f"; next: {resume_command(Path(run), int(nproc))}"
        saved = RunFolder(Path(run)).last_state.is_file()
        complain(f"failed: {outcome.killed}{again if saved else ''}")
    raise SystemExit(outcome.exit_code)


def _stop_with_parent(parent: int, run: Path) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    with contextlib.suppress(UserError):
        RequestWriter(RunFolder(run)).send("stop")
    time.sleep(ORPHANED_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
