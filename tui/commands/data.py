"""``yolotui data``: the drawn demo set, and the audit of a data set."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.config import load_config

from ..console import FAILED, print_json


def draw(root: Path | None) -> int:
    from engine.data.demo import demo_root, draw_demo

    folder = demo_root(str(root) if root else "")

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            end = "\r\x1b[K" if done >= total else ""
            print(f"\r{done:,}/{total:,} images", end=end, file=sys.stderr, flush=True)

    print(draw_demo(folder, progress) or folder)
    return 0


def check(source: Path, overrides: list[str], as_json: bool) -> int:
    """Exit 1 where the audit found an error."""
    config = load_config(source, overrides)
    from engine.data.audit import audit

    found = audit(config)
    if as_json:
        print_json(found.to_json())
    else:
        for line in found.lines():
            print(line)
    return 0 if found.ok else FAILED
