from __future__ import annotations

import csv
from pathlib import Path

import pytest

from engine.errors import UserError
from engine.export.formats import FORMATS, export
from engine.runs.store import RunFolder


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_steps_read_back_to_the_bit(run: RunFolder, tmp_path: Path) -> None:
    export(run.path, "csv", tmp_path / "out")
    rows = read(tmp_path / "out" / "steps.csv")
    assert [int(row["step"]) for row in rows] == list(range(1, 46))
    assert [float(row["lbox"]) for row in rows] == [1 / n for n in range(1, 46)]
    assert [row["late"] for row in rows[:10]] == [""] * 10
    assert float(rows[10]["late"]) == 11 * 0.1
    assert rows[6]["total"] == "nan"
    assert (rows[0]["epoch"], rows[44]["epoch"], rows[44]["iteration"]) == ("1", "3", "5")
    times = [float(row["time"]) for row in rows]
    assert times == sorted(times)


def test_epochs_and_evaluations(run: RunFolder, tmp_path: Path) -> None:
    export(run.path, "csv", tmp_path / "out")
    epochs = read(tmp_path / "out" / "epochs.csv")
    assert [(row["epoch"], row["step"], row["total_mean"]) for row in epochs] == [
        ("1", "20", "1.5"),
        ("2", "40", "1.5"),
    ]
    scores = read(tmp_path / "out" / "evaluations.csv")
    assert [float(row["ap50 cat, <b>"]) for row in scores] == [0.25, 0.5]
    assert scores[0]["split"] == "val"
    assert scores[0]["best"] == "1"


def test_what_cannot_be_exported_is_said(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"no format 'xml'; there are: {', '.join(FORMATS)}"):
        export(run.path, "xml", tmp_path / "out")
    with pytest.raises(UserError, match="no such run"):
        export(tmp_path / "none", "csv")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        export(run.path, "csv", tmp_path / "file")
