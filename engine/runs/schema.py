"""The store's tables, and how a connection to them is opened, for the one writer and for readers.

- ``meta``      names and values as JSON: environment, config source, ...
- ``columns``   the names of a step's columns, in the order of the values in a row
- ``steps``     a row a step: its values as little-endian float64 (shorter where columns came later)
- ``pyramid``   summaries of the steps (``pyramid.py``), key = level * 2**40 + bucket
- ``events``    every other event in order, as JSON; ``after_step`` is the last step before it
- ``writer``    who writes, and when it was last heard of
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

import psutil

from ..errors import UserError

VERSION = 1
LEVEL_BITS = 40

TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS columns (place INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS steps (step INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS pyramid (
  key INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, kind TEXT NOT NULL,
  step INTEGER NOT NULL, after_step INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_by_kind ON events (kind, seq);
CREATE TABLE IF NOT EXISTS writer (
  id INTEGER PRIMARY KEY CHECK (id = 1), host TEXT NOT NULL, pid INTEGER NOT NULL,
  process_start REAL NOT NULL, beat REAL NOT NULL, released INTEGER NOT NULL);
"""

# WAL keeps its index in memory shared between processes, which file systems across machines do not offer;
# some of them accept the mode all the same and corrupt.
_SHARED_SYSTEMS = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "sshfs",
    "fuse",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "afs",
    "virtiofs",
)


def connect_writer(database: Path, seconds: float = 5.0) -> tuple[sqlite3.Connection, str]:
    """A connection that writes, its tables made; and why it could not use WAL, or "".

    Raises ``UserError`` where the file cannot be opened, is no database or is a newer version's.
    """
    try:
        connection = sqlite3.connect(database, timeout=seconds, isolation_level=None, check_same_thread=False)
        without_wal = _choose_journal(connection, database)
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.executescript(TABLES)
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('version', ?)", (str(VERSION),))
    except sqlite3.Error as error:
        raise UserError(
            f"cannot be written: {error}",
            where=database,
            fix="check the disk's space and the folder's rights",
        ) from None
    _check_version(connection, database)
    return connection, without_wal


def connect_reader(database: Path, seconds: float = 5.0) -> sqlite3.Connection:
    """A connection that changes nothing. Raises ``UserError`` where there is no readable store."""
    if not database.is_file():
        raise UserError("no such run", where=database.parent, fix="list runs with: yolotui runs")
    address = f"file:{quote(str(database.absolute()))}"
    # Read-only first. After a writer was killed without WAL, its journal must be rolled back before anything
    # can be read, which needs write access. On a read-only disk neither works: read the file as it is.
    failure: sqlite3.Error | None = None
    for mode in ("mode=ro", "mode=rw", "mode=ro&immutable=1"):
        try:
            connection = sqlite3.connect(
                f"{address}?{mode}", uri=True, timeout=seconds, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA query_only=ON")
            connection.execute("SELECT count(*) FROM writer").fetchone()
            _check_version(connection, database)
            return connection
        except sqlite3.Error as error:
            failure = failure or error
    raise UserError(f"cannot be read: {failure}", where=database, fix="the file may be damaged or no run's")


def _choose_journal(connection: sqlite3.Connection, database: Path) -> str:
    system = file_system(database)
    if system.startswith(_SHARED_SYSTEMS):
        reason = f"the file system {system} may be shared between machines"
    else:
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            if mode == "wal":
                return ""
            reason = f"the file system {system} answered {mode}"
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise
            reason = f"{error}"
    connection.execute("PRAGMA journal_mode=DELETE")
    return reason


def file_system(path: Path) -> str:
    """The name of the file system that ``path`` lies on, or ""."""
    try:
        partitions = psutil.disk_partitions(all=True)
    except (OSError, RuntimeError):
        return ""
    within = [p for p in partitions if path.absolute().is_relative_to(p.mountpoint)]
    return max(within, key=lambda p: len(p.mountpoint)).fstype.lower() if within else ""


def _check_version(connection: sqlite3.Connection, database: Path) -> None:
    row = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    if row is not None and int(row[0]) > VERSION:
        connection.close()
        raise UserError(
            f"was written by a newer version (store {row[0]})", where=database, fix="update yolotui"
        )
