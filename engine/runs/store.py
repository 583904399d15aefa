"""The run's store, as the rest of the engine and the screen use it."""

from .folder import RunFolder, next_free
from .listing import RunInfo, list_runs, newest, run_info
from .reader import Cursor, LogEntry, RunReader, RunStatus, Series
from .subscriber import StoreSubscriber
from .writer import RunWriter

__all__ = [
    "Cursor",
    "LogEntry",
    "RunFolder",
    "RunInfo",
    "RunReader",
    "RunStatus",
    "RunWriter",
    "Series",
    "StoreSubscriber",
    "list_runs",
    "newest",
    "next_free",
    "run_info",
]
