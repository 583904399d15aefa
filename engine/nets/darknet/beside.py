"""Files that Darknet keeps apart and people keep together: the cfg and the names of a weights file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import UserError

STAGE = re.compile(r"(_(final|last|best|ema|\d+)|\.conv\.\d+)$")
"""What Darknet appends to a cfg's name when it saves weights."""
SUFFIXES = (".weights", ".backup")


def is_darknets(path: Path) -> bool:
    """By its name, as Darknet names them: ``yolov3.weights``, ``yolov3.backup``, ``darknet53.conv.74``."""
    return path.suffix in SUFFIXES or (path.suffix[1:].isdigit() and ".conv" in path.suffixes)


def cfg_beside(weights: Path) -> Path | None:
    """``yolov3.cfg`` for ``yolov3.weights`` or ``yolov3_best.weights``: beside it, or in ``cfg/``."""
    stems = [_stem(weights)]
    stems.append(STAGE.sub("", stems[0]))
    folders = (weights.parent, weights.parent / "cfg", weights.parent.parent / "cfg")
    found = (folder / f"{stem}.cfg" for stem in stems for folder in folders)
    return next((path for path in found if path.is_file()), None)


def need_cfg(weights: Path) -> Path:
    """Raises ``UserError`` where there is none."""
    found = cfg_beside(weights)
    if found is None and not weights.exists():
        raise UserError("no such weights file", where=weights, fix="name a .weights file")
    if found is None:
        raise UserError(
            "has no cfg beside it, and without one its values mean nothing",
            where=weights,
            fix=f"put {_stem(weights)}.cfg there, or name both in a config (model.cfg, model.weights)",
        )
    return found


def _stem(weights: Path) -> str:
    return weights.stem if weights.suffix in SUFFIXES else weights.name


def names_beside(path: Path, count: int) -> list[str] | None:
    """The class names of a cfg or weights file: of the ``.names`` file of its name, else of the only one near
    it that holds as many. None where none, or several that differ, could be meant."""
    own = path.with_suffix(".names")
    for candidates in ([own], list(_near(path))):
        lists = {tuple(names) for each in candidates if len(names := read_names(each)) == count}
        if len(lists) == 1:
            return list(lists.pop())
    return None


def class_names(path: Path, count: int) -> list[str]:
    """``names_beside``, else class0, class1, ..."""
    return names_beside(path, count) or [f"class{k}" for k in range(count)]


def read_names(path: Path) -> list[str]:
    """A name a line; empty where it cannot be read, or a name stands twice."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    names = [line.strip() for line in lines if line.strip()]
    return names if len(set(names)) == len(names) else []


def _near(path: Path) -> Iterator[Path]:
    folder = path.parent
    for each in (folder, folder.parent, folder / "data", folder.parent / "data"):
        yield from sorted(each.glob("*.names"))
