from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from engine.errors import UserError
from engine.export.formats import export
from engine.runs.store import RunFolder, RunReader

NEEDED = "tensorboard.backend.event_processing.event_accumulator"


def test_tensorboards_own_reader_reads_it(run: RunFolder, tmp_path: Path) -> None:
    accumulators = pytest.importorskip(NEEDED, reason="needs the extra tensorboard")
    export(run.path, "tensorboard", tmp_path / "out")
    export(run.path, "tensorboard", tmp_path / "out")  # again: the file is replaced, nothing stands twice
    found = accumulators.EventAccumulator(str(tmp_path / "out"), size_guidance={"scalars": 0})
    found.Reload()
    box = found.Scalars("loss/lbox")
    assert [event.step for event in box] == list(range(1, 46))
    assert [event.value for event in box] == pytest.approx([1 / n for n in range(1, 46)])
    assert [event.step for event in found.Scalars("loss/late")] == list(range(11, 46))
    assert math.isnan(found.Scalars("loss/total")[6].value)
    assert [event.value for event in found.Scalars("ap/map50")] == pytest.approx([0.3, 0.6])
    assert [event.step for event in found.Scalars("epoch/total")] == [20, 40]
    with RunReader(run) as reader:
        begun = reader.begun()
    assert begun is not None
    assert all(0 <= event.wall_time - begun < 60 for event in box)


def test_without_the_package_one_line_says_how(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UserError, match=r"pip install 'yolotui\[tensorboard\]'"):
        export(run.path, "tensorboard", tmp_path / "out")
