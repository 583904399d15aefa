"""A split of whatever format, as one ``Dataset``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ..config import DataConfig
from ..errors import UserError
from .coco import read_coco
from .demo import CLASSES, demo_root, draw_demo
from .sample import Dataset, told_apart
from .voc import read_voc
from .yolo_txt import read_yolo


def open_split(
    config: DataConfig,
    split: str,
    progress: Callable[[int, int], None] | None = None,
    most: int = 0,
    trained: Sequence[str] | None = None,
) -> Dataset:
    """Read the split that ``data.train`` or ``data.val`` names, in the declared format.

    The demo set is drawn first where it is absent (``progress`` is told how far that is). ``most``: so
    many images at most, evenly spaced. ``trained``: the classes of the training split (or of the weights),
    with which every further split is to be opened, as each COCO file numbers its categories by itself.
    What is wrong with single images and boxes is collected in the result's ``problems``; raises
    ``UserError`` where the split as a whole cannot be read or has no images.
    """
    dataset = _read(config, split, progress, most, trained)
    if not len(dataset):
        first = dataset.problems[0] if dataset.problems else None
        remedy = f"first problem: {first.kind}, {first.path}" if first else "name another split"
        raise UserError(f"split {split!r} has no images", where=config.root, fix=remedy)
    return replace(dataset, samples=told_apart(dataset.samples))


def open_splits(config: DataConfig) -> list[Dataset]:
    """``data.train`` and ``data.val``, each once, the second with the classes of the first. Raises
    ``UserError``."""
    first, *others = dict.fromkeys(name for name in (config.train, config.val) if name)
    train = open_split(config, first)
    return [train, *(open_split(config, name, trained=train.classes) for name in others)]


def _read(
    config: DataConfig,
    split: str,
    progress: Callable[[int, int], None] | None,
    most: int,
    trained: Sequence[str] | None,
) -> Dataset:
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
        return read_coco(root, split, config.classes, most, trained)
    return read_voc(root, split, config.classes, config.first_pixel, most)
