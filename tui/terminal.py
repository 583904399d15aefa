"""Running the app in a real terminal, and leaving that terminal as it was found."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

from .console import complain

if TYPE_CHECKING:
    from .app import LiveApp

HUNG_UP = 129
STOP_SECONDS = 60.0
"""How long a training may take to finish its step and checkpoint after the screen has gone."""


def run_live(app: LiveApp) -> int:
    """Show the app until somebody leaves; returns the exit code. The outcome is printed after it."""
    # Inside an app stderr has no file number, and the first spawned or forkserver child would fail on it.
    resource_tracker.ensure_running()
    with own_screen(app.log_path), leaving_on_hang_up(app):
        code = app.run()
    app.live.take_last_events()
    if app.crash is not None:
        complain(
            f"the view failed: {type(app.crash).__name__}: {app.crash}; the traceback is in {app.log_path}"
        )
        _stop_training(app)
        return 1
    for line in app.live.parting_lines():
        print(line)
    return code if code is not None else 1


@contextlib.contextmanager
def leaving_on_hang_up(app: LiveApp) -> Iterator[None]:
    """The terminal is gone (a lost SSH line): leave; a training of this process ends with a checkpoint.

    Not the app's business: its writer has died with the terminal and its loop waits for that writer for
    ever. A plain handler reaches the main thread even there; all it does is wake a thread that waits for it.
    The signal comes twice, from the system and from who watches the line, and a second one that met the first
    in the middle of its work would wait for ever for a lock of its own thread.
    """
    hung_up, hang_up = os.pipe()

    def leave_without_screen() -> None:
        if not os.read(hung_up, 1):  # the block ended in another way
            os.close(hung_up)
            return
        app.let_go()
        app.remember_view()
        if app.thread.is_alive():  # the line may be lost before anything has begun
            app.thread.join(STOP_SECONDS)
        os._exit(HUNG_UP)

    threading.Thread(target=leave_without_screen, name="hang-up", daemon=True).start()
    with os.fdopen(hang_up, "wb", buffering=0) as end:
        before = signal.signal(signal.SIGHUP, lambda *_: end.write(b"!"))
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)


def _stop_training(app: LiveApp) -> None:
    """The view is gone, the training is healthy: save what it has."""
    app.let_go()
    if app.thread.is_alive():
        app.thread.join(STOP_SECONDS)
    if app.thread.is_alive():
        complain("the training did not stop in time: steps since its last checkpoint are lost")


def leave(code: int, training_alive: bool) -> None:
    """Exit; where the training thread still runs, at once and without waiting for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    if training_alive:
        # Interpreter shutdown under a thread that is inside native code may crash or hang.
        os._exit(code)
    raise SystemExit(code)


def _tell_of_lost_line(terminal: int) -> None:
    """Waits, at no cost, until the terminal is gone.

    The system tells only the processes in the terminal's foreground; one that was started in another group
    (``timeout``, a supervisor) would wait for its screen for ever, and its input thread would spin.
    """
    line = select.poll()
    line.register(terminal, 0)  # no events asked for: an answer means hung up, or closed by us
    answers = line.poll()
    if any(event & select.POLLHUP for _, event in answers):
        os.kill(os.getpid(), signal.SIGHUP)


@contextlib.contextmanager
def own_screen(log_path: Path) -> Iterator[None]:
    """Give the driver a file of its own and send everybody else's writes to file 1 and 2 into a log.

    Textual catches what Python prints; what native code writes to the file numbers would tear the screen.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {number: os.dup(number) for number in (1, 2)}
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    screen = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    before = sys.__stdout__, sys.__stderr__
    try:
        # Textual's driver draws on the one and asks the other for the terminal's size.
        sys.__stdout__ = sys.__stderr__ = screen  # type: ignore[misc]
        threading.Thread(target=_tell_of_lost_line, args=(screen.fileno(),), daemon=True).start()
        for number in saved:
            os.dup2(log, number)
        yield
    finally:
        sys.__stdout__, sys.__stderr__ = before  # type: ignore[misc]
        with contextlib.suppress(OSError):
            screen.close()
        for number, copy in saved.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(log)
