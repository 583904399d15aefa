"""What is proposed at a run's end can be done with that run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine/runs"))
from steps import started

from engine.runs.events import CheckpointSaved, FindingRaised, RunEnded
from engine.runs.folder import RunFolder
from engine.runs.store import RunWriter
from tui.outcome import outcome
from tui.runstate import RunState, finding_line


@pytest.mark.parametrize(
    ("meta", "next_one"),
    [
        ({"recorded": True}, "yolotui export"),
        ({"imported": {"source": "a"}}, "yolotui export"),
        ({}, "--resume"),
    ],
)
def test_only_a_run_of_ours_is_gone_on_with(meta: dict[str, object], next_one: str, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    writer = RunWriter(folder)
    writer.set_meta(**meta)
    writer.close()
    state = RunState()
    state.apply([CheckpointSaved(7, 1, "last", False), RunEnded("stopped", "on request", 7, 1, 0)])
    _, advice = outcome(state, folder.path)
    assert next_one in advice


def test_a_run_of_several_processes_goes_on_with_as_many(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "my run")
    RunWriter(folder).close()
    for processes, several in ((1, ""), (4, " --nproc 4")):
        state = RunState()
        state.apply([started(processes=processes), CheckpointSaved(7, 1, "last", False)])
        state.apply([RunEnded("stopped", "on request", 7, 1, 0)])
        _, advice = outcome(state, folder.path)
        place = folder.path
        assert advice == f"next: yolotui train '{place}/config.toml' --run '{place}'{several} --resume"


def test_weights_of_own_functions_are_looked_through_with_them(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    writer = RunWriter(folder)
    writer.set_meta(code=str(tmp_path / "my yolo.py"))
    writer.close()
    state = RunState()
    state.apply([started(), RunEnded("finished", "trained", 300, 2, 0)])
    _, advice = outcome(state, folder.path)
    assert advice == f"next: yolotui detect IMAGE --weights {folder.path} --code '{tmp_path}/my yolo.py'"


def test_an_early_end_says_why(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    RunWriter(folder).close()
    for step, said in ((300, False), (120, True)):
        state = RunState()
        state.apply([started(), RunEnded("finished", "ended early: 3 validations", step, 2, 0)])
        first, _ = outcome(state, folder.path)
        assert ("ended early: 3 validations" in first) == said


def test_a_line_names_the_channels_and_the_place_it_knows() -> None:
    found = FindingRaised("warning", "contract.mode", "loop", "trained in eval mode", tensor="parameters")
    assert finding_line(found) == "loop parameters: trained in eval mode"
    found = FindingRaised(
        "error", "p", "decode", "wrong", tensor="pred", channels=("x", "y"), file="/a/b.py", line=3
    )
    assert finding_line(found) == "decode pred[x y] (b.py:3): wrong"
