"""One process of a training in several: what torchrun, or our own launcher, starts N times."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from engine.config import Config
from engine.runs.choosing import chosen_run
from engine.training.distributed import Group, RankLost
from engine.training.launch import LEADER_FIRST
from engine.training.session import LeaderFailed, Training

from .console import FAILED, USAGE, complain
from .headless import train_headless
from .session import Session, TrainingThread
from .signals import SIGNAL_EXITS, heeding

GRACE = 20.0
"""Seconds after a signal: a step that waits for a rank that is gone does not come back (NCCL's)."""


def train_rank(config: Config, source: Path, code: Path | None, run: Path | None, resume: bool) -> NoReturn:
    """Ends the process with the exit code."""
    group = Group.join(config.train.device)
    try:
        leaders = chosen_run(source, run, resume) if group.leads else contextlib.nullcontext()
        with leaders as own:
            chosen = group.tell(own)
            assert chosen is not None
            training = Training(config, chosen, source=source, code=code, resume=resume, group=group)
    except (RankLost, LeaderFailed) as error:
        if group.leads:
            complain(str(error))
        else:
            time.sleep(LEADER_FIRST)
        group.leave(USAGE if isinstance(error, LeaderFailed) else FAILED)
    group.leave(_lead(training) if group.leads else _take_part(training))


def _lead(training: Training) -> int:
    folder = training.folder

    @contextlib.contextmanager
    def signals(session: Session, caught: list[int]) -> Iterator[None]:
        def give_up(code: int) -> None:
            training.give_up("ended by a signal while it waited for the other ranks")
            os._exit(code)

        with _signals(training, caught, give_up):
            yield

    status = train_headless(training, folder.path, folder.log, training.config.train.log_seconds, signals)
    # where another is gone, the launcher's signal that follows is not the cause
    return FAILED if training.lost_others else status


def _take_part(training: Training) -> int:
    thread = TrainingThread(training, training.folder.log)
    with _signals(training, [], os._exit):
        thread.start()
        while thread.is_alive():
            thread.join(0.2)
    ended = thread.ended
    if ended is None or ended.exit_code == 0:
        return 0 if ended is not None else FAILED
    if training.lost_others:
        time.sleep(LEADER_FIRST)
    return ended.exit_code


@contextlib.contextmanager
def _signals(training: Training, caught: list[int], give_up) -> Iterator[None]:  # type: ignore[no-untyped-def]
    """Stop, at the leader; the others hear of it from him. A launcher that ends its processes asks once and
    kills a while later: in between, what can be kept is kept."""

    def handle(number: int, _: FrameType | None) -> None:
        code = SIGNAL_EXITS[signal.Signals(number)]
        if not caught:
            caught.append(code)
            training.control.stop()
            timer = threading.Timer(GRACE, give_up, (code,))
            timer.daemon = True
            timer.start()

    with heeding(handle):
        yield
