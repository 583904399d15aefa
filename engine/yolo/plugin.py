"""The user's own functions: a Python file whose functions replace the reference's.

The file is imported only because a person named it; a run keeps its path and hash, never its code.
"""

from __future__ import annotations

import hashlib
import inspect
import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import Terminated, UserError
from .plugin_place import written_at

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

    def written(self, name: str) -> tuple[str, int]:
        """(file, line) of a function that is the user's; line 0 where it has none."""
        return written_at(self.functions[name], name, self.path)

    def place(self, name: str) -> str:
        """``my_yolo.py:41``, or an empty string where the reference is used."""
        if name not in self.functions:
            return ""
        file, line = self.written(name)
        return f"{Path(file).name}:{line}" if line else Path(file).name

    def __reduce__(self) -> tuple[Callable[[str], UserFunctions], tuple[str]]:
        return load_functions, (self.path,)


def load_functions(path: str | Path) -> UserFunctions:
    """Import a user's file, from its source as it stands now; its neighbours that it imports likewise. An
    empty path gives no functions.

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
    module = ModuleType(name)
    module.__file__ = str(file)
    try:
        with _importing(file.parent):
            sys.modules[name] = module
            # compiled here: Python's own cache takes an edit within a second for no edit
            exec(compile(source, str(file), "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | Terminated):
            raise
        raise UserError(
            f"cannot be imported: {type(error).__name__}: {error}", where=_place_of(file, error)
        ) from error
    found = {n: getattr(module, n) for n in NAMES if callable(getattr(module, n, None))}
    if not found:
        raise UserError("holds none of the functions", where=file, fix=f"define one of {', '.join(NAMES)}")
    return UserFunctions(str(file), hashlib.sha256(source).hexdigest(), found)


_neighbours: dict[str, set[str]] = {}
"""By folder, the modules that user files of it have brought in from there."""


@contextmanager
def _importing(folder: Path) -> Iterator[None]:
    """The folder's modules can be imported, as when its file is run as a script; those that an earlier load
    brought in are read anew. Nothing is written beside them."""
    linecache.checkcache()
    for name in _neighbours.pop(str(folder), set()):
        sys.modules.pop(name, None)
    before, cached = set(sys.modules), sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = cached
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        _neighbours[str(folder)] = {
            name
            for name in set(sys.modules) - before
            if not name.startswith("yolotui_user_") and _is_below(sys.modules[name], folder)
        }


def _is_below(module: ModuleType, folder: Path) -> bool:
    """Whether a module's file is of this folder, and not of packages installed below it."""
    file = getattr(module, "__file__", None)
    if not file or "site-packages" in file:
        return False
    return Path(file).resolve().is_relative_to(folder)


def accepts(function: Function, keyword: str) -> bool:
    """Whether a function can be called with this keyword."""
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == keyword or p.kind is p.VAR_KEYWORD for p in parameters)


def with_keywords(function: Function, *arguments: Any, **asked: Any) -> Any:
    """The function called with those of the keywords that it takes. One that passes any keyword on (a plain
    decorator does) may turn out not to take it after all: then it is called again without."""
    known = {name: value for name, value in asked.items() if accepts(function, name)}
    while True:
        try:
            return function(*arguments, **known)
        except TypeError as error:
            refused = [n for n in known if f"unexpected keyword argument {n!r}" in str(error)]
            if not refused:
                raise
            known = {name: value for name, value in known.items() if name not in refused}


def line_at_fault(path: str | Path, error: BaseException) -> int:
    """The deepest line of ``path`` that an error passed through; 0 where it passed through none."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


@contextmanager
def blaming(user: UserFunctions) -> Iterator[None]:
    """What goes wrong in the user's file is a ``UserError`` with its line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        line = line_at_fault(user.path, error)
        if not line:
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"raises {text}", where=f"{Path(user.path).name}:{line}") from error


def _place_of(file: Path, error: BaseException) -> str:
    line = (error.lineno or 0) if isinstance(error, SyntaxError) else line_at_fault(file, error)
    return f"{file}:{line}" if line else str(file)
