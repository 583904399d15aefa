"""Large libraries imported without the garbage collector looking in vain."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting_imports() -> Iterator[None]:
    """What is imported inside lives as long as the process, and is never searched for garbage.

    ``import torch`` makes half a million objects: the collector goes through them again and again while they
    are made, and once more, for a third of a second, when the process ends.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_on:
            gc.enable()
