"""``yolotui check --run``: what a run's monitors found, and whether it failed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine/runs"))
from steps import started

from engine.runs.events import FindingRaised, RunEnded, Status
from engine.runs.folder import RunFolder
from engine.runs.store import RunWriter
from tui.commands.check_run import check_run

WARNING = FindingRaised("warning", "monitor.finite", "loop", "lobj is nan", 3)


@pytest.mark.parametrize("status", ["failed", "finished"])
def test_a_run_that_failed_is_not_passed(
    status: Status, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = RunWriter(RunFolder.create(tmp_path / "run"))
    writer.write([started(), WARNING, RunEnded(status, "late.py:82: division by zero", 3, 1, 1)])
    writer.close()
    failed = status == "failed"
    assert check_run(tmp_path / "run", as_json=False) == int(failed)
    text = capsys.readouterr().out
    assert ("the run failed: late.py:82: division by zero" in text) == failed
    assert ("✘" if failed else "✔") in text
    assert check_run(tmp_path / "run", as_json=True) == int(failed)
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], bool(document["failed"])) == (not failed, failed)
