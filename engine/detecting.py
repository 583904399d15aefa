"""Many pictures through a predictor: read ahead, in batches, in order, never more than a few in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .cores import core_count
from .data.images import UnreadableImage, read_image
from .data.sample import Image
from .data.video import VideoReader
from .predictor import DETECT_CONF, DETECT_IOU, Predictor

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Found:
    """A picture and what was found in it, strongest first."""

    path: Path
    image: Image
    rows: NDArray[np.float32]
    """``[M, 6]``: x1, y1, x2, y2 in pixels, score, class."""
    seconds: float = 0.0
    """A frame's time in its film."""


def detect_pictures(
    predictor: Predictor,
    paths: Iterable[Path],
    conf: float = DETECT_CONF,
    iou: float = DETECT_IOU,
    batch: int = 0,
) -> Iterator[Found | UnreadableImage]:
    """One for each file, in the files' order: what was found in it, or why it could not be read.

    Files are read and decoded in threads while the network works. ``batch``: pictures at once, 0 what suits
    the device.
    """

    def read(path: Path) -> _Prepared | UnreadableImage:
        try:
            image = read_image(path)
        except UnreadableImage as error:
            return error
        return _Prepared(path, image, predictor.prepare(image))

    batch = batch or suitable_batch(predictor)
    with closing(in_order(read, paths, reading_threads(), 2 * batch)) as pictures:
        yield from _detect(predictor, pictures, conf, iou, batch)


def detect_film(
    predictor: Predictor,
    film: VideoReader,
    conf: float = DETECT_CONF,
    iou: float = DETECT_IOU,
    batch: int = 0,
) -> Iterator[Found]:
    """One for each frame of a film, in order; frames are decoded in a thread while the network works."""

    def read(_: int) -> _Prepared | None:
        frame = film.next_frame()
        return frame and _Prepared(film.path, frame[1], predictor.prepare(frame[1]), frame[0])

    batch = batch or suitable_batch(predictor)
    # one thread: frames come one after the other
    frames = in_order(read, count(), 1, 2 * batch)
    with closing(frames):
        for found in _detect(predictor, _until_none(frames), conf, iou, batch):
            assert isinstance(found, Found)
            yield found


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int
) -> Generator[Result, None, None]:
    """``map`` in threads, at most ``ahead`` items before the one that is taken.

    When it ends, or is closed, its threads have ended, and ``items`` is closed where it can be.
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        close = getattr(items, "close", None)
        if close is not None:
            close()


def reading_threads() -> int:
    """Decoding scales with cores; two are enough to keep a CPU's network fed."""
    return max(1, min(8, core_count()))


def suitable_batch(predictor: Predictor) -> int:
    """Pictures at once: as many as a device gains from."""
    return 32 if predictor.compute.device.type == "cuda" else 8


@dataclass(frozen=True, eq=False)
class _Prepared:
    path: Path
    image: Image
    fitted: Image
    seconds: float = 0.0


def _detect(
    predictor: Predictor,
    pictures: Iterator[_Prepared | UnreadableImage],
    conf: float,
    iou: float,
    batch: int,
) -> Iterator[Found | UnreadableImage]:
    while some := list(islice(pictures, batch)):
        good = [each for each in some if isinstance(each, _Prepared)]
        sizes = [(each.image.shape[0], each.image.shape[1]) for each in good]
        fitted = [each.fitted for each in good]
        rows = iter(predictor.detect_prepared(fitted, sizes, conf, iou) if good else ())
        for each in some:
            if isinstance(each, _Prepared):
                own = next(rows)
                yield Found(each.path, each.image, own[np.argsort(-own[:, 4], kind="stable")], each.seconds)
            else:
                yield each


def _until_none(values: Iterator[Result | None]) -> Iterator[Result]:
    for value in values:
        if value is None:
            return
        yield value
