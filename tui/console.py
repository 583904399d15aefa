"""The plain terminal: what is one, one JSON document, one line of error, exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAILED, USAGE, INTERRUPTED, TERMINATED, PIPE_CLOSED = 1, 2, 130, 143, 141
"""The thing checked failed; bad usage or input; Ctrl+C; SIGTERM; the reader of our output has gone."""


def is_interactive() -> bool:
    """Whether a live view makes sense: all three streams are terminals, and the terminal can draw."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return (
        all(stream is not None and stream.isatty() for stream in streams) and os.environ.get("TERM") != "dumb"
    )


def print_json(document: Any) -> None:
    """The one document of ``--json`` on stdout. NaN is null: the standard knows no other way."""
    print(json.dumps(without_nan(document), indent=2, ensure_ascii=False))


def without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return value


def complain(text: str) -> None:
    """One line on stderr, whatever ``text`` holds; nothing where nobody reads it any more."""
    line = " ".join(text.split())
    with contextlib.suppress(OSError):
        print(f"yolotui: {line}", file=sys.stderr, flush=True)


def counter(what: str) -> Callable[[int, int], None] | None:
    """``120/364 images`` on stderr, rewritten in place, where that is a terminal; else None."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        end = "\r\x1b[K" if done >= total else ""
        print(f"\r{done:,}/{total:,} {what}", end=end, file=sys.stderr, flush=True)

    return show


def memory_lacking(error: BaseException) -> str:
    """``there is no memory for 27.5 GiB at once`` where that is why it failed, whoever asked; else empty."""
    text = str(error)
    # torch's own classes are told by name and words: importing it costs a second
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if not named and "can't allocate memory" not in text:
        return ""
    size = re.search(r"allocate (\d[\d.]*) ?(bytes|\wiB)\b", text)
    if size is None:
        return "there is not enough memory"
    number, unit = size.groups()
    shown = f"{int(number) / 2**30:.1f} GiB" if unit == "bytes" else f"{number} {unit}"
    return f"there is no memory for {shown} at once"


def log_crash(error: BaseException) -> Path:
    """Write the traceback of an unexpected exception to a file of its own."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="yolotui-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write(" ".join(sys.argv) + "\n" + "".join(traceback.format_exception(error)))
    return Path(file.name)
