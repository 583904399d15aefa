"""The view as it was left: which panels, how drawn, which theme. A file in the user's config folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from engine.files import write_atomically

from .themes import DARK, LIGHT

VERSION = 1


@dataclass
class Remembered:
    panels: dict[str, bool] = field(default_factory=dict)
    """Those that somebody showed or hid."""
    enlarged: str | None = None
    theme: str = DARK.name
    smooth: bool = True
    log: bool = False
    steps: bool = False
    statistic: str = "auto"


def default_path() -> Path:
    import platformdirs

    return platformdirs.user_config_path("yolotui") / "live.json"


def load(path: Path) -> tuple[Remembered, str]:
    """What was remembered, and a word about what could not be read, or ""."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Remembered(), ""
    except (OSError, UnicodeDecodeError) as error:
        return Remembered(), f"the remembered layout {path} cannot be read ({error}): starting as new"
    try:
        values = json.loads(text)
        if not isinstance(values, dict) or values.get("version") != VERSION:
            raise ValueError(f"not version {VERSION}")
        return _checked(values), ""
    except ValueError as error:
        return Remembered(), f"the remembered layout {path} is broken ({error}): starting as new"


def save(path: Path, remembered: Remembered) -> str:
    """Write it whole or not at all; what went wrong, or ""."""
    text = json.dumps({"version": VERSION, **asdict(remembered)}, indent=2) + "\n"
    try:
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except OSError as error:
        return f"the layout cannot be remembered in {path}: {error.strerror}"
    return ""


def _checked(values: dict[str, Any]) -> Remembered:
    """Raises ``ValueError`` for a value of the wrong kind; keys that are not known are left out."""
    known = {each.name: values[each.name] for each in fields(Remembered) if each.name in values}
    found = Remembered(**known)
    flags = (found.smooth, found.log, found.steps, *getattr(found.panels, "values", tuple)())
    if not isinstance(found.panels, dict) or not all(isinstance(flag, bool) for flag in flags):
        raise ValueError("a switch is not true or false")
    if found.theme not in (DARK.name, LIGHT.name):
        raise ValueError(f"no theme {found.theme!r}")
    if not isinstance(found.enlarged, str | None) or not isinstance(found.statistic, str):
        raise ValueError("a name is not a text")
    return found
