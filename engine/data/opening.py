"""A split of whatever format, as one ``Dataset``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..config import DataConfig
from ..errors import UserError
from .coco import read_coco
from .demo import CLASSES, demo_root, draw_demo
from .sample import Dataset
from .voc import read_voc
from .yolo_txt import read_yolo


def open_split(
    config: DataConfig, split: str, progress: Callable[[int, int], None] | None = None, most: int = 0
) -> Dataset:
    """Read the split that ``data.train`` or ``data.val`` names, in the declared format.

    The demo set is drawn first where it is absent (``progress`` is told how far that is). ``most``: so
    many images at most, evenly spaced. What is wrong with single images and boxes is collected in the
    result's ``problems``; raises ``UserError`` where the split as a whole cannot be read or has no
    images.
    """
    dataset = _read(config, split, progress, most)
    if not len(dataset):
        first = dataset.problems[0] if dataset.problems else None
        remedy = f"first problem: {first.kind}, {first.path}" if first else "name another split"
        raise UserError(f"split {split!r} has no images", where=config.root, fix=remedy)
    return dataset


def _read(config: DataConfig, split: str, progress: Callable[[int, int], None] | None, most: int) -> Dataset:
    if config.format == "demo":
        return read_voc(
            draw_demo(demo_root(config.root), progress), split, config.classes or CLASSES, most=most
        )
    if not config.root:
        raise UserError("is empty", where="data.root", fix="name the data set's folder")
    root = Path(config.root)
    if not root.exists():
        raise UserError("no such folder", where=root, fix="set data.root to the data set's folder")
    if config.format == "yolo":
        return read_yolo(root, split, config.classes, most)
    if config.format == "coco":
        return read_coco(root, split, config.classes, most)
    return read_voc(root, split, config.classes, config.first_pixel, most)
