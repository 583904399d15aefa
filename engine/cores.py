"""How many cores this process may use."""

from __future__ import annotations

import os


def core_count() -> int:
    """Those it is bound to, where the system can say (Linux); else all of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
