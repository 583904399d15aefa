"""Text of the slice language -> tokens, each with its 1-based column."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from .errors import ExpressionError

TokenKind = Literal["number", "name", "sign", "end"]
MAX_LENGTH = 2000
WORDS = frozenset({"and", "or", "not", "where"})
"""Names that are operators."""

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | (?P<dots>\.\.\.)
  | (?P<number>(?:[0-9]+(?:\.(?![A-Za-z_.])[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
  | (?P<name>[A-Za-z_][A-Za-z_0-9]*)
  | (?P<sign>\*\*|==|!=|<=|>=|[-+*/<>()\[\],:.@&|~=])
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: TokenKind
    text: str
    column: int

    @property
    def end(self) -> int:
        """The column after it."""
        return self.column + len(self.text)


def tokenize(text: str) -> list[Token]:
    """The tokens, an ``end`` token last. Raises ``ExpressionError``."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters", MAX_LENGTH + 1)
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f"{text[position]!r} is no part of an expression", position + 1)
        position = match.end()
        if match.lastgroup == "space":
            continue
        kind: TokenKind = "sign"
        if match.lastgroup == "name":
            kind = "name"
        elif match.lastgroup == "number":
            kind = "number"
            if position < len(text) and (text[position].isalnum() or text[position] == "_"):
                raise ExpressionError("a number runs into a name", position + 1)
        tokens.append(Token(kind, match.group(), match.start() + 1))
    tokens.append(Token("end", "", len(text) + 1))
    return tokens
