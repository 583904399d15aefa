"""Darknet's ``.cfg``: text -> sections with their options, each knowing its line.

Read as Darknet reads it: blanks anywhere in a line mean nothing, ``#`` and ``;`` begin a comment, of an
option that stands twice in a section the first counts. Unlike Darknet, what is not known is an error.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ...errors import UserError
from .vocabulary import ALIASES, COMMON, DARKNETS_ALONE, NOT_BUILT, OPTIONS

T = TypeVar("T", int, float)
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""As C writes numbers: Python would also take ``1_0``, and digits of other scripts."""


@dataclass(frozen=True)
class Option:
    value: str
    line: int


@dataclass(frozen=True)
class Section:
    """One ``[name]`` and its options. Every reading method raises ``UserError`` naming file and line."""

    name: str
    line: int
    source: str
    options: Mapping[str, Option]

    def whole(
        self, key: str, default: int | None = None, least: int | None = None, most: int | None = None
    ) -> int:
        value = self._one(key, int, default, "a whole number")
        if key in self.options:
            self._check_range(key, value, least, most)
        return value

    def number(self, key: str, default: float | None = None) -> float:
        return self._one(key, float, default, "a number")

    def flag(self, key: str) -> bool:
        return self.whole(key, 0) != 0

    def text(self, key: str, default: str) -> str:
        return self.options[key].value if key in self.options else default

    def wholes(self, key: str) -> tuple[int, ...]:
        """A list that must be there and hold something."""
        return self._many(key, int, "whole numbers")

    def numbers(self, key: str) -> tuple[float, ...]:
        return self._many(key, float, "numbers")

    def error(self, what: str, key: str = "", fix: str = "") -> UserError:
        """At the option's line where there is one, else at the section's."""
        line = self.options[key].line if key in self.options else self.line
        return UserError(f"[{self.name}] {what}", where=f"{self.source}:{line}", fix=fix)

    def _one(self, key: str, kind: Callable[[str], T], default: T | None, what: str) -> T:
        if key not in self.options:
            if default is None:
                raise self.error(f"has no {key}", fix=f"write {key}=...")
            return default
        return self._convert(key, self.options[key].value, kind, what)

    def _check_range(self, key: str, value: int, least: int | None, most: int | None) -> None:
        if least is not None and value < least:
            raise self.error(f"{key}={value} is less than {least}", key, f"write {key}={least} or more")
        if most is not None and value > most:
            shown = self.options[key].value
            shown = shown if len(shown) < 40 else f"{shown[:20]}..."
            raise self.error(f"{key}={shown} is more than {most}", key, f"write {key}={most} or less")

    def _many(self, key: str, kind: Callable[[str], T], what: str) -> tuple[T, ...]:
        if key not in self.options:
            raise self.error(f"has no {key}", fix=f"write {key}=...")
        parts = [part for part in self.options[key].value.split(",") if part]
        if not parts:
            raise self.error(f"{key} is empty", key, f"write {what}, with commas between")
        return tuple(self._convert(key, part, kind, what) for part in parts)

    def _convert(self, key: str, text: str, kind: Callable[[str], T], what: str) -> T:
        try:
            if not NUMBER.fullmatch(text):
                raise ValueError
            value = kind(text)
            if not math.isfinite(value):
                raise ValueError
            return value
        except (ValueError, OverflowError):  # a whole number may be too large for any other
            raise self.error(f"{key}={text}: expected {what}", key) from None


@dataclass(frozen=True)
class Cfg:
    """A parsed file. ``layers`` are numbered as Darknet numbers them: from 0, without ``[net]``."""

    net: Section
    layers: tuple[Section, ...]
    text: str
    source: str
    broken: UserError | None = None
    """Why the layers end before the text does; only where that was allowed."""


def read_cfg(path: Path, lenient: bool = False) -> Cfg:
    """See ``parse_cfg``. Raises ``UserError`` naming the file and the line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot be read: {error.strerror or error}", where=path, fix="name a Darknet .cfg file"
        ) from None
    if b"\0" in data:
        raise UserError("is no text", where=path, fix="name a Darknet .cfg file")
    text = data.decode("utf-8-sig", errors="replace")
    return parse_cfg(text, str(path), lenient)


def parse_cfg(text: str, source: str = "cfg", lenient: bool = False) -> Cfg:
    """The sections of a cfg's text; ``source`` names it in errors. Raises ``UserError``.

    ``lenient``: a layer that is not known ends the cfg, for whoever needs only those before it.
    """
    sections: list[tuple[str, int, dict[str, Option]]] = []
    broken: UserError | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = "".join(raw.split()).partition("#")[0].partition(";")[0]
        where = f"{source}:{number}"
        if not line:
            continue
        try:
            if line.startswith("["):
                sections.append((_section_name(line, where), number, {}))
            else:
                _add_option(sections, line, number, where)
        except UserError as error:
            broken = error
            if not line.startswith("["):
                del sections[-1:]  # read by half
            break
    if broken is not None and (not lenient or len(sections) < 2):
        raise broken
    made = [Section(name, line, source, options) for name, line, options in sections]
    if not made or made[0].name != "net":
        raise UserError(
            "does not begin with [net]", where=f"{source}:{made[0].line if made else 1}", fix="is it a cfg?"
        )
    if len(made) < 2:
        raise UserError("holds no layer", where=source, fix="is it a cfg?")
    return Cfg(made[0], tuple(made[1:]), text, source, broken)


def _add_option(
    sections: list[tuple[str, int, dict[str, Option]]], line: str, number: int, where: str
) -> None:
    key, equals, value = line.partition("=")
    if not sections:
        raise UserError(f"{line[:40]!r} stands before any section", where=where, fix="begin with [net]")
    if not equals or not key:
        raise UserError(f"{line[:40]!r} is not option=value", where=where, fix="mend that line")
    name, _, options = sections[-1]
    _check_option(name, key, value, where)
    options.setdefault(key, Option(value, number))


def _section_name(line: str, where: str) -> str:
    written = line.strip("[]")
    name = ALIASES.get(written, written)
    if not line.endswith("]"):
        raise UserError(f"{line[:40]!r} is no section", where=where, fix="close it with ]")
    if name in OPTIONS:
        return name
    if written in DARKNETS_ALONE:
        raise UserError(
            f"[{written}] is a layer of Darknet's that is not built here",
            where=where,
            fix=f"built are {', '.join(name for name in OPTIONS if name != 'net')}",
        )
    raise UserError(f"unknown section [{written}]", where=where, fix=_nearest(written, OPTIONS))


def _check_option(section: str, key: str, value: str, where: str) -> None:
    known = OPTIONS[section] | (COMMON if section != "net" else frozenset())
    if key not in known:
        raise UserError(f"unknown option {key!r} in [{section}]", where=where, fix=_nearest(key, known))
    built = NOT_BUILT.get(section, {})
    if key in built and not _same(value, built[key]):
        wanted = f"only {key}={built[key]} is" if built[key] else "leave it out"
        raise UserError(f"[{section}] {key}={value} is not built here", where=where, fix=wanted)


def _same(value: str, wanted: str) -> bool:
    if NUMBER.fullmatch(value) and NUMBER.fullmatch(wanted):
        return float(value) == float(wanted)
    return value == wanted


def _nearest(word: str, known: Mapping[str, object] | frozenset[str]) -> str:
    close = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"did you mean {close[0]!r}?" if close else "remove it"
