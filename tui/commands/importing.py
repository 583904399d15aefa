"""``yolotui import``: someone else's log becomes a run; what the log proves, as text or JSON."""

from __future__ import annotations

import math
import shlex
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from engine.runs.importing import Imported, import_log
from engine.runs.importing.roles import is_validation, role

from ..console import print_json
from ..format import count, digits3, shorten, shorten_path
from ..table import table

SIGNS = {"warning": ("▲", "yellow"), "info": ("·", "cyan")}
INDENT = "    "
NARROWEST, WIDEST = 60, 110
SHOWN = 12
"""Epochs of the table: the first and the last half of it, where there are more."""
SHOWN_TRAININGS = 16
SHOWN_NAMES = 24
ORDER = {
    "map50_95": 1,
    "map50": 1,
    "map": 1,
    "lr": 2,
    "score": 4,
    "grad_norm": 5,
    "seconds": 6,
    "data": 7,
    "memory": 8,
}
"""Losses first, then scores and the rate; times last: the columns that do not fit are cut from the right."""


def import_file(log: Path, run: Path | None, as_json: bool) -> int:
    done = import_log(log, run, progress=_progress())
    if as_json:
        print_json(done.to_json())
        return 0
    console = Console(highlight=False, soft_wrap=True)
    for line in report_lines(done, console.width):
        console.print(line)
    return 0


def report_lines(done: Imported, width: int) -> list[Text]:
    """What it is, its epochs, what it proves, what was not read, where to go on."""
    width = max(NARROWEST, min(WIDEST, width))
    lines = [_title(done), Text()]
    epochs = _epoch_lines(done, width) or _end_lines(done)
    lines += [*epochs, Text()] if epochs else []
    main = _main(done)
    for claim in done.findings:
        if claim.training in (0, main):
            sign, style = SIGNS[claim.severity]
            parts = textwrap.wrap(claim.message, width - 2, break_on_hyphens=False) or [""]
            lines.append(Text.assemble((f"{sign} ", style), parts[0]))
            lines += [Text(f"  {part}") for part in parts[1:]]
    lines += _training_lines(done)
    lines += [Text(), *_unread_lines(done, width), Text()]
    lines += _where_lines(done)
    return lines


def _title(done: Imported) -> Text:
    parts = [done.format, f"{count(done.lines)} lines"]
    if done.epochs:
        whole = sum(bool(epoch["complete"]) for epoch in done.epochs)
        rest = len(done.epochs) - whole
        epochs = f"{len(done.epochs)} {'epoch' if len(done.epochs) == 1 else 'epochs'}"
        parts.append(epochs + (f", {rest} of them not complete" if rest else ""))
    else:
        parts.append(f"{count(done.runs[0].steps)} iterations")
    if done.restarts:
        parts.append(f"{len(done.restarts)} {'restart' if len(done.restarts) == 1 else 'restarts'}")
    return Text.assemble((str(done.source.name), "bold"), f"  {' · '.join(parts)}")


def _epoch_lines(done: Imported, width: int) -> list[Text]:
    """The epochs of the run's own training; as many columns as fit."""
    main = _main(done)
    epochs = [epoch for epoch in done.epochs if epoch.get("training", main) == main]
    if not epochs:
        return []
    reserved = {"epoch", "complete", "training", "iterations", "points", "mean"}
    names = list(dict.fromkeys(name for epoch in epochs for name in epoch if name not in reserved))
    names.sort(key=lambda name: ORDER.get(role(name), 0) + 2 * is_validation(name))
    half = SHOWN // 2
    shown: list[dict[str, Any] | None] = list(epochs)
    if len(epochs) > SHOWN:
        shown = [*epochs[:half], None, *epochs[-half:]]
    kept = list(names)
    while True:
        head = ["epoch", *[shorten(name, 22) for name in kept]]
        rows = [_epoch_row(epoch, kept) for epoch in shown]
        lines = table(head, rows)
        if len(kept) <= 1 or max(map(len, lines)) <= width:
            break
        kept.pop()
    told = [Text(lines[0], style="bold"), *(Text(line) for line in lines[1:])]
    if len(kept) < len(names):
        more = f"and {', '.join(names[len(kept) :])}: in the run, and in --json"
        told += [Text(part, style="dim") for part in textwrap.wrap(more, width)]
    if any(epoch.get("points", 1) > 1 for epoch in epochs):
        told.append(Text("the last value printed in each epoch; the run has all of them", style="dim"))
    return told


def _end_lines(done: Imported) -> list[Text]:
    """Of a training that counts no epochs: what was read, and from where to where it went."""
    names = sorted(done.ends, key=lambda name: ORDER.get(role(name), 0) + 2 * is_validation(name))
    if not names:
        return []
    rows = [[shorten(name, 40), *map(_shown, done.ends[name])] for name in names[:SHOWN_NAMES]]
    lines = table(["value", "first", "last"], rows)
    told = [Text(lines[0], style="bold"), *(Text(line) for line in lines[1:])]
    if len(names) > SHOWN_NAMES:
        told.append(Text(f"and {len(names) - SHOWN_NAMES} more: in the run", style="dim"))
    return told


def _epoch_row(epoch: dict[str, Any] | None, names: list[str]) -> list[str]:
    if epoch is None:
        return ["...", *["" for _ in names]]
    number = f"{epoch['epoch']}" + ("" if epoch["complete"] else " (part)")
    return [number, *[_shown(epoch.get(name)) for name in names]]


def _shown(value: Any) -> str:
    if not isinstance(value, int | float):
        return "-"
    return "nan" if math.isnan(value) else digits3(float(value))


def _main(done: Imported) -> int:
    return next(each.training for each in done.runs if each.path == done.run)


def _training_lines(done: Imported) -> list[Text]:
    """A line a training, where the file holds several."""
    if len(done.runs) < 2:
        return []
    rows = []
    for each in done.runs[:SHOWN_TRAININGS]:
        warnings = sum(c.severity == "warning" for c in done.findings if c.training == each.training)
        shown = "shown above" if each.path == done.run else ""
        rows.append(
            [
                f"{each.training}",
                f"{each.first_line}",
                f"{each.epochs}",
                count(each.steps),
                f"{warnings}",
                shown,
            ]
        )
    lines = table(["training", "from line", "epochs", "steps", "warnings", ""], rows, left=0)
    told = [Text(), Text(lines[0], style="bold"), *(Text(line) for line in lines[1:])]
    if len(done.runs) > SHOWN_TRAININGS:
        told.append(Text(f"and {len(done.runs) - SHOWN_TRAININGS} more: --json has them all", style="dim"))
    return told


def _unread_lines(done: Imported, width: int) -> list[Text]:
    if not done.unread:
        return [Text("every line was read", style="dim")]
    lines = [Text(f"{done.unread:,} of {done.lines:,} lines gave no value, such as", style="dim")]
    for number, text in done.unread_examples[:3]:
        place = f"{number}: " if number else ""
        lines.append(Text(shorten(f"{INDENT}{place}{text}", width), style="dim"))
    return lines


def _where_lines(done: Imported) -> list[Text]:
    lines = [Text.assemble("run ", (shorten_path(done.run), "bold"))]
    others = [each for each in done.runs if each.path != done.run]
    if others:
        folder = shorten_path(others[0].path.parent)
        more = "the other training" if len(others) == 1 else f"the {len(others)} other trainings"
        lines.append(Text(f"{more} of this file: yolotui runs {shlex.quote(folder)}"))
    return lines


def _progress() -> Callable[[int], None] | None:
    if not sys.stderr.isatty():
        return None

    def tell(line: int) -> None:
        print(f"\r\x1b[Kline {line:,} ...", end="\r\x1b[K", file=sys.stderr, flush=True)

    return tell
