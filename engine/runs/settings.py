"""What a run was made with, as flat names and values, and where runs differ in it."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .reader import RunReader

ENVIRONMENT = (
    "device",
    "torch",
    "yolotui",
    "python",
    "numpy",
    "machine",
    "host",
    "git_commit",
    "git_changed",
)
"""Of the environment, what may change the numbers; not the folder, the command and the like."""
ABSENT = ""
"""The value of a setting that a run does not have."""
MEANING = ("loss.", "layout.", "code.")
"""Settings that change what a term measures: curves of runs that differ in them are not the same quantity."""


@dataclass(frozen=True)
class Difference:
    name: str
    """``train.lr``, ``code_sha256``, ``environment.torch``."""
    values: tuple[str, ...]
    """A text a run; ``ABSENT`` where it has no such setting."""


def run_settings(reader: RunReader) -> dict[str, str]:
    """The run's resolved config with nested keys joined by dots, the hash of the user's functions, and the
    environment; what is not known is left out."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError):  # a foreign loop or an imported log has none
        _flatten("", tomllib.loads(reader.folder.config.read_text(encoding="utf-8")), found)
    kept = reader.meta()
    if kept.get("code_sha256"):
        found["code.sha256"] = str(kept["code_sha256"])[:12]
    surroundings = kept.get("environment")
    if isinstance(surroundings, dict):
        for name in ENVIRONMENT:
            if surroundings.get(name):
                found[f"environment.{name}"] = str(surroundings[name])
    return found


def differences(settings: Sequence[dict[str, str]]) -> list[Difference]:
    """The settings that are not the same in all runs: the config's in its order, then the environment's."""
    names = list(dict.fromkeys(name for each in settings for name in each))
    rows = [Difference(name, tuple(each.get(name, ABSENT) for each in settings)) for name in names]
    return sorted(
        (row for row in rows if len(set(row.values)) > 1), key=lambda row: row.name.startswith("environment.")
    )


def changes_meaning(rows: Sequence[Difference]) -> bool:
    """Whether the runs' terms do not measure the same."""
    return any(row.name.startswith(MEANING) for row in rows)


def _flatten(prefix: str, values: dict[str, Any], into: dict[str, str]) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _flatten(f"{prefix}{name}.", value, into)
        else:
            into[prefix + name] = str(value)
