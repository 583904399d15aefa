"""What a viewer reads first of a run that it joins late: what happened, the last steps, the rest in summary.

It costs the same whether the run has a thousand steps or ten million.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass, field

from ..errors import UserError
from . import codec
from . import events as ev
from .folder import RunFolder
from .pyramid import FACTOR
from .reader import Cursor, RunReader, Series
from .schema import connect_reader

STEPS = 4096
"""The last ones, which are read each by itself."""
POINTS = 1024
LOG_LINES = 2000


@dataclass
class Opening:
    cursor: Cursor
    """Where ``RunReader.events`` goes on from here."""
    events: list[tuple[float, ev.Event]] = field(default_factory=list)
    """Everything but steps, oldest first, with the time at which it was written (seconds since 1970); of the
    log the last lines, of the states the last."""
    steps: list[ev.StepDone] = field(default_factory=list)
    """The last ones."""
    first: int = 0
    """The number of the first step; 0: there is none."""
    past: dict[str, Series] = field(default_factory=dict)
    """Every column over the steps before ``steps``, in buckets of ``width``; empty where there are none."""
    until: int = 0
    """The last step that ``past`` covers."""
    width: int = 1


def read_opening(reader: RunReader) -> Opening:
    """Raises ``UserError`` where the store cannot be read."""
    seq, events = _events(reader.folder)
    with reader.moment():
        last = reader.last_step()
        opening = Opening(Cursor(seq, last), events)
        if not last:
            return opening
        opening.first = int(reader.rows(0, 1)[0][0])
        if last - opening.first >= STEPS:
            opening.width, opening.until = _split(last)
            opening.past = reader.many_series(reader.columns(), 1, opening.until, POINTS)
        opening.steps = reader.new_steps(opening.until, last)
    return opening


def _split(last: int) -> tuple[int, int]:
    """The width of the summaries' buckets and the last step that they are read of: the end of a bucket, so
    that no step counts twice."""
    width = 1
    while last - STEPS > 4 * POINTS * width:
        width *= FACTOR
    return width, max(1, (last - STEPS) // width) * width


def _events(folder: RunFolder) -> tuple[int, list[tuple[float, ev.Event]]]:
    connection = connect_reader(folder.database)
    try:
        with contextlib.closing(connection):
            found = connection.execute(
                "SELECT seq, time, kind, body FROM events WHERE kind NOT IN ('LogLine', 'StateChanged')"
                " UNION ALL SELECT * FROM (SELECT seq, time, kind, body FROM events"
                " WHERE kind = 'LogLine' ORDER BY seq DESC LIMIT ?)"
                " UNION ALL SELECT * FROM (SELECT seq, time, kind, body FROM events"
                " WHERE kind = 'StateChanged' ORDER BY seq DESC LIMIT 1) ORDER BY seq",
                (LOG_LINES,),
            ).fetchall()
    except sqlite3.Error as error:
        raise UserError(f"cannot be read: {error}", where=folder.database, fix="try again") from None
    decoded = [(time, codec.decode(kind, body)) for _, time, kind, body in found]
    return (found[-1][0] if found else 0), [(time, event) for time, event in decoded if event is not None]
