"""Where a user's function is written: its file and line, whatever it was wrapped in."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any


def written_at(function: Callable[..., Any], name: str, path: str) -> tuple[str, int]:
    """(file, line) of what is called ``name`` in the user's file ``path``; line 0 where it has none.

    A ``def`` at the file's top level is its own place, also under a decorator that hides it. Something
    assigned or imported is where its code is: behind ``partial``, in ``__call__``, in another file.
    """
    if line := _defined(name, path):
        return path, line
    if (code := code_of(function)) is not None:
        return code.co_filename, code.co_firstlineno
    return path, 0


def code_of(function: Callable[..., Any]) -> CodeType | None:
    code = getattr(underlying(function), "__code__", None)
    return code if isinstance(code, CodeType) else None


def globals_of(function: Callable[..., Any]) -> dict[str, Any] | None:
    """The names that a function's code finds at its module's top level."""
    space = getattr(underlying(function), "__globals__", None)
    return space if isinstance(space, dict) else None


def underlying(function: Callable[..., Any]) -> Any:
    """Without ``functools.wraps``, ``partial`` and bound methods; of an instance, its ``__call__``."""
    for _ in range(20):  # a chain may close on itself
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif (wrapped := getattr(function, "__wrapped__", None)) is not None:
            function = wrapped
        elif not inspect.isclass(function) and not hasattr(function, "__code__"):
            # of a torch module `forward`: its `__call__` is torch's own
            kind = type(function)
            called = getattr(kind, "forward", None) or vars(kind).get("__call__")
            if not hasattr(called, "__code__"):
                return function
            function = called
        else:
            break
    return inspect.getattr_static(function, "__init__", function) if inspect.isclass(function) else function


def _defined(name: str, path: str) -> int:
    """The line of the last top-level ``def`` or ``class`` of that name, if no later line assigns it anew."""
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return 0
    line = 0
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)) and node.name == name:
            line = node.lineno
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            # `loss = compiled(loss)` still is the function above it
            if name in names and not any(
                isinstance(part, ast.Name) and part.id == name for part in ast.walk(node.value)
            ):
                line = 0
    return line
