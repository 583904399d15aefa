"""What the slice language says instead of an answer."""

from __future__ import annotations


class ExpressionError(Exception):
    """``message`` says what is wrong and what would be right, ``column`` where: 1-based, in characters."""

    def __init__(self, message: str, column: int) -> None:
        self.message = message
        self.column = column
        super().__init__(f"column {column}: {message}")
