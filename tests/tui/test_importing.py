"""``yolotui import``: what it tells of a log."""

from __future__ import annotations

from pathlib import Path

from engine.runs.importing.importer import import_log
from tui.commands.importing import report_lines


def test_a_log_without_epochs_shows_what_was_understood(tmp_path: Path) -> None:
    text = "".join(f"it {n} | loss {30 / n:.3f} | cls 1.2{n % 10} lr 0.001\n" for n in range(1, 31))
    (tmp_path / "log.txt").write_text(text)
    done = import_log(tmp_path / "log.txt", root=tmp_path / "runs")
    lines = [line.plain.split() for line in report_lines(done, 80)]
    assert ["loss", "30.0", "1.00"] in lines
    assert ["cls", "1.21", "1.20"] in lines
    assert ["lr", "0.00100", "0.00100"] in lines
