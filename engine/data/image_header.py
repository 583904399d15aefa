"""What a picture file's header says: format, size, EXIF orientation, and whether the file is whole.

Read without decoding, for JPEG, PNG, BMP and WebP. Formats: ITU T.81 annex B, the PNG specification,
RFC 9649 (WebP), the TIFF 6 directory inside EXIF.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from mmap import mmap
from typing import Literal

Buffer = bytes | mmap
Kind = Literal["jpeg", "png", "bmp", "webp"]


@dataclass(frozen=True)
class Header:
    """``width`` and ``height`` as stored, before the rotation that ``orientation`` (1..8) asks for."""

    kind: Kind
    width: int
    height: int
    orientation: int = 1

    @property
    def shown_size(self) -> tuple[int, int]:
        """(width, height) after the EXIF rotation: orientations 5 to 8 lie on their side."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def read_header(data: Buffer) -> Header | None:
    """The header of a picture's bytes; None for another format or a header that makes no sense."""
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data[:2] == b"BM":
            return _bmp(data)
    except (struct.error, IndexError):
        pass
    return None


def missing_end(data: Buffer, kind: Kind) -> str:
    """Why the file is not whole, in words; empty where it is. Bytes after the end are tolerated."""
    try:
        if kind == "jpeg":
            return _jpeg_missing_end(data)
        if kind == "png":
            return _png_missing_end(data)
        if kind == "webp":
            (size,) = struct.unpack("<I", data[4:8])
            return "" if len(data) >= size + 8 else f"truncated: {len(data)} of {size + 8} bytes"
        (size,) = struct.unpack("<I", data[2:6])
        return "" if len(data) >= size else f"truncated: {len(data)} of {size} bytes"
    except (struct.error, IndexError):
        return "truncated"


_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length


def _jpeg(data: Buffer) -> Header | None:
    position, orientation = 2, 1
    while True:
        marker, position = _next_marker(data, position)
        if marker in _BARE:
            continue
        (length,) = struct.unpack(">H", data[position : position + 2])
        if marker == 0xE1 and orientation == 1 and data[position + 2 : position + 8] == b"Exif\0\0":
            orientation = _exif_orientation(data[position + 8 : position + length])
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", data[position + 3 : position + 7])
            return Header("jpeg", width, height, orientation) if width and height else None
        if marker in (0xD9, 0xDA) or length < 2:
            return None
        position += length


def _next_marker(data: Buffer, position: int) -> tuple[int, int]:
    while data[position] != 0xFF:
        position += 1
    while data[position] == 0xFF:
        position += 1
    return data[position], position + 1


def _jpeg_missing_end(data: Buffer) -> str:
    """The end marker is looked for behind the first scan: a thumbnail in the EXIF block has one too.

    Inside a scan FF is always followed by 00 or a restart marker, so FF D9 there is the end.
    """
    position = 2
    while True:
        marker, position = _next_marker(data, position)
        if marker == 0xDA:
            break
        if marker not in _BARE:
            (length,) = struct.unpack(">H", data[position : position + 2])
            position += length
    if data[-2:] == b"\xff\xd9" and len(data) > position + 2:  # where it nearly always is
        return ""
    return "" if data.find(b"\xff\xd9", position) >= 0 else "truncated: no end-of-image marker"


def _png(data: Buffer) -> Header | None:
    width, height = struct.unpack(">II", data[16:24])
    position, orientation = 8, 1
    while position + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[position : position + 8])
        if name == b"eXIf":
            orientation = _exif_orientation(data[position + 8 : position + 8 + length])
        if name == b"IDAT":
            break
        position += 12 + length
    return Header("png", width, height, orientation) if width and height else None


def _png_missing_end(data: Buffer) -> str:
    """Walks the chunks with their checksums, so that libpng finds nothing to complain of."""
    position = 8
    while position + 12 <= len(data):
        length, name = struct.unpack(">I4s", data[position : position + 8])
        body_end = position + 8 + length
        (checksum,) = struct.unpack(">I", data[body_end : body_end + 4])
        if zlib.crc32(data[position + 4 : body_end]) != checksum:
            return f"corrupt: wrong checksum in its {name.decode('latin-1')} chunk"
        if name == b"IEND":
            return ""
        position = body_end + 4
    return "truncated: no IEND chunk"


def _bmp(data: Buffer) -> Header | None:
    width, height = struct.unpack("<ii", data[18:26])
    return Header("bmp", width, abs(height)) if width > 0 and height else None


def _webp(data: Buffer) -> Header | None:
    name = data[12:16]
    if name == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return Header("webp", width & 0x3FFF, height & 0x3FFF)
    if name == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return Header("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if name != b"VP8X":
        return None
    width = int.from_bytes(data[24:27], "little") + 1
    height = int.from_bytes(data[27:30], "little") + 1
    position, orientation = 12, 1
    while position + 8 <= len(data):
        chunk, length = struct.unpack("<4sI", data[position : position + 8])
        if chunk == b"EXIF":
            orientation = _exif_orientation(
                data[position + 8 : position + 8 + length].removeprefix(b"Exif\0\0")
            )
        position += 8 + length + (length & 1)
    return Header("webp", width, height, orientation)


def _exif_orientation(block: bytes) -> int:
    """Tag 0x0112 of a TIFF block's first directory; 1 where it is absent or nonsense."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack(order + "I", block[4:8])
        (entries,) = struct.unpack(order + "H", block[start : start + 2])
        for entry in range(entries):
            at = start + 2 + 12 * entry
            (tag,) = struct.unpack(order + "H", block[at : at + 2])
            if tag == 0x0112:
                (value,) = struct.unpack(order + "H", block[at + 8 : at + 10])
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
