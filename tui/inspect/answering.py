"""Keys are answered quickly while a training runs in the same process."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

SWITCH_SECONDS = 0.0005


@contextlib.contextmanager
def answering_quickly() -> Iterator[None]:
    """Shorter turns between threads, and no long pauses of the garbage collector.

    The drawing thread takes the interpreter back several times a key, each time after at most one turn (5 ms
    otherwise). A full collection walks over all that torch has imported, a fifth of a second and more: what
    is there now is left out of it until the end.
    """
    turn = sys.getswitchinterval()
    sys.setswitchinterval(min(turn, SWITCH_SECONDS))
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(turn)
