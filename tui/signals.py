"""The signals that ask a training without a screen to end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from .console import INTERRUPTED, TERMINATED

SIGNAL_EXITS = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED, signal.SIGHUP: 129}
"""The exit code of each."""


@contextmanager
def heeding(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """``handle`` gets them meanwhile; what was ignored when we were started (nohup, a shell's &) stays so."""
    heeded = [number for number in SIGNAL_EXITS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
