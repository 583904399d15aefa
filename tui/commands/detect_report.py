"""What ``yolotui detect`` says of a picture or film: text for people, one JSON document for programs."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..console import without_nan
from ..table import table

SPOOL = 1 << 24
"""Bytes of a document that are held in memory; the rest waits in a file."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """One picture's detections and where the drawn picture lies."""

    path: Path
    image: NDArray[np.uint8]
    rows: NDArray[np.float32]
    """``[M, 6]``: x1, y1, x2, y2, score, class."""
    saved: Path


@dataclass(frozen=True)
class Film:
    """A film's facts; ``frames`` are those that were read."""

    path: Path
    width: int
    height: int
    fps: float
    frames: int
    objects: Counter[int]
    """Detections a class over all frames."""
    saved: Path


class TextReport:
    """``detailed``: a table, and on a terminal the picture, for each; else a line for each, named from the
    folder ``above`` all of them, and one for all together. ``out``: where the drawn ones go."""

    def __init__(self, classes: tuple[str, ...], source: str, detailed: bool, above: Path, out: Path) -> None:
        self._classes, self._source, self._detailed = classes, source, detailed
        self._above, self._out = above, out
        self._started = time.perf_counter()
        self._pictures = 0
        self._objects: Counter[int] = Counter()
        self._begun = False

    def picture(self, drawn: Drawn) -> None:
        self._begin()
        height, width = drawn.image.shape[:2]
        size = f"{width} x {height}"
        if not self._detailed:
            objects = Counter(int(row[5]) for row in drawn.rows)
            self._pictures += 1
            self._objects += objects
            print(f"{self._short(drawn.path)}  {size}  {self._counted(objects)}")
            return
        count = len(drawn.rows)
        print(f"\n{drawn.path}  {size}  {count} object{'' if count == 1 else 's'}")
        if count:
            rows = [
                [self._classes[int(row[5])], f"{row[4]:.3f}", *(f"{value:.1f}" for value in row[:4])]
                for row in drawn.rows
            ]
            print("\n".join(table(["class", "score", "x1", "y1", "x2", "y2"], rows)))
        if sys.stdout.isatty():
            _half_blocks(drawn, self._classes)
        print(f"saved {drawn.saved}")

    def frame(self, number: int, seconds: float, rows: NDArray[np.float32]) -> None:
        """Frames are told together, with their film."""

    def film(self, film: Film) -> None:
        self._begin()
        frames = f"{film.frames:,} frame{'' if film.frames == 1 else 's'} at {film.fps:g} a second"
        path = film.path if self._detailed else self._short(film.path)
        print(f"{path}  {film.width} x {film.height}, {frames}", end="  ")
        print(f"{self._counted(film.objects)}\nsaved {film.saved}")

    def end(self, unread: list[dict[str, str]]) -> None:
        """Of many pictures, what they are together."""
        if self._pictures:
            seconds = time.perf_counter() - self._started
            found = self._counted(self._objects)
            pictures = f"{self._pictures:,} picture{'' if self._pictures == 1 else 's'}"
            print(f"{pictures} in {seconds:.1f} s: {found}; saved in {self._out}")

    def close(self) -> None:
        """Nothing is held."""

    def _begin(self) -> None:
        if not self._begun:
            print(f"weights {self._source}")
            if not self._detailed and self._above != Path():
                print(f"in {self._above}:")
            self._begun = True

    def _short(self, path: Path) -> Path:
        return path.relative_to(self._above) if path.is_relative_to(self._above) else path

    def _counted(self, objects: Counter[int]) -> str:
        counted = ", ".join(f"{count:,} {self._classes[label]}" for label, count in objects.most_common())
        return counted or "nothing"


class JsonReport:
    """The document is gathered in a file, an entry a line, so that ten thousand pictures need no memory, and
    printed at the end, so that it is whole or not there."""

    def __init__(self, classes: tuple[str, ...], source: str, tta: bool) -> None:
        self._classes, self._source, self._tta = classes, source, tta
        self._images, self._videos, self._frames = _Lines(), _Lines(), _Lines()

    def picture(self, drawn: Drawn) -> None:
        height, width = drawn.image.shape[:2]
        self._images.add(
            {
                "image": str(drawn.path),
                "width": width,
                "height": height,
                "detections": self._detections(drawn.rows),
                "saved": str(drawn.saved),
            }
        )

    def frame(self, number: int, seconds: float, rows: NDArray[np.float32]) -> None:
        self._frames.add(
            {"frame": number, "seconds": round(seconds, 4), "detections": self._detections(rows)}
        )

    def film(self, film: Film) -> None:
        """Of the frames told since the last one."""
        facts = {
            "video": str(film.path),
            "width": film.width,
            "height": film.height,
            "fps": round(film.fps, 4),
            "saved": str(film.saved),
        }
        self._videos.add_with(facts, "frames", self._frames)
        self._frames = _Lines()

    def end(self, unread: list[dict[str, str]]) -> None:
        head = {
            "weights": self._source,
            "tta": self._tta,
            "classes": list(self._classes),
            "unread": unread,
        }
        sys.stdout.write(json.dumps(head, ensure_ascii=False)[:-1])
        for name, lines in (("images", self._images), ("videos", self._videos)):
            sys.stdout.write(f', "{name}": [')
            shutil.copyfileobj(lines.rewound(), sys.stdout)
            sys.stdout.write("]")
        sys.stdout.write("}\n")

    def close(self) -> None:
        for lines in (self._images, self._videos, self._frames):
            lines.close()

    def _detections(self, rows: NDArray[np.float32]) -> list[dict[str, Any]]:
        return [
            {
                "class": self._classes[int(row[5])],
                "class_id": int(row[5]),
                "score": round(float(row[4]), 5),
                "box": [round(float(value), 2) for value in row[:4]],
            }
            for row in rows
        ]


class _Lines:
    """Entries of a JSON list, in a file once they are many."""

    def __init__(self) -> None:
        self._file: IO[str] = tempfile.SpooledTemporaryFile(SPOOL, "w+", encoding="utf-8")  # noqa: SIM115
        self._empty = True

    def add(self, entry: dict[str, Any]) -> None:
        self._write(json.dumps(without_nan(entry), ensure_ascii=False))

    def add_with(self, entry: dict[str, Any], key: str, entries: _Lines) -> None:
        """An entry whose ``key`` is another list."""
        self._write(f'{json.dumps(entry, ensure_ascii=False)[:-1]}, "{key}": [')
        shutil.copyfileobj(entries.rewound(), self._file)
        entries.close()
        self._file.write("]}")

    def close(self) -> None:
        self._file.close()

    def rewound(self) -> IO[str]:
        self._file.seek(0)
        return self._file

    def _write(self, text: str) -> None:
        self._file.write(f"{'' if self._empty else ','}\n{text}")
        self._empty = False


def _half_blocks(drawn: Drawn, classes: tuple[str, ...]) -> None:
    from rich.console import Console

    from ..halfblock import detections_picture

    console = Console()
    if console.color_system is None:
        return
    columns, rows = shutil.get_terminal_size()
    console.print(detections_picture(drawn.image, drawn.rows, classes, columns - 1, max(8, rows - 4)))
