"""The signals that ask a training without a screen to end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from .console import INTERRUPTED, TERMINATED

SIGNAL_EXITS = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED, signal.SIGHUP: 129}
"""The exit code of each."""

TOGETHER = 0.3
"""Seconds within which a second signal is the first one told twice: to the process and to its group."""

Handler = Callable[[int, FrameType | None], None]


def asked_twice(caught: list[int], stop: Callable[[], None], leave: Callable[[int], None]) -> Handler:
    """The first signal is to ``stop`` gracefully, its exit code goes to ``caught``; the next to ``leave``."""
    since = 0.0

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal since
        code = SIGNAL_EXITS[signal.Signals(number)]
        if not caught:
            caught.append(code)
            since = time.monotonic()
            stop()
            # no print: it may be interrupted while it prints, and the reader may have gone by the same signal
            with contextlib.suppress(OSError):
                os.write(2, b"stopping after this step with a checkpoint; again to leave at once\n")
        elif time.monotonic() - since > TOGETHER:
            leave(code)

    return handle


@contextmanager
def heeding(handle: Handler) -> Iterator[None]:
    """``handle`` gets them meanwhile; what was ignored when we were started (nohup, a shell's &) stays so."""
    heeded = [number for number in SIGNAL_EXITS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
