from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import UserError
from engine.runs import events as ev
from engine.runs.compare import compare
from engine.runs.listing import run_info
from engine.runs.store import RunFolder, RunWriter

from .steps import ended, evaluated, started, step


def made(path: Path, means: list[float], config: str, term: str = "lbox", **meta: object) -> Path:
    folder = RunFolder.create(path)
    folder.config.write_text(config)
    writer = RunWriter(folder)
    writer.set_meta(**meta)
    writer.write([started(terms=(term, "total")), *[step(n, {term: 1.0, "total": 2.0}) for n in range(1, 4)]])
    for k, mean in enumerate(means):
        writer.write(
            [ev.EpochDone(k + 1, (k + 1) * 100, {term: ev.Summary(mean, 0.5, 0, mean)}, 1, 1, 1.0, 0.1)]
        )
    writer.write(
        [
            evaluated(1, 0.8),
            evaluated(2, 0.9, best=False),
            evaluated(3, 0.7, best=False),
            ended("finished", 3),
        ]
    )
    writer.close()
    return path


def test_settings_parting_and_best(tmp_path: Path) -> None:
    config = '[data]\nformat = "voc"\nroot = "/sets/VOC2012"\n[train]\nlr = {}\nseed = 0\n'
    one = made(tmp_path / "one", [5, 4, 3, 2, 1, 1], config.format(0.1), code_sha256="a" * 64)
    two = made(tmp_path / "two", [5, 4, 2, 1, 0, 0], config.format(0.2), code_sha256="b" * 64)
    found = compare([one, two])
    assert [(row.name, row.values) for row in found.differences] == [
        ("train.lr", ("0.1", "0.2")),
        ("code.sha256", ("a" * 12, "b" * 12)),
    ]
    parting = found.pairs[0].partings["lbox"]
    assert (parting.first, parting.difference) == (3, 1.0)
    assert found.pairs[0].first == ("lbox", 3)
    assert found.runs[0].best is not None
    assert found.runs[0].best.map50 == 0.8
    assert any("may not measure the same" in note for note in found.notes)


def test_different_terms_and_no_epochs_are_said(tmp_path: Path) -> None:
    found = compare([made(tmp_path / "a", [1, 2], ""), made(tmp_path / "b", [1, 2], "", "loss_box")])
    assert found.terms == ["lbox", "total", "loss_box"]
    assert any(note == "not in every run: loss_box of b" for note in found.notes)
    assert any("no finished epoch of a term in common" in note for note in found.notes)


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    one = made(tmp_path / "one", [1], "")
    with pytest.raises(UserError, match="two runs or more"):
        compare([one])
    with pytest.raises(UserError, match="given twice"):
        compare([one, tmp_path / "x" / ".." / "one"])
    with pytest.raises(UserError, match="no such run"):
        compare([one, tmp_path / "two"])


def test_a_listed_run_tells_its_data_total_and_time(tmp_path: Path) -> None:
    info = run_info(
        made(tmp_path / "one", [1], '[data]\nformat = "voc"\nroot = "/sets/VOC2012"\n\n[model]\n')
    )
    assert (info.data, info.last_total, info.best_map50, info.best_map50_95) == ("voc VOC2012", 2.0, 0.8, 0.4)
    assert info.seconds == 3 * 0.25 + 3 * 2.5
    assert not info.alive
