"""Films: read frame by frame, and written so that none is ever found half-written."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import cv2

from ..files import appearing_whole
from .sample import Image

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "XVID"}
"""MPEG-4 part 2: the one codec that OpenCV's own wheels write fast (H.264 they do not write)."""
VIDEO_SUFFIXES = (*CODECS, ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".mts", ".3gp", ".ogv")
FALLBACK_FPS = 25.0
"""Of a film that does not say."""
MISSING = 0.02
"""A film is cut off where more than this part of its frames, and of its time, is not there."""

# What is wrong with a film is said in one line of ours; FFmpeg's would tear the screen.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class UnreadableVideo(Exception):
    """A file that is missing, no film, or has no frame."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")


class VideoReader:
    """A film's frames, BGR uint8 ``[H, W, 3]``, turned upright as its rotation mark asks.

    ``frames``: how many it says it has (0: it does not say), ``fps``: frames a second, ``width`` and
    ``height`` those of its first frame. Raises ``UnreadableVideo``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise UnreadableVideo(path, "no such file")
        if not path.stat().st_size:
            raise UnreadableVideo(path, "an empty file")
        # FFmpeg alone: other backends take a name with digits for a series of pictures
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        ok, first = self._capture.read() if self._capture.isOpened() else (False, None)
        if not ok or first is None:
            self._capture.release()
            raise UnreadableVideo(path, "no film that can be read, or cut off before its first frame")
        self._first: Image | None = first  # type: ignore[assignment]
        self.height, self.width = int(first.shape[0]), int(first.shape[1])
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and 0 < fps <= 1000 else FALLBACK_FPS
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frames = int(count) if math.isfinite(count) and count > 0 else 0
        self.read = 0
        self._seconds = 0.0

    def next_frame(self) -> tuple[float, Image] | None:
        """The next frame and its time in seconds; None after the last."""
        if self._first is not None:
            frame, self._first = self._first, None
        else:
            ok, decoded = self._capture.read()
            if not ok:
                return None
            frame = decoded  # type: ignore[assignment]
        said = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        self._seconds = said if self.read and said > self._seconds else self.read / self.fps
        self.read += 1
        return self._seconds, frame

    @property
    def cut_off(self) -> bool:
        """After the last frame: whether the file ended before the film did."""
        missing = self.frames - self.read
        lost = self.frames / self.fps - (self._seconds + 1 / self.fps)
        least = max(2.0, MISSING * self.frames)
        # both: of films with an uneven rate the count is a guess, but their time is not
        return missing > least and lost * self.fps > least

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._capture.release()


class VideoWriter:
    """Takes frames of one size; those of another are brought to it."""

    def __init__(self, path: Path, fps: float, width: int, height: int) -> None:
        code = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
        self._size = (width, height)
        self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, self._size)
        if not self._writer.isOpened():
            raise OSError(f"no film of {width} x {height} can be written there")

    def write(self, frame: Image) -> None:
        if (frame.shape[1], frame.shape[0]) != self._size:
            frame = cv2.resize(frame, self._size)  # type: ignore[assignment]
        self._writer.write(frame)

    def close(self) -> None:
        self._writer.release()


def written_name(name: str) -> str:
    """The name a film is written under: ``.mp4`` where its own container cannot be written."""
    path = Path(name)
    return name if path.suffix.lower() in CODECS else f"{path.stem}.mp4"


@contextmanager
def video_appearing_whole(path: Path, fps: float, width: int, height: int) -> Iterator[VideoWriter]:
    """A film at ``path`` once the block has ended; where it raises, nothing. Raises ``OSError``.

    An odd side loses its last row or column: the codec knows even ones alone.
    """
    with appearing_whole(path, durable=False) as temporary:
        writer = VideoWriter(temporary, fps, width, height)
        try:
            yield writer
        finally:
            writer.close()
