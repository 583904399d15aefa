"""Compiled functions run as they are written: probes call with many shapes, and each would be compiled."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

COMPILES = re.compile(r"torch\.compile|import[^\n]*\bcompile\b|\.compile\(\s*\)")


@contextlib.contextmanager
def eagerly(path: str | None) -> Iterator[None]:
    """What ``torch.compile`` made in the user's file at ``path`` is called without the compiler.

    Where nothing is compiled this costs nothing: the compiler's own import takes seconds.
    """
    if not ("torch._dynamo" in sys.modules or _compiles(path)):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def _compiles(path: str | None) -> bool:
    try:
        return bool(path and COMPILES.search(Path(path).read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return False
