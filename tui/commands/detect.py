"""``yolotui detect``: pictures and films in, boxes out: tables, drawings, one JSON document."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from engine.data.drawing import draw_detections
from engine.data.images import IMAGE_SUFFIXES, UnreadableImage
from engine.data.video import (
    VIDEO_SUFFIXES,
    UnreadableVideo,
    VideoReader,
    video_appearing_whole,
    written_name,
)
from engine.errors import UserError
from engine.files import appearing_whole

from ..console import USAGE, complain
from ..progress_bar import ProgressBar
from ..quick_import import lasting_imports
from .detect_report import Drawn, Film, JsonReport, TextReport

if TYPE_CHECKING:
    from engine.detecting import Found
    from engine.predictor import Predictor

DETAILED = 8
"""So many files are shown each with its table; of more, each has a line."""
SAVING_THREADS = 2


def detect(
    named: list[Path],
    weights: str | None,
    code: Path | None,
    conf: float,
    iou: float,
    out: Path,
    tta: bool,
    as_json: bool,
) -> int:
    """Returns the exit code: 2 where a file could not be read, the others are done all the same."""
    paths = list(_files(named, out))
    with lasting_imports():
        from engine import detecting  # noqa: F401
        from engine.predictor import load_predictor

    predictor = load_predictor(weights, code)
    for note in predictor.notes:
        complain(note)
    predictor = predictor.looking_all_ways() if tta else predictor
    names = _saved_names(paths, out)
    work = _Work(predictor, conf, iou, names, _report(predictor, list(names), out, as_json))
    with closing(work.report):
        for films, some in groupby(paths, _is_film):
            if films:
                for path in some:
                    work.film(path)
            else:
                work.pictures(list(some))
        work.report.end(work.unread)
    return USAGE if work.unread else 0


class _Work:
    """The files of one call, in the order in which they were named."""

    def __init__(
        self,
        predictor: Predictor,
        conf: float,
        iou: float,
        names: dict[Path, Path],
        report: TextReport | JsonReport,
    ) -> None:
        self.predictor = predictor
        self.conf, self.iou = conf, iou
        self.names = names
        self.classes = predictor.classes
        self.report = report
        self.unread: list[dict[str, str]] = []

    def pictures(self, paths: list[Path]) -> None:
        from engine.detecting import detect_pictures

        bar = ProgressBar("pictures", len(paths), shown=len(paths) > 1)
        found = detect_pictures(self.predictor, paths, self.conf, self.iou)
        with closing(save_drawn(found, self.classes, self.names.__getitem__)) as results:
            for number, drawn in enumerate(results, 1):
                bar.clear()
                if isinstance(drawn, Drawn):
                    self.report.picture(drawn)
                else:
                    self._complain(drawn.path, drawn.reason, "name a JPEG, PNG, BMP, WebP or TIFF file")
                bar.update(number)
        bar.clear()

    def film(self, path: Path) -> None:
        saved = self.names[path]
        try:
            with VideoReader(path) as film:
                objects = self._frames(film, saved)
                self.report.film(Film(path, film.width, film.height, film.fps, film.read, objects, saved))
                if film.cut_off:
                    reason = f"ends after {film.read:,} of {film.frames:,} frames"
                    self._complain(path, reason, f"what was there is in {saved}")
        except UnreadableVideo as error:
            self._complain(path, error.reason, "name a film that plays")

    def _frames(self, film: VideoReader, saved: Path) -> Counter[int]:
        from engine.detecting import detect_film, in_order

        objects: Counter[int] = Counter()
        bar = ProgressBar("frames", film.frames)
        found = detect_film(self.predictor, film, self.conf, self.iou)
        try:
            with video_appearing_whole(saved, film.fps, film.width, film.height) as writer:

                def write(frame: Found) -> Found:
                    writer.write(draw_detections(frame.image, frame.rows, self.classes))
                    return frame

                # one thread: frames are written one after the other
                with closing(in_order(write, found, 1, 4)) as written:
                    for number, frame in enumerate(written):
                        self.report.frame(number, frame.seconds, frame.rows)
                        objects.update(int(row[5]) for row in frame.rows)
                        bar.update(number + 1)
        except OSError as error:
            raise _unwritable(saved, error) from None
        finally:
            bar.clear()
        return objects

    def _complain(self, path: Path, reason: str, fix: str) -> None:
        complain(f"{path}: {reason}; {fix}")
        self.unread.append({"file": str(path), "reason": reason})


def save_drawn(
    found: Iterable[Found | UnreadableImage], classes: tuple[str, ...], name: Callable[[Path], Path]
) -> Generator[Drawn | UnreadableImage, None, None]:
    """Draws each and writes it to ``name(path)``, in threads; in order. Raises ``UserError``."""
    from engine.detecting import in_order

    def save(each: Found | UnreadableImage) -> Drawn | UnreadableImage:
        if isinstance(each, UnreadableImage):
            return each
        saved = name(each.path)
        ok, data = cv2.imencode(saved.suffix, draw_detections(each.image, each.rows, classes))
        try:
            if not ok:
                raise OSError("the picture cannot be encoded")
            with appearing_whole(saved, durable=False) as temporary:
                temporary.write_bytes(data.tobytes())
        except OSError as error:
            raise _unwritable(saved, error) from None
        return Drawn(each.path, each.image, each.rows, saved)

    return in_order(save, found, SAVING_THREADS, 2 * SAVING_THREADS)


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot be written: {error.strerror or error}", where=path, fix="name another --out")


def _is_film(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


KNOWN = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)


def _files(named: list[Path], out: Path) -> Iterator[Path]:
    for path in named:
        if path.is_dir():
            inside, below = _pictures_in(path), _folders_in(path, out)
            if not inside:
                fix = f"name {' '.join(map(str, below))}" if below else f"looked for {' '.join(KNOWN)}"
                raise UserError("holds no image and no video", where=path, fix=fix)
            if below:
                complain(f"{path}: not looked into {', '.join(each.name for each in below)}; name them too")
            yield from inside
        elif not path.exists():
            raise UserError(
                "no such file or folder", where=path, fix="name an image, a video or a folder of them"
            )
        else:
            yield path


def _pictures_in(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.suffix.lower() in KNOWN)


def _folders_in(folder: Path, out: Path) -> list[Path]:
    """Those that hold pictures, other than what we have drawn."""
    below = (each for each in sorted(folder.iterdir()) if each.is_dir())
    return [each for each in below if each.resolve() != out.resolve() and _pictures_in(each)]


def _report(predictor: Predictor, paths: list[Path], out: Path, as_json: bool) -> TextReport | JsonReport:
    if as_json:
        return JsonReport(predictor.classes, predictor.source, len(predictor.views) > 1)
    try:
        above = Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError:  # some named from the root, some from here
        above = Path()
    views = f", {len(predictor.views)} views of each picture" if len(predictor.views) > 1 else ""
    return TextReport(predictor.classes, predictor.source + views, len(paths) <= DETAILED, above, out)


def _saved_names(paths: list[Path], out: Path) -> dict[Path, Path]:
    """``out/name.jpg``; of two of one name the later get a number. PNG stays PNG, a film a film.

    Raises ``UserError`` where one would be written over a picture or film that was named."""
    given = {path.resolve() for path in paths}
    taken: set[str] = set()
    names: dict[Path, Path] = {}
    for path in dict.fromkeys(paths):
        if _is_film(path):
            suffix = Path(written_name(path.name)).suffix
        else:
            suffix = ".png" if path.suffix.lower() == ".png" else ".jpg"
        name, count = f"{path.stem}{suffix}", 1
        while name in taken:
            count += 1
            name = f"{path.stem}-{count}{suffix}"
        taken.add(name)
        names[path] = out / name
        if names[path].resolve() in given:
            raise UserError(
                f"would write the drawn picture over {out / name}",
                where=f"--out {out}",
                fix="name a folder that holds none of them",
            )
    return names
