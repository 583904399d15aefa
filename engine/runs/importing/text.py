"""A log's bytes as lines: compressed or not, in any of the usual encodings, streamed, freed of colours."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from ...errors import UserError

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])|[\x00\x08\ufeff]"
)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOK = 4096
LONGEST = 1 << 20
"""Characters of one line that are looked at: a file without line breaks must not fill the memory."""


class Piece(NamedTuple):
    """What stands between two line breaks or carriage returns."""

    line: int
    """1-based, as an editor counts: a carriage return within a line does not begin a new one."""
    text: str
    """Without colours and other terminal sequences, and without the break."""
    ends: bool
    """Whether the line ends here: after a lone carriage return more of the same line follows."""


class LogFile:
    """A log on disk. Opening raises ``UserError`` where it is none; reading it never raises for its content:
    a byte that does not decode is shown as such, and a compressed file that breaks off ends there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if path.is_dir():
                raise UserError("is a folder", where=path, fix="name the log file itself")
            with path.open("rb") as raw:
                head = raw.read(2)
            self._packed = head == b"\x1f\x8b"
            with self._open() as stream:
                sample = _gently(stream, _LOOK)
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror or error}", where=path) from None
        self.encoding = _encoding(sample)
        if self.encoding.startswith("utf-8") and b"\x00" in sample.strip(b"\x00"):
            raise UserError("is not a text", where=path, fix="name the log itself, or its .gz")
        self.broken_off = False
        """Known once it was read: a compressed file that lacks its end."""

    def digest(self) -> str:
        """SHA-256 of the file as it lies there."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def pieces(self) -> Iterator[Piece]:
        """Everything in order; memory does not grow with the file."""
        line = 1
        held = ""  # a piece whose carriage return may still turn out to be half of a line break
        waiting = False
        for chunk in self._decoded():
            text = chunk
            if waiting:
                # "\r\n" comes in one from the decoder, "\r\r\n" (some terminals' logs) does not.
                ends = text in ("\n", "\r\n")
                yield Piece(line, held, ends)
                waiting = False
                if ends:
                    line += 1
                    continue
            if text.endswith("\n"):
                yield Piece(line, _clean(text.rstrip("\r\n")), True)
                line += 1
            elif text.endswith("\r"):
                held, waiting = _clean(text[:-1]), True
            else:
                yield Piece(line, _clean(text), True)
                line += 1
        if waiting:
            yield Piece(line, held, True)

    def _decoded(self) -> Iterator[str]:
        with self._open() as raw, io.TextIOWrapper(raw, self.encoding, "replace", newline="") as text:
            while True:
                try:
                    part = text.readline(LONGEST)
                    if len(part) == LONGEST and part[-1] not in "\r\n":
                        _skip_rest(text)
                        part += "\n"
                except (EOFError, gzip.BadGzipFile, zlib.error):
                    self.broken_off = True
                    return
                except UnicodeError:  # an odd last byte of a file cut off in UTF-16
                    return
                if not part:
                    return
                yield part

    def _open(self) -> BinaryIO:
        return cast(BinaryIO, gzip.open(self.path, "rb")) if self._packed else self.path.open("rb")


def _skip_rest(text: io.TextIOWrapper) -> None:
    while (part := text.readline(LONGEST)) and part[-1] not in "\r\n":
        pass


def _gently(stream: BinaryIO, size: int) -> bytes:
    try:
        return stream.read(size)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return b""


def _encoding(sample: bytes) -> str:
    for mark, name in _BOMS:
        if sample.startswith(mark):
            return name
    even, odd = sample[0::2], sample[1::2]
    if len(sample) >= 16:
        if odd.count(0) > 0.4 * len(odd) and even.count(0) < 0.1 * len(even):
            return "utf-16-le"
        if even.count(0) > 0.4 * len(even) and odd.count(0) < 0.1 * len(odd):
            return "utf-16-be"
    return "utf-8"


def _clean(text: str) -> str:
    if "\x1b" in text or "\x08" in text or "\x00" in text or "\ufeff" in text:
        return _ESCAPES.sub("", text)
    return text
