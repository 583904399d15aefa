"""What a reader makes of a line: one point of the training, and the reader's own form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from .values import Printed

Phase = Literal["train", "evaluation"]


@dataclass(slots=True)
class Position:
    """Where in the training a line stands; None for what it does not say. Counted as printed."""

    epoch: int | None = None
    epochs: int | None = None
    iteration: int | None = None
    iterations: int | None = None
    part: float | None = None
    """What the epoch has behind its decimal point, where it has one."""

    def count_what_is_behind(self) -> bool:
        """Hugging Face's trainer prints the epochs that are behind it: 0.1 lies in the first, 1.0 is its end.
        Makes the epoch the one that the line lies in; whether it ends it."""
        if self.epoch is None or self.part is None:
            return False
        ends = self.part == 0 and self.epoch > 0
        self.epoch = max(1, self.epoch + (self.part > 0))
        return ends


@dataclass(slots=True)
class Point:
    """The values of one line, or of one state of a line that rewrites itself."""

    line: int
    values: dict[str, Printed]
    """The log's own names; what has a meaning of its own (``roles.py``) included."""
    position: Position = field(default_factory=Position)
    phase: Phase = "train"
    elapsed: float | None = None
    """Seconds since the epoch began, where a progress bar shows them."""
    clock: float | None = None
    """Seconds since 1970 (in an unknown time zone), where the line carries a time."""
    update: bool = False
    """One of several states of the same line: the same position twice is then no restart."""
    per_class: dict[str, float] | None = None
    images: float | None = None
    """Images seen so far, where the log counts them."""
    memory: float | None = None
    """Bytes."""
    whole_epoch: bool = False
    """A line that stands for a whole epoch."""
    begins: bool = False
    """The line says that a training begins; it may have no values. Such a line is no value point."""


class Reader(Protocol):
    """Reads the lines of one form. One instance a file: a line may lean on those before it.

    ``name`` is what ``yolotui import --json`` calls the form.
    """

    name: str

    def read(self, text: str, line: int) -> list[Point] | None:
        """The points of a line; None where it gives no value. An empty list: it gave values that are kept
        for a point to come."""
        ...

    def finish(self) -> list[Point]:
        """What is left at the end of the file."""
        ...
