"""What one case of the fault bench is, and how its files are written.

A case is a user's file, made from one of the hand-written plug-ins in ``bases/`` by replacing text, with that
plug-in's own config; or a data set with something wrong in it; or both. ``expected`` says what a doctor that
knows DESIGN's contract must make of it.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import random
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tomli_w
import torch

from engine.config import load_config
from tests.faults.drawing import draw

HERE = Path(__file__).resolve().parent
CONTRACT = ("assign", "decode", "iou", "loss", "detect", "transform", "build_model")
BOX = frozenset("xywh")
Expected = Literal["error", "warning", "none"]


@dataclass(frozen=True)
class Case:
    """``edits``: (old, new) in the base's text, each old standing there exactly once. ``keep``: the functions
    that the user's file holds (empty: all of the base). ``expected``: ``none`` is legitimate, no error may be
    raised; ``warning`` is a fault that statistics may only warn of. ``functions``: those that the first
    finding may name. ``channels``: compared as ``match`` says; None where the contract leaves them open."""

    slug: str
    base: str
    about: str
    edits: tuple[tuple[str, str], ...] = ()
    keep: tuple[str, ...] = ()
    row: int | None = None
    config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    undeclared: tuple[str, ...] = ()
    """Sections of the base's config that this user has left out."""
    spoil: Callable[[Path], None] | None = None
    """Puts the fault into the drawn data set."""
    code: bool = True
    """Whether there is a user's file at all."""
    expected: Expected = "error"
    functions: tuple[str, ...] = ()
    channels: frozenset[str] | None = None
    match: Literal["equal", "overlap"] = "equal"
    folder: Path = HERE
    """Where its own ``bases/`` may be."""

    @property
    def legitimate(self) -> bool:
        return self.expected == "none"

    def source(self) -> str:
        """The user's file."""
        text = self._base(".py")
        for old, new in self.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self.slug}: stands {text.count(old)} times in {self.base}.py: {old!r}")
            text = text.replace(old, new)
        return without(text, set(CONTRACT) - set(self.keep)) if self.keep else text

    def _base(self, suffix: str) -> str:
        """The base's file, of the case's own folder or of this one."""
        name = f"{self.base}{suffix}"
        own = self.folder / "bases" / name
        return (own if own.is_file() else HERE / "bases" / name).read_text(encoding="utf-8")

    def toml(self, root: Path) -> str:
        values = tomllib.loads(self._base(".toml"))
        for section in self.undeclared:
            values.pop(section, None)
        for section, keys in self.config.items():
            values.setdefault(section, {}).update(keys)
        values["data"]["root"] = str(root)
        return tomli_w.dumps(values)

    def write(self, folder: Path, seed: int = 0) -> tuple[Path, Path | None]:
        """The config and the user's file, below ``folder``; the data set is drawn beside them."""
        folder.mkdir(parents=True, exist_ok=True)
        root = folder / "voc"
        classes = tomllib.loads(self.toml(root))["data"]["classes"]
        draw(root, classes, seed=seed)
        if self.spoil is not None:
            self.spoil(root)
        config = folder / "case.toml"
        config.write_text(self.toml(root), encoding="utf-8")
        if not self.code:
            return config, None
        code = folder / "my_yolo.py"
        code.write_text(self.source(), encoding="utf-8")
        return config, code

    def findings(self, folder: Path, seed: int) -> list[dict[str, Any]]:
        """What the doctor says of it, as ``check --json`` would."""
        from engine.doctor.check import check

        config, code = self.write(folder, seed=seed)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        more: dict[str, Any] = {"seed": seed} if "seed" in inspect.signature(check).parameters else {}
        report = check(load_config(config), source=config, code=code, deep=False, **more)
        found: list[dict[str, Any]] = report.to_json()["findings"]
        return found


def load_cases(folder: Path = HERE) -> list[Case]:
    """Every ``CASES`` of the modules in ``folder/cases``, in the order of their names."""
    found: list[Case] = []
    for path in sorted((folder / "cases").glob("*.py")):
        name = f"fault_cases_{folder.name}_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        found += [replace(case, folder=folder) for case in module.CASES]
    slugs = [case.slug for case in found]
    twice = {slug for slug in slugs if slugs.count(slug) > 1}
    if twice:
        raise ValueError(f"two cases are called {', '.join(sorted(twice))}")
    return found


def fault(
    slug: str,
    base: str,
    about: str,
    *edits: tuple[str, str],
    to: str | Sequence[str],
    channels: str | None = None,
    overlap: bool = False,
    **more: Any,
) -> Case:
    """``channels``: names with spaces between them, compared as sets."""
    functions = (to,) if isinstance(to, str) else tuple(to)
    named = None if channels is None else frozenset(channels.split())
    match = "overlap" if overlap else "equal"
    return Case(slug, base, about, edits, functions=functions, channels=named, match=match, **more)


def legitimate(slug: str, base: str, about: str, *edits: tuple[str, str], **more: Any) -> Case:
    return Case(slug, base, about, edits, expected="none", **more)


def without(text: str, names: set[str]) -> str:
    """The module's text without these top-level functions."""
    lines = text.splitlines(keepends=True)
    for node in reversed(ast.parse(text).body):
        if isinstance(node, ast.FunctionDef) and node.name in names:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            del lines[first - 1 : node.end_lineno]
    return "".join(lines)
