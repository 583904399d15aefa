"""The user's own functions: a Python file whose functions replace the reference's.

The file is imported only because a person named it; a run keeps its path and hash, never its code.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError

NAMES = ("assign", "decode", "iou", "loss", "detect", "transform", "build_model")
Function = Callable[..., Any]


@dataclass(frozen=True)
class UserFunctions:
    """The functions found in a file, by their contract's name. Pickled as the path: a worker process
    imports the file anew."""

    path: str = ""
    sha256: str = ""
    functions: dict[str, Function] = field(default_factory=dict)

    def get(self, name: str) -> Function | None:
        return self.functions.get(name)

    def place(self, name: str) -> str:
        """``my_yolo.py:41``, or an empty string where the reference is used."""
        function = self.functions.get(name)
        if function is None:
            return ""
        try:
            line = inspect.getsourcelines(inspect.unwrap(function))[1]
        except (OSError, TypeError):
            return Path(self.path).name
        return f"{Path(self.path).name}:{line}"

    def __reduce__(self) -> tuple[Callable[[str], UserFunctions], tuple[str]]:
        return load_functions, (self.path,)


def load_functions(path: str | Path) -> UserFunctions:
    """Import a user's file. An empty path gives no functions.

    Raises ``UserError`` where there is no such file, it cannot be imported (with the line at fault) or holds
    none of the names.
    """
    if not str(path):
        return UserFunctions()
    file = Path(path).resolve()
    if not file.is_file():
        raise UserError("no such file of functions", where=file, fix="check --code or [code] file")
    source = file.read_bytes()
    name = f"yolotui_user_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UserError("is not a Python file", where=file, fix="name a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(file.parent))  # its own neighbours, as when run as a script
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UserError(
            f"cannot be imported: {type(error).__name__}: {error}", where=_place_of(file, error)
        ) from error
    finally:
        sys.path.remove(str(file.parent))
    found = {n: getattr(module, n) for n in NAMES if callable(getattr(module, n, None))}
    if not found:
        raise UserError("holds none of the functions", where=file, fix=f"define one of {', '.join(NAMES)}")
    return UserFunctions(str(file), hashlib.sha256(source).hexdigest(), found)


def accepts(function: Function, keyword: str) -> bool:
    """Whether a function can be called with this keyword."""
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == keyword or p.kind is p.VAR_KEYWORD for p in parameters)


def line_at_fault(path: str | Path, error: BaseException) -> int:
    """The deepest line of ``path`` that an error passed through; 0 where it passed through none."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _place_of(file: Path, error: BaseException) -> str:
    line = (error.lineno or 0) if isinstance(error, SyntaxError) else line_at_fault(file, error)
    return f"{file}:{line}" if line else str(file)
