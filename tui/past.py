"""A run's past, read from its store as the view's state: for who joins late, and for a run that goes on."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from engine.errors import UserError
from engine.runs.folder import RunFolder
from engine.runs.opening import Opening, read_opening
from engine.runs.reader import RunReader

from .history import History
from .runstate import EXTRA_SERIES, IMAGES_PER_SECOND, RunState
from .stored import COLUMNS, speed


def past_state(opening: Opening, reader: RunReader) -> RunState:
    """The run as it was when ``opening`` was read by ``reader``, its whole past in summary."""
    state = RunState()
    for at, event in opening.events:
        state.apply([event], at)
    if opening.past:
        names = state.series or (*(name for name in reader.terms()), *EXTRA_SERIES)
        state.history = History(names)
        stored = {name: COLUMNS.get(name, name) for name in names}
        past = {name: opening.past[column] for name, column in stored.items() if column in opening.past}
        past[IMAGES_PER_SECOND] = speed(opening.past["images"], opening.past["seconds"])
        state.history.fill(opening.first, opening.until, opening.width, past)
    state.apply(opening.steps)
    return state


def before_going_on(folder: Path) -> RunState:
    """Of a run whose training is about to begin or to go on: what it did before, nothing if it is new or
    cannot be read."""
    try:
        with closing(RunReader(RunFolder.open(folder))) as reader:
            opening = read_opening(reader)
            state = past_state(opening, reader) if opening.steps else RunState()
    except UserError:
        return RunState()
    # as it ended then is not how it stands now
    state.ended, state.state, state.detail = None, "preparing", ""
    return state
