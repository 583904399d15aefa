"""A row of the key table (``keys.py``)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    scope: str
    keys: tuple[str, ...]
    """Textual's names."""
    shown: str
    """As the footer prints them."""
    action: str
    """``{key}`` stands for the key that was pressed."""
    label: str
    """One or two words, for the footer."""
    help: str
    """One sentence, for the help and the palette."""
    footer: int = 0
    """Rank in the footer, 1 is kept longest; 0: never there."""
    priority: bool = False
    """Whether it is caught before the focused widget sees it."""


def key(
    scope: str,
    keys: str,
    action: str,
    label: str,
    help: str,
    *,
    shown: str = "",
    footer: int = 0,
    priority: bool = False,
) -> Key:
    names = tuple(keys.split())
    return Key(scope, names, shown or names[0], action, label, help, footer, priority)
