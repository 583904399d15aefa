"""Which findings stand: each is raised once, and cleared when it is gone."""

from __future__ import annotations

from collections.abc import Callable

from ...runs import events as ev

CALM = 3
"""Times in a row that a monitor must see nothing before its finding is cleared."""

Verdicts = dict[str, ev.FindingRaised | None]
"""By probe: the finding, or None where it was looked for and is not there."""


def warning(
    name: str,
    function: str,
    message: str,
    step: int,
    *,
    expected: str,
    got: str,
    fix: str,
    tensor: str = "",
    channels: tuple[str, ...] = (),
) -> Verdicts:
    """One finding under the probe ``monitor.<name>``."""
    probe = f"monitor.{name}"
    found = ev.FindingRaised("warning", probe, function, message, step, tensor, channels, expected, got, fix)
    return {probe: found}


def fine(name: str) -> Verdicts:
    return {f"monitor.{name}": None}


class Board:
    def __init__(self, emit: Callable[[ev.Event], None]) -> None:
        self._emit = emit
        self.open: dict[str, int] = {}
        """Probes that stand, and how often in a row they were not seen since."""

    def judge(self, verdicts: Verdicts, step: int) -> None:
        for probe, found in verdicts.items():
            if found is not None:
                if probe not in self.open:
                    self._emit(found)
                self.open[probe] = 0
            elif probe in self.open:
                self.open[probe] += 1
                if self.open[probe] >= CALM:
                    del self.open[probe]
                    self._emit(ev.FindingCleared(probe, step))
