"""Which checkpoints are worth a line: those that somebody asked for, on stopping and at the end.

The one at the end of every epoch is routine, and the best one is part of its evaluation's line.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.runs.events import CheckpointSaved, EpochDone, Event, RunStarted


@dataclass
class NotableCheckpoints:
    total_steps: int = 0
    _routine: int = 0
    """The step at which an epoch ended whose checkpoint is still to come."""

    def take(self, event: Event) -> bool:
        """Shown every event in order; whether it is a checkpoint worth a line."""
        match event:
            case RunStarted():
                self.total_steps = event.total_steps
            case EpochDone():
                self._routine = event.step
            case CheckpointSaved() if not event.best:
                routine, self._routine = event.step == self._routine, 0
                return not routine or event.step == self.total_steps
            case _:
                pass
        return False
