"""A split of whatever format, as one ``Dataset``."""

from __future__ import annotations

from pathlib import Path

from ..config import DataConfig
from ..errors import UserError
from .sample import Dataset
from .voc import read_voc


def open_split(config: DataConfig, split: str) -> Dataset:
    """Read the split that ``data.train`` or ``data.val`` names, in the declared format.

    The demo set is drawn first where it is absent. What is wrong with single images and boxes is collected
    in the result's ``problems``; raises ``UserError`` where the split as a whole cannot
    be read or has no images.
    """
    dataset = _read(config, split)
    if not len(dataset):
        remedy = (
            f"the first fault: {dataset.problems[0].kind}, {dataset.problems[0].path}"
            if dataset.problems
            else ""
        )
        raise UserError(
            f"split {split!r} has no images", where=config.root, fix=remedy or "name another split"
        )
    return dataset


def _read(config: DataConfig, split: str) -> Dataset:
    if not config.root:
        raise UserError("data.root is empty", fix="name the data set's folder in [data] root")
    root = Path(config.root)
    if not root.is_dir():
        raise UserError("no such folder", where=root, fix="set data.root to the data set's folder")
    return read_voc(root, split, config.classes, config.first_pixel)
