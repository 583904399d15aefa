"""``yolotui check --run``: what the monitors and contracts found while a run was trained or recorded."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from engine.doctor.findings import SEVERITIES, Finding
from engine.runs.events import FindingRaised
from engine.runs.folder import RunFolder
from engine.runs.reader import RunReader

from ..console import FAILED, print_json
from .check import INDENT, NARROWEST, WIDEST, finding_lines


def check_run(path: Path, as_json: bool) -> int:
    """Exit 1 where an error stands or the run failed. Raises ``UserError`` where there is no run."""
    with RunReader(RunFolder.open(path)) as reader:
        raised = list({(f.probe, f.function, f.channels): f for f in reader.findings()}.values())
        gone = {cleared.probe: cleared.step for cleared in reader.cleared()}
        steps, status = reader.last_step(), reader.status()
    raised.sort(key=lambda f: (SEVERITIES.index(f.severity), f.step))
    cleared = {id(f): gone[f.probe] for f in raised if gone.get(f.probe, -1) >= f.step}
    standing = [f for f in raised if id(f) not in cleared]
    failed = status.message if status.state == "failed" else ""
    ok = not failed and not any(f.severity == "error" for f in standing)
    if as_json:
        made = [{**_finding(f).to_json(), "step": f.step, "cleared": cleared.get(id(f))} for f in raised]
        document = {"ok": ok, "run": str(path), "steps": steps, "failed": failed, "findings": made}
        print_json(document)
        return 0 if ok else FAILED
    console = Console(highlight=False, soft_wrap=True)
    width = max(NARROWEST, min(WIDEST, console.width))
    console.print(_verdict(path, standing, ok, steps))
    if failed:
        console.print(f"{INDENT}the run failed: {failed}", markup=False)
    for f in raised:
        lines = finding_lines(_finding(f), "", width)
        until = f", gone at step {cleared[id(f)]:,}" if id(f) in cleared else ""
        lines[0].append(f"  step {f.step:,}{until}", style="dim")
        console.print()
        for line in lines:
            console.print(line)
    return 0 if ok else FAILED


def _verdict(path: Path, standing: list[FindingRaised], ok: bool, steps: int) -> Text:
    counts = [
        f"{number} {severity}{'s' if number > 1 else ''}"
        for severity in ("error", "warning")
        if (number := sum(f.severity == severity for f in standing))
    ]
    said = ", ".join(counts) or "nothing found"
    style = "bold green" if ok else "bold red"
    return Text.assemble((f"{'✔' if ok else '✘'} {said}", style), f"  {path}, {steps:,} steps")


def _finding(f: FindingRaised) -> Finding:
    return Finding(
        f.severity,
        f.probe,
        f.function,
        f.message,
        tensor=f.tensor or "parameters",  # type: ignore[arg-type]
        channels=tuple(f.channels),
        expected=f.expected,
        got=f.got,
        fix=f.fix,
        file=f.file,
        line=f.line,
    )
