"""The store gives back what was written: events, columns, summaries, runs in a folder."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.errors import UserError
from engine.runs import codec
from engine.runs import events as ev
from engine.runs.environment import environment
from engine.runs.store import (
    Cursor,
    RunFolder,
    RunReader,
    RunWriter,
    list_runs,
    newest,
    next_free,
)

from .steps import TERMS, ended, epoch_done, evaluated, started, step


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "demo-1")


def filled(folder: RunFolder, events: list[ev.Event]) -> RunReader:
    writer = RunWriter(folder)
    writer.write(events)
    writer.close()
    return RunReader(folder)


def test_every_event_comes_back_as_it_was(folder: RunFolder) -> None:
    finding = ev.FindingRaised("error", "p", "decode", "wrong", 2, "pred", ("x", "w"), "a", "b", "c")
    written: list[ev.Event] = [
        started(),
        ev.StateChanged("training"),
        step(1),
        ev.LogLine("info", "zwölf\nZeilen"),
        step(2),
        finding,
        ev.FindingCleared("p", 2),
        ev.SnapshotTaken(2, "snapshots/2.safetensors", "key"),
        epoch_done(1),
        evaluated(1, 0.75),
        ev.CheckpointSaved(2, 1, "checkpoints/last.safetensors", True),
        ended("finished", 2),
    ]
    with filled(folder, written) as reader:
        assert reader.events(Cursor())[0] == written
        assert reader.started() == written[0]
        assert reader.epochs() == [epoch_done(1)]
        assert reader.evaluations() == [evaluated(1, 0.75)]
        assert reader.findings() == [finding]
        assert [line.text for line in reader.log()] == ["zwölf\nZeilen"]
        assert reader.status().state == "finished"
        assert reader.status().message == "as asked"
        assert reader.new_steps(1) == [step(2)]


def test_columns_hold_every_field_of_a_step(folder: RunFolder) -> None:
    with filled(folder, [step(1), step(2), step(3)]) as reader:
        columns = reader.columns()
        fields = set(ev.StepDone.__dataclass_fields__) - {"step", "terms"}
        assert set(columns) == fields | {"elapsed"} | set(TERMS)
        assert reader.terms() == list(TERMS)
        assert reader.series("memory").mean.tolist() == [11_489_234_567] * 3
        assert reader.series("elapsed").mean.tolist() == [0.25, 0.5, 0.75]
        assert reader.series("lbox").mean.tolist() == [0.25, 0.5, 0.75]


def test_a_term_that_comes_later_or_is_left_out(folder: RunFolder) -> None:
    events = [
        step(1, {"a": 1.0}),
        step(2, {"a": math.nan, "b": 5.0}),
        step(3, {"b": 6.0}),
        step(4, {"c": 1.0}),
    ]
    with filled(folder, list(events)) as reader:
        assert [done.terms.keys() for done in reader.new_steps(0)] == [{"a"}, {"a", "b"}, {"b"}, {"c"}]
        series = reader.series("a")
        assert series.x.tolist() == [1, 2]
        assert series.bad.tolist() == [0, 1]
        coarse = reader.series("b", points=1)
        assert coarse.mean.tolist() == [5.0, 6.0]


def test_summaries_equal_those_of_all_steps(folder: RunFolder) -> None:
    values = np.random.default_rng(0).normal(size=5000)
    values[[7, 8, 9, 10, 4000]] = [math.nan, math.inf, -math.inf, math.nan, math.nan]
    writer = RunWriter(folder)
    start = 0
    while start < len(values):  # odd portions, so that open buckets are met in every state
        size = 1 + (start * 7919) % 97
        writer.write([step(n + 1, {"v": values[n]}) for n in range(start, min(start + size, len(values)))])
        start += size
    with RunReader(folder) as reader:
        for points in (1, 2, 3, 10, 100, 400, 1300):
            series = reader.series("v", points=points)
            assert len(series) <= 4 * points
            assert len(series) >= min(points, len(values))
            width = 4 ** round(math.log(len(values) / len(series), 4))
            for k in range(len(series)):
                part = values[k * width : (k + 1) * width]
                good = part[np.isfinite(part)]
                assert series.finite[k] == len(good)
                assert series.bad[k] == len(part) - len(good)
                if len(good):
                    assert series.mean[k] == pytest.approx(good.mean(), abs=1e-12)
                    assert series.low[k] == good.min()
                    assert series.high[k] == good.max()
                else:
                    assert np.isnan(series.mean[k])
            assert series.finite.sum() + series.bad.sum() == len(values)
    writer.close()


def test_a_part_of_the_steps(folder: RunFolder) -> None:
    with filled(folder, [step(n) for n in range(1, 3001)]) as reader:
        near = reader.series("lcls", 1000, 1010, points=100)
        assert near.x.tolist() == list(range(1000, 1011))
        far = reader.series("lcls", 1000, 2000, points=10)
        assert far.x[0] <= 1064
        assert far.x[-1] >= 1940
        assert len(reader.series("lcls", 5000, 6000)) == 0
        with pytest.raises(UserError, match=r"no column 'lcsl'; there are: epoch, .*lcls"):
            reader.series("lcsl")


def test_steps_that_a_log_gave_only_now_and_then(folder: RunFolder) -> None:
    with filled(folder, [step(n) for n in range(50, 100_001, 50)]) as reader:
        assert reader.step_count() == 2000
        assert reader.last_step() == 100_000
        series = reader.series("lcls", points=100)
        assert 100 <= len(series) <= 400
        assert np.all(np.diff(series.x) > 0)
        assert series.x[-1] <= 100_000


def everything(folder: RunFolder) -> dict[str, list[tuple[object, ...]]]:
    """All that a resumed run must have in common with one that was never interrupted."""
    with RunReader(folder) as reader:
        query = reader._connection.execute
        return {
            "steps": query("SELECT * FROM steps").fetchall(),
            "pyramid": query("SELECT key, first, last FROM pyramid").fetchall(),
            "columns": query("SELECT * FROM columns").fetchall(),
            "epochs": list(reader.epochs()),  # type: ignore[arg-type]
        }


@pytest.mark.parametrize("cut", [0, 1, 3, 4, 5, 15, 16, 17, 63, 64, 65, 250])
def test_going_back_and_on_equals_never_having_stopped(tmp_path: Path, cut: int) -> None:
    straight = RunFolder.create(tmp_path / "straight")
    filled(straight, [*[step(n) for n in range(1, 301)], epoch_done(3)]).close()
    resumed = RunFolder.create(tmp_path / "resumed")
    lost: list[ev.Event] = [step(n, {**step(n).terms, "total": -1.0}) for n in range(cut + 1, 281)]
    filled(resumed, [*[step(n) for n in range(1, cut + 1)], *lost, epoch_done(2)]).close()
    filled(resumed, [started(first_step=cut), step(cut + 1)]).close()
    filled(resumed, [*[step(n) for n in range(cut + 2, 301)], epoch_done(3)]).close()
    mine, theirs = everything(resumed), everything(straight)
    if cut >= 200:
        mine["epochs"] = mine["epochs"][1:]
    assert mine == theirs
    with RunReader(resumed) as one, RunReader(straight) as other:
        for points in (1, 5, 30):
            assert one.series("total", points=points).mean == pytest.approx(
                other.series("total", points=points).mean, rel=1e-12
            )
            assert (
                one.series("total", points=points).low.tolist()
                == other.series("total", points=points).low.tolist()
            )
        assert one.series("elapsed").mean[-1] == pytest.approx(300 * 0.25)


def test_going_back_keeps_the_log_and_the_snapshots(folder: RunFolder) -> None:
    before: list[ev.Event] = [
        started(),
        *[step(n) for n in range(1, 11)],
        ev.LogLine("info", "kept"),
        ev.SnapshotTaken(9, "snapshots/9", "spike"),
        ev.FindingRaised("warning", "spike", "loop", "later", step=9),
        ev.FindingRaised("warning", "spike", "loop", "earlier", step=3),
        ev.FindingCleared("spike", 10),
    ]
    filled(folder, before).close()
    again = [
        started(first_step=5),
        *[step(n) for n in range(6, 9)],
        ev.SnapshotTaken(9, "snapshots/9", "spike"),
    ]
    with filled(folder, again) as reader:
        assert [line.text for line in reader.log()] == ["kept"]
        assert [taken.step for taken in reader.snapshots()] == [9]
        assert [finding.message for finding in reader.findings()] == ["earlier"]
        assert not [event for event in reader.events(Cursor())[0] if isinstance(event, ev.FindingCleared)]
        assert reader.last_step() == 8
        # A reader from the beginning meets every step once, in order.
        seen = [event.step for event in reader.events(Cursor())[0] if isinstance(event, ev.StepDone)]
        assert seen == list(range(1, 9))


def test_following_a_run_in_small_portions(folder: RunFolder) -> None:
    writer = RunWriter(folder)
    reader = RunReader(folder)
    cursor, seen = Cursor(), []
    portions: list[list[ev.Event]] = [
        [started(), step(1), step(2)],
        [],
        [ev.LogLine("info", "between"), *[step(n) for n in range(3, 40)], epoch_done(1)],
        [started(first_step=30), step(31), ended("stopped", 31)],
    ]
    for portion in portions:
        writer.write(portion)
        while True:
            fresh, cursor = reader.events(cursor, limit=7)
            if not fresh:
                break
            seen += fresh
    assert seen == [event for portion in portions for event in portion]
    assert reader.newest_cursor() == cursor
    assert [done.step for done in reader.events(reader.newest_cursor(steps=2))[0]] == [30, 31]
    reader.close()
    writer.close()


def test_a_step_number_used_twice_is_counted_not_stored(folder: RunFolder) -> None:
    with filled(folder, [step(1), step(2), step(2), step(1)]) as reader:
        assert reader.step_count() == 2
        assert "2 steps" in reader.log()[0].text


def test_a_failed_write_leaves_all_as_it_was(folder: RunFolder) -> None:
    writer = RunWriter(folder)
    writer.write([step(n) for n in range(1, 7)])
    with pytest.raises(ValueError, match="could not convert"):
        writer.write([step(7), step(8, {"total": "much"})])  # type: ignore[dict-item]
    assert writer.columns
    writer.write([step(n) for n in range(7, 20)])
    writer.close()
    with RunReader(folder) as reader:
        assert [done.step for done in reader.new_steps(0)] == list(range(1, 20))
        assert reader.series("grad_norm", points=1).finite.sum() == 19


def test_meta_and_environment(folder: RunFolder) -> None:
    writer = RunWriter(folder)
    writer.set_meta(environment=environment("cpu"), config="/somewhere/demo.toml")
    writer.close()
    with RunReader(folder) as reader:
        meta = reader.meta()
    assert meta["config"] == "/somewhere/demo.toml"
    assert meta["environment"]["device"] == "cpu"
    assert meta["environment"]["numpy"] == np.__version__


def test_the_store_does_not_pay_for_torch() -> None:
    code = (
        "import sys, engine.runs.store, engine.runs.environment as e; "
        "e.environment(); assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_folders_are_made_numbered_and_recognised(tmp_path: Path) -> None:
    assert next_free(tmp_path / "runs", "demo").name == "demo-1"
    for name in ("demo-2", "demo-10", "demo-x", "other-30"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert next_free(tmp_path / "runs", "demo").name == "demo-11"
    with pytest.raises(UserError, match="is not a run"):
        RunFolder.open(tmp_path / "runs" / "demo-2")
    with pytest.raises(UserError, match="no such run"):
        RunFolder.open(tmp_path / "runs" / "demo-3")
    folder = RunFolder.create(tmp_path / "runs" / "demo-2")
    filled(folder, [started()]).close()
    with pytest.raises(UserError, match="holds a run already"):
        RunFolder.create(tmp_path / "runs" / "demo-2")
    assert folder.weights is None
    folder.last.touch()
    assert folder.weights == folder.last
    folder.best.touch()
    assert folder.weights == folder.best


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "none") == []
    config = tmp_path / "demo.toml"
    endings: list[list[ev.Event]] = [[ended("finished", 5)], [], [ended("stopped", 5)]]
    for k, ending in enumerate(endings):
        folder = RunFolder.create(tmp_path / f"demo-{k}")
        writer = RunWriter(folder)
        writer.set_meta(config=str(config))
        events = [
            started(),
            *[step(n) for n in range(1, 6)],
            epoch_done(1),
            evaluated(1, 0.8),
            evaluated(2, 0.7, best=False),
        ]
        writer.write([*events, *ending])
        writer.close()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "run.db").write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    os.utime(broken / "run.db", (0, 0))
    infos = list_runs(tmp_path)
    assert [(info.name, info.status) for info in infos] == [
        ("demo-2", "stopped"),
        ("demo-1", "dead"),
        ("demo-0", "finished"),
        ("broken", "damaged"),
    ]
    assert (infos[0].steps, infos[0].epochs, infos[0].total_epochs) == (5, 1, 3)
    assert (infos[0].map50, infos[0].best_map50) == (0.7, 0.8)
    assert newest(tmp_path) == RunFolder(tmp_path / "demo-2")
    assert newest(tmp_path, config=config, unfinished=True) == RunFolder(tmp_path / "demo-2")
    assert newest(tmp_path, config=tmp_path / "other.toml") is None


def test_a_newer_store_is_refused_with_its_remedy(folder: RunFolder) -> None:
    writer = RunWriter(folder)
    writer._connection.execute("UPDATE meta SET value = '99' WHERE name = 'version'")
    writer.close()
    with pytest.raises(UserError, match=r"newer version \(store 99\); update"):
        RunReader(folder)
    with pytest.raises(UserError, match="newer version"):
        RunWriter(folder)


def test_a_finding_keeps_its_place_and_an_older_store_has_none() -> None:
    raised = ev.FindingRaised("error", "contract.missing", "optimizer", "never moves", file="/a/b.py", line=7)
    assert codec.decode(*codec.encode(raised)) == raised
    assert raised.place == "b.py:7"
    kind, body = codec.encode(raised)
    old = json.loads(body)
    del old["file"], old["line"]
    before = codec.decode(kind, json.dumps(old))
    assert (before.file, before.line, before.place) == ("", None, "")
