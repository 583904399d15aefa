"""A contact sheet: labelled pictures of a data set, side by side in one PNG, to judge the labels by eye."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import cv2
import numpy as np

from ..config import DataConfig
from ..errors import UserError
from ..files import write_atomically
from ..letterbox import Letterbox
from .drawing import draw_truths
from .images import UnreadableImage, read_image
from .letterbox import framed, resized
from .opening import open_splits
from .sample import Dataset, Image, Sample, spread

TILE = (360, 270)
"""(width, height) of a picture on the sheet, in pixels."""
COLUMNS, ROWS = 4, 4
CAPTION = 20
PAPER, INK = 245, 30


def refuse_other_formats(path: Path) -> None:
    """Raises ``UserError`` where the sheet's name is not that of a PNG."""
    if path.suffix.lower() != ".png":
        raise UserError("is no .png", where=path, fix="name the sheet something.png")


def write_sheet(path: Path, config: DataConfig, marked: Collection[str] = ()) -> int:
    """Draw pictures of ``data.train`` and ``data.val`` with their truths to ``path``; -> how many.

    Up to half of them are pictures with problems (their own, or their path is in ``marked``), the others are
    spread evenly over the splits. Raises ``UserError`` where a split cannot be opened, ``path`` is no .png or
    cannot be written.
    """
    refuse_other_formats(path)
    chosen = choose(open_splits(config), COLUMNS * ROWS, marked)
    sheet = contact_sheet(chosen)
    try:
        write_atomically(path, lambda temporary: temporary.write_bytes(_png(sheet)))
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", where=path) from None
    return len(chosen)


def choose(
    datasets: Sequence[Dataset], count: int, marked: Collection[str] = ()
) -> list[tuple[Dataset, Sample]]:
    """At most ``count`` samples: up to half of them with problems, then others evenly spaced."""
    every = [(dataset, sample) for dataset in datasets for sample in dataset.samples]
    troubled = [pair for pair in every if pair[1].problems or str(pair[1].path) in marked]
    first = list(spread(troubled, max(1, count // 2)))
    taken = {id(sample) for _, sample in first}
    rest = [pair for pair in every if id(pair[1]) not in taken]
    room = count - len(first)
    return first + (list(spread(rest, room)) if room else [])


def contact_sheet(chosen: Sequence[tuple[Dataset, Sample]]) -> Image:
    """``[H, W, 3]`` BGR: a tile a sample, row by row, with split and file name below it."""
    width, height = TILE
    columns = max(1, min(COLUMNS, len(chosen)))
    rows = max(1, -(-len(chosen) // columns))
    sheet = np.full((rows * (height + CAPTION), columns * width, 3), PAPER, np.uint8)
    for number, (dataset, sample) in enumerate(chosen):
        y, x = number // columns * (height + CAPTION), number % columns * width
        sheet[y : y + height, x : x + width] = _tile(dataset, sample)
        flaw = " !" if sample.problems else ""
        _write(sheet, f"{dataset.name}: {sample.path.name}{flaw}", (x + 4, y + height + CAPTION - 6))
    return sheet


def _tile(dataset: Dataset, sample: Sample) -> Image:
    """The picture letterboxed and its truths upon it; a picture that cannot be read says so."""
    try:
        image = read_image(sample.path)
    except UnreadableImage as error:
        blank = np.full((TILE[1], TILE[0], 3), PAPER, np.uint8)
        _write(blank, error.reason, (8, TILE[1] // 2))
        return blank
    place = Letterbox.fit((image.shape[1], image.shape[0]), TILE)
    canvas = framed(resized(image, place.new_w, place.new_h), place)
    return draw_truths(canvas, place.boxes_to_input(sample.boxes), sample.labels, dataset.classes)


def _write(image: Image, text: str, origin: tuple[int, int]) -> None:
    shown = text.encode("ascii", "replace").decode()[:52]  # OpenCV's fonts know no other letters
    cv2.putText(image, shown, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (INK, INK, INK), 1, cv2.LINE_AA)


def _png(image: Image) -> bytes:
    done, data = cv2.imencode(".png", image)
    assert done, "OpenCV writes PNG"
    return data.tobytes()
