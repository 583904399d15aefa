"""What people ask of the process that writes a run, through a file in the run's folder.

``requests.jsonl`` only grows: a line a request, appended by any number of viewers at once, read by the one
process that writes the run. Nothing is locked and nothing is waited for, so a suspended viewer hinders
nobody. The reader begins at the end of what it finds: what was asked before the writer started, or of one
that died, is not obeyed. What was asked stays on disk, with who asked and when. Whether it was obeyed is told
by the run's store, as everything else is.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import math
import os
import socket
import time
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from ..errors import UserError
from .folder import RunFolder

Kind = Literal["pause", "resume", "step", "epoch_end", "snapshot", "checkpoint", "stop", "lr"]
"""epoch_end: run to the end of the epoch and pause there. stop: end with a checkpoint. The others by name."""
KINDS: tuple[str, ...] = get_args(Kind)

WORDS = {
    "pause": "pause",
    "resume": "go on",
    "step": "do a step",
    "epoch_end": "run to the end of the epoch",
    "snapshot": "keep the next step's tensors",
    "checkpoint": "write a checkpoint",
    "stop": "stop",
    "lr": "scale the learning rate",
}
"""For people: ``asked to ...``."""
MOST_STEPS = 1_000_000
_LONGEST = 64 * 1024
"""Bytes read in one poll at most; a longer file of nonsense cannot hold up a training."""
_REMEMBERED = 256


@dataclass(frozen=True)
class Request:
    kind: Kind
    who: str
    """``user@host``, with the process's number."""
    at: float
    """Seconds since 1970, by the asker's clock."""
    count: int = 1
    """Of ``step``: how many."""
    factor: float = 1.0
    """Of ``lr``: what the scheduled rate is multiplied by from now on."""
    id: str = ""

    def __str__(self) -> str:
        """``pause``, ``do 3 steps``."""
        if self.kind == "step" and self.count != 1:
            return f"do {self.count:,} steps"
        if self.kind == "lr":
            return f"multiply the scheduled learning rate by {self.factor:g}"
        return WORDS[self.kind]


def requests_file(folder: RunFolder) -> Path:
    return folder.path / "requests.jsonl"


class RequestWriter:
    """Asks. Any number of them, in any process; usable from any thread."""

    def __init__(self, folder: RunFolder) -> None:
        self.path = requests_file(folder)
        self.who = f"{_user()}@{socket.gethostname()} ({os.getpid()})"

    def refusal(self) -> str:
        """Why nothing can be asked here, or "": a read-only disk, somebody else's folder."""
        target = self.path if self.path.exists() else self.path.parent
        return "" if os.access(target, os.W_OK) else f"{target} cannot be written by {_user()}"

    def send(self, kind: Kind, *, count: int = 1, factor: float = 1.0) -> Request:
        """Append one request. Raises ``UserError`` where the file cannot be written.

        The line is looked for afterwards: on a disk shared between machines two that append in the same
        moment may overwrite one another, and the one that was lost asks again.
        """
        request = Request(kind, self.who, time.time(), count, factor, uuid.uuid4().hex)
        values: dict[str, object] = {"id": request.id, "kind": kind, "who": request.who, "at": request.at}
        if kind == "step":
            values["count"] = count
        if kind == "lr":
            values["factor"] = factor
        # A line of its own even behind one that somebody was killed in the middle of.
        line = ("\n" + json.dumps(values) + "\n").encode()
        try:
            start = self._append(line)
            if not self._holds(request.id, start):
                self._append(line)
        except OSError as error:
            raise UserError(
                f"cannot be written: {error.strerror}",
                where=self.path,
                fix="looking on works; to control the run, write access to its folder is needed",
            ) from None
        return request

    def _append(self, line: bytes) -> int:
        """In one write, which a local file system keeps apart from others'; returns where the file ended."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            before = os.fstat(descriptor).st_size
            if os.write(descriptor, line) != len(line):
                raise OSError(28, "No space left on device")
            return before
        finally:
            os.close(descriptor)

    def _holds(self, id: str, start: int) -> bool:
        with self.path.open("rb") as file:
            file.seek(max(0, start - _LONGEST))
            return id.encode() in file.read()


class RequestReader:
    """For the process that writes the run, and for one thread of it. Never raises.

    Make it when the run starts, or goes on: requests from before that moment are not handed over.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.path = requests_file(folder)
        self._seen: deque[str] = deque(maxlen=_REMEMBERED)
        self._position = 0
        with contextlib.suppress(OSError):
            # Made by the run's owner, so that it stays theirs whoever asks first.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CREAT, 0o666)
            self._position = os.fstat(descriptor).st_size
            os.close(descriptor)

    def poll(self) -> list[Request]:
        """What was asked since the last call, oldest first; some 5 microseconds where there is nothing.

        A half-written line waits for its rest; one that makes no sense is passed over.
        """
        try:
            # Opened anew: only then does a disk shared between machines tell the size as it is now.
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError:
            return []
        try:
            size = os.fstat(descriptor).st_size
            if size == self._position:
                return []
            if size < self._position:  # somebody emptied or replaced it
                self._position = 0
            block = os.pread(descriptor, _LONGEST, self._position)
        except OSError:
            return []
        finally:
            os.close(descriptor)
        end = block.rfind(b"\n") + 1
        if not end and len(block) == _LONGEST:  # no line at all in so much: not ours
            end = len(block)
        self._position += end
        found = [parse(line) for line in block[:end].split(b"\n")]
        return [request for request in found if request is not None and self._is_new(request)]

    def _is_new(self, request: Request) -> bool:
        if request.id in self._seen:
            return False
        self._seen.append(request.id)
        return True


def parse(line: bytes) -> Request | None:
    """One line of the file; None where it is empty or makes no sense."""
    try:
        values = json.loads(line)
        kind, count, factor = values["kind"], values.get("count", 1), values.get("factor", 1.0)
        who, at, id = str(values.get("who", "")), float(values.get("at", 0.0)), values["id"]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    if kind not in KINDS or not isinstance(id, str) or not id:
        return None
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_STEPS:
        return None
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        return None
    try:
        factor = float(factor)
    except OverflowError:
        return None
    if not math.isfinite(factor) or factor < 0:
        return None
    # It is printed on other people's terminals: no control characters.
    who = "".join(letter for letter in who if letter.isprintable())[:100]
    return Request(cast(Kind, kind), who, at, count, factor, id)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid()) if hasattr(os, "getuid") else "somebody"
