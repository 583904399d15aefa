"""Writing files so that nothing half-written is ever found under its name."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then fsync it and rename it into place.

    A reader sees the old file or the new one. Where ``write`` raises, the old one stays.
    """
    with appearing_whole(path) as temporary:
        write(temporary)


@contextlib.contextmanager
def appearing_whole(path: Path, durable: bool = True) -> Iterator[Path]:
    """A temporary file beside ``path``, with its suffix, that takes its name when the block ends.

    Where the block raises it goes, and what stood at ``path`` stays. Not ``durable``: after a power cut
    either may be missing, which is no loss for what is made again in a moment, and many times faster.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if durable:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            # a full disk does not say which
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    if durable:
        _sync_folder(path.parent)


def _umask() -> int:
    """The process's; it can only be read by setting it, which two threads must not do at once."""
    with _UMASK:
        umask = os.umask(0)
        os.umask(umask)
    return umask


_UMASK = threading.Lock()


def _sync_folder(folder: Path) -> None:
    """The rename itself reaches the disk (not every system lets a folder be opened)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
