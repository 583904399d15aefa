"""What the word being typed may become."""

from __future__ import annotations

import re

from .functions import FUNCTIONS
from .indexing import GROUPS
from .namespace import Namespace

_DOTTED = re.compile(
    r"(?P<owner>[A-Za-z_]\w*)\s*(?:@\s*(?P<head>\d{1,3}))?\s*(?P<index>\[[^\[\]]*\])?\s*\.\s*(?P<word>\w*)$"
)
_WORD = re.compile(r"(?P<word>[A-Za-z_]\w*)?$")


def complete_text(text: str, cursor: int, namespace: Namespace, head: int) -> list[str]:
    """Whole words that fit before ``cursor``: channels after a dot, else names, functions and operators."""
    before = text[: max(0, cursor)]
    dotted = _DOTTED.search(before)
    if dotted is not None:
        named = int(dotted["head"]) if dotted["head"] else head
        members = namespace.members(dotted["owner"], named) if named < len(namespace.frame.heads) else []
        groups = [group for group, names in GROUPS.items() if set(names) <= set(members)]
        return _fitting(dotted["word"], [*members, *groups])
    if before.rstrip().endswith((".", "@")):
        return []
    match = _WORD.search(before)
    word = match["word"] or "" if match else ""
    return _fitting(word, [*namespace.names(), *FUNCTIONS, "where", "and", "or", "not"])


def _fitting(word: str, choices: list[str]) -> list[str]:
    return [choice for choice in dict.fromkeys(choices) if choice.startswith(word) and choice != word]
