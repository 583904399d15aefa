"""What is examined: the config's detector, its data as far as it can be read, and the user's functions."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path

import torch

from ..blueprint import Blueprint, declared_anchors
from ..config import Config
from ..errors import UserError
from ..nets.registry import head_strides
from ..yolo.plugin import NAMES, UserFunctions, load_functions
from .calling import SIGNATURES, Called
from .findings import Finding


@dataclass(frozen=True)
class Subject:
    """``declared``: the ``[loss]`` keys that the config's text sets; the others are only defaults.
    ``images``: of the training split, None where it was not read."""

    config: Config
    blueprint: Blueprint
    called: Called
    declared: frozenset[str]
    images: int | None = None


def load_user(code: str | Path) -> tuple[UserFunctions, list[Finding]]:
    """The functions, or a finding where the file cannot be imported.

    Raises ``UserError`` where there is no such file or it holds none of the functions.
    """
    try:
        return load_functions(code), []
    except UserError as error:
        if not error.what.startswith("cannot be imported"):
            raise
        file, _, number = error.where.rpartition(":")
        line = int(number) if number.isdigit() and file else None
        finding = Finding(
            "error",
            "code.import",
            _function_at(Path(code), line),
            f"{Path(code).name} {error.what}",
            file=Path(code).name,
            line=line,
            expected="a Python file that can be imported",
            got=error.what.removeprefix("cannot be imported: "),
            fix=f"mend line {line}" if line else "run it with python to see the whole error",
        )
        return UserFunctions(), [finding]


def _function_at(path: Path, line: int | None) -> str:
    """The contract's function that a line stands in, or ``config`` for the file as a whole."""
    text = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for row in reversed(text[: line or 0]):
        for name in NAMES:
            if row.startswith((f"def {name}(", f"def {name} (")):
                return name
        if row.strip() and not row[0].isspace() and not row.startswith(("#", ")", "@")):
            return "config"
    return "config"


def misspelt(user: UserFunctions) -> list[Finding]:
    """A top-level function whose name is almost one of the contract's is most likely meant to be it."""
    if not user.path:
        return []
    tree = ast.parse(Path(user.path).read_text(encoding="utf-8"))
    names = {node.name: node.lineno for node in tree.body if isinstance(node, ast.FunctionDef)}
    wrong = {
        found: wanted
        for found in names
        for wanted in NAMES
        if wanted not in user.functions
        and not found.startswith("_")  # a helper of its own, and so named
        and found.lower().replace("_", "") == wanted.replace("_", "") != found
    }
    return [
        Finding(
            "warning",
            "code.names",
            wanted,
            f"{found} is not one of the contract's names, so the reference's {wanted} is used",
            file=Path(user.path).name,
            line=names[found],
            expected=SIGNATURES[wanted],
            got=found,
            fix=f"call it {wanted}",
        )
        for found, wanted in wrong.items()
    ]


def declared_loss_keys(source: Path) -> frozenset[str]:
    """The ``[loss]`` keys written in the config's own text."""
    try:
        values = tomllib.loads(source.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return frozenset()
    table = values.get("loss")
    return frozenset(table) if isinstance(table, dict) else frozenset()


def blueprint_of(config: Config, classes: tuple[str, ...], fitted: object = None) -> Blueprint:
    """The declared detector; anchors of moderate sizes where k-means has no data to work on."""
    table = declared_anchors(config.model)
    if table is None:
        table = fitted if isinstance(fitted, tuple) else _stand_in(config)
    return Blueprint.of(config, classes, table)


def _stand_in(config: Config) -> tuple[tuple[tuple[float, float], ...], ...]:
    strides = head_strides(config.model)
    width, height = config.model.input_wh
    count = config.model.anchor_count
    total = count * len(strides)
    low, high = 1.2 * strides[0], 0.7 * min(width, height)
    sides = [low * (high / low) ** (k / max(1, total - 1)) for k in range(total)]
    aspects = [(1.25, 0.8), (0.85, 1.18), (1.0, 1.1)]
    return tuple(
        tuple(
            (sides[k] * aspects[k % 3][0] / stride, sides[k] * aspects[k % 3][1] / stride)
            for k in range(first * count, (first + 1) * count)
        )
        for first, stride in enumerate(strides)
    )


def seed_everything(seed: int = 0) -> None:
    import random

    import numpy as np

    random.seed(seed)
    np.random.seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.manual_seed(seed)
    else:  # it would keep a stack trace for each device that may be used later: a millisecond, and memory
        torch.default_generator.manual_seed(seed)
