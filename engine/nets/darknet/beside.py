"""Files that Darknet keeps apart and people keep together: the cfg and the names of a weights file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import UserError

STAGE = re.compile(r"(_(final|last|best|ema|\d+)|\.conv\.\d+)$")
"""What Darknet appends to a cfg's name when it saves weights."""
WHOLE = (".weights", ".backup")
"""How files of whole networks end."""


def is_darknets(path: Path) -> bool:
    """By its name, as Darknet names them: ``yolov3.weights``, ``yolov3.backup``, ``darknet53.conv.74``."""
    return path.suffix in WHOLE or (path.suffix[1:].isdigit() and ".conv" in path.suffixes)


def cfg_beside(weights: Path) -> Path | None:
    """``yolov3.cfg`` for ``yolov3.weights`` or ``yolov3_best.weights``: beside it, or in ``cfg/``."""
    folders = (weights.parent, weights.parent / "cfg", weights.parent.parent / "cfg")
    found = (folder / f"{stem}.cfg" for stem in _stems(weights) for folder in folders)
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
            fix=f"put {_stems(weights)[0]}.cfg there, or name both in a config (model.cfg, model.weights)",
        )
    return found


def _stems(path: Path) -> tuple[str, str]:
    """A file's name without what says its kind, and without its stage too."""
    stem = path.stem if path.suffix in (".cfg", *WHOLE) else path.name
    return stem, STAGE.sub("", stem)


def names_beside(path: Path, count: int) -> list[str] | None:
    """The class names of a cfg or weights file: of the ``.names`` file of its name, else of the only one near
    it that holds as many. None where none, or several that differ, could be meant."""
    for candidates in (_own_names(path), list(_near(path))):
        lists = {tuple(read_names(each)) for each in candidates if not _why_not(each, count)}
        if len(lists) == 1:
            return list(lists.pop())
    return None


def names_refused(path: Path, count: int) -> str:
    """Why the ``.names`` file of its name is not taken; empty where it is, or where there is none."""
    return next((why for each in _own_names(path) if (why := _why_not(each, count))), "")


def class_names(path: Path, count: int) -> list[str]:
    """``names_beside``, else class0, class1, ..."""
    return names_beside(path, count) or [f"class{k}" for k in range(count)]


def read_names(path: Path) -> list[str]:
    """A name a line. Raises ``OSError``."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _why_not(path: Path, count: int) -> str:
    """Why a file cannot name so many classes; empty where it can."""
    try:
        names = read_names(path)
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror or error}"
    if len(names) != count:
        return f"{path}: not taken: it holds {len(names)} names, the network has {count} classes"
    twice = next((name for name in names if names.count(name) > 1), None)
    return "" if twice is None else f"{path}: not taken: {twice!r} stands twice in it"


def _own_names(path: Path) -> list[Path]:
    found = (path.with_name(f"{stem}.names") for stem in dict.fromkeys(_stems(path)))
    return [each for each in found if each.is_file()][:1]


def _near(path: Path) -> Iterator[Path]:
    folder = path.parent
    for each in (folder, folder.parent, folder / "data", folder.parent / "data"):
        yield from sorted(each.glob("*.names"))
