"""``yolotui check``: the doctor's report on a config and the user's own functions, before training."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from engine.config import load_config

from ..console import FAILED, print_json
from ..table import table

if TYPE_CHECKING:
    from engine.doctor.findings import Finding, Report, Table

SIGNS = {"error": ("✘", "bold red"), "warning": ("▲", "yellow"), "info": ("·", "cyan")}
INDENT = "    "
NARROWEST, WIDEST = 60, 110


def check(source: Path, code: Path | None, deep: bool, overrides: list[str], as_json: bool) -> int:
    """Exit 1 where a finding is an error."""
    config = load_config(source, overrides)
    from engine.doctor.check import check as examine

    report = examine(config, source=source, code=code, deep=deep, progress=_progress())
    if as_json:
        print_json(report.to_json())
    else:
        console = Console(highlight=False, soft_wrap=True)
        look = _look_command(source, code, overrides)
        for line in report_lines(report, _subject(source, code, config.code.file), look, console.width):
            console.print(line)
    return 0 if report.ok else FAILED


def report_lines(report: Report, subject: str, look: str, width: int) -> list[Text]:
    """The verdict, the root cause, what follows from it, the rest, the tables that prove it, the probes."""
    width = max(NARROWEST, min(WIDEST, width))
    lines = [_verdict(report, subject), Text()]
    for place, finding in enumerate(report.findings):
        if finding.consequence_of is None:
            lines += finding_lines(finding, look, width)
            followers = [f for f in report.findings if f.consequence_of == place]
            lines += [line for follower in followers for line in _consequence_lines(follower, width)]
            lines.append(Text())
    if not report.ok:
        lines += [line for each in report.tables for line in [*_table_lines(each), Text()]]
    return [*lines, _probe_line(report)]


def _verdict(report: Report, subject: str) -> Text:
    counts = [
        f"{number} {severity}{'s' if number > 1 else ''}"
        for severity in ("error", "warning")
        if (number := sum(f.severity == severity for f in report.findings))
    ]
    said = ", ".join(counts) or "nothing found"
    style = "bold green" if report.ok else "bold red"
    sign = "✔" if report.ok else "✘"
    return Text.assemble((f"{sign} {said}", style), f"  {subject}  ({report.seconds:.1f} s)")


def finding_lines(finding: Finding, look: str, width: int) -> list[Text]:
    sign, style = SIGNS[finding.severity]
    place = f"{Path(finding.file).name}:{finding.line}" if finding.file and finding.line else finding.file
    where = " ".join(part for part in (finding.function, place) if part)
    lines = [Text.assemble((f"{sign} {finding.severity}", style), f"  {where}  ", (finding.probe, "dim"))]
    lines += [Text(INDENT + part) for part in textwrap.wrap(finding.message, width - len(INDENT))]
    named = (
        ("channels", f"{finding.tensor}: {' '.join(finding.channels)}" if finding.channels else ""),
        ("expected", finding.expected),
        ("got", finding.got),
        ("fix", finding.fix),
        ("look", f"{look}   then : [{', '.join(map(str, finding.cell))}]" if finding.cell else ""),
    )
    for name, text in named:
        if text:
            lines += _named(name, text, width)
    return lines


def _named(name: str, text: str, width: int) -> list[Text]:
    head = f"{INDENT}{name:<9} "
    parts = textwrap.wrap(text, width - len(head)) or [""]
    lines = [Text.assemble((head, "dim"), parts[0])]
    return lines + [Text(" " * len(head) + part) for part in parts[1:]]


def _consequence_lines(finding: Finding, width: int) -> list[Text]:
    text = f"follows from it: {finding.function}: {finding.message}"
    parts = textwrap.wrap(text, width - len(INDENT) - 2)
    return [Text(f"{INDENT}{'↳' if k == 0 else ' '} {part}", style="dim") for k, part in enumerate(parts)]


def _table_lines(each: Table) -> list[Text]:
    """Who moves what: the measured share, and a mark where it should be otherwise."""
    rows = [
        [name, *(_cell(got, wanted) for got, wanted in zip(values, expected, strict=True))]
        for name, values, expected in zip(each.rows, each.got, each.expected, strict=True)
    ]
    lines = [Text(each.title, style="bold")]
    lines += [Text(INDENT + line) for line in table(["", *each.columns], rows)]
    return [*lines, Text(f"{INDENT}! moves and should not    ? should move and does not", style="dim")]


def _cell(got: float, wanted: bool | None) -> str:
    moves = got != 0
    shown = f"{got:.2g}" if moves else "."
    if wanted is None or wanted == moves:
        return f"{shown} "
    return f"{shown}!" if moves else "?"


def _probe_line(report: Report) -> Text:
    by_status = {
        status: [probe.name for probe in report.probes if probe.status == status]
        for status in ("passed", "failed", "skipped")
    }
    parts = [f"{len(names)} {status}" for status, names in by_status.items() if names]
    skipped = [
        f"{p.name} ({p.detail})" if p.detail else p.name for p in report.probes if p.status == "skipped"
    ]
    more = f"; skipped: {', '.join(skipped)}" if skipped else ""
    return Text(f"{len(report.probes)} probes: {', '.join(parts)}{more}", style="dim")


def _subject(source: Path, code: Path | None, declared: str) -> str:
    file = code or (Path(declared) if declared else None)
    return f"{file.name} under {source}" if file is not None else f"{source}, no functions of your own"


def _look_command(source: Path, code: Path | None, overrides: list[str]) -> str:
    parts = ["yolotui", "inspect", str(source)]
    parts += ["--code", str(code)] if code is not None else []
    for override in overrides:
        parts += ["--set", override]
    return shlex.join(parts)


def _progress() -> Callable[[str], None] | None:
    """What is being probed, on stderr, rewritten in place where that is a terminal."""
    if not sys.stderr.isatty():
        return None

    def tell(what: str) -> None:
        print(f"\r\x1b[Kprobing {what} ...", end="\r\x1b[K", file=sys.stderr, flush=True)

    return tell
