"""What the parser makes of an expression. ``column``: 1-based, where to point when it fails."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Number:
    value: float
    column: int


@dataclass(frozen=True, slots=True)
class Name:
    text: str
    column: int


@dataclass(frozen=True, slots=True)
class Attribute:
    """``pred.w``, ``loss.lbox``, ``pred[0, 4, 7, 2].xywh``; ``column`` is the name's."""

    of: Node
    name: str
    column: int


@dataclass(frozen=True, slots=True)
class AtHead:
    """``pred@1``: everything below reads head 1."""

    of: Node
    head: int
    column: int


@dataclass(frozen=True, slots=True)
class At:
    """One number of an index."""

    value: int
    column: int


@dataclass(frozen=True, slots=True)
class Span:
    """``start:stop:step`` of an index."""

    start: int | None
    stop: int | None
    step: int | None
    column: int


@dataclass(frozen=True, slots=True)
class Rest:
    """``...`` of an index."""

    column: int


@dataclass(frozen=True, slots=True)
class Mask:
    """A condition as an index: ``pred[mask > 0]``."""

    condition: Node
    column: int


IndexPart = At | Span | Rest | Mask


@dataclass(frozen=True, slots=True)
class Index:
    of: Node
    parts: tuple[IndexPart, ...]
    column: int


@dataclass(frozen=True, slots=True)
class Unary:
    sign: str
    of: Node
    column: int


@dataclass(frozen=True, slots=True)
class Binary:
    sign: str
    left: Node
    right: Node
    column: int


@dataclass(frozen=True, slots=True)
class Call:
    """``dims``: the axes to reduce, as numbers or letters with their columns; None for all."""

    function: str
    of: Node
    dims: tuple[tuple[int | str, int], ...] | None
    column: int


@dataclass(frozen=True, slots=True)
class Where:
    of: Node
    condition: Node
    column: int


Node = Number | Name | Attribute | AtHead | Index | Unary | Binary | Call | Where
