"""The store between processes: killed writers, many readers, suspended ones, disks that refuse."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from engine.errors import UserError
from engine.runs import events as ev
from engine.runs import liveness, schema
from engine.runs.store import Cursor, RunFolder, RunReader, RunWriter, StoreSubscriber, list_runs

from .steps import ended, started, step

REPOSITORY = Path(__file__).parents[3]
WRITER = """
import sys, itertools
from pathlib import Path
sys.path[:0] = [{repository!r}, {tests!r}]
from steps import step, started
from engine.runs import schema
from engine.runs.store import RunFolder, RunWriter
if {shared}:
    schema.file_system = lambda path: "nfs4"
writer = RunWriter(RunFolder(Path({folder!r})))
begin = writer.last_step + 1
writer.write([started(first_step=writer.last_step)])
for first in itertools.count(begin, 13):
    writer.write([step(n) for n in range(first, first + 13)])
    if first == begin:
        print("ready", flush=True)
"""


@contextmanager
def writing_process(folder: RunFolder, shared: bool = False) -> Iterator[subprocess.Popen[str]]:
    code = WRITER.format(
        repository=str(REPOSITORY), tests=str(Path(__file__).parent), folder=str(folder.path), shared=shared
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"  # a portion is written
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("shared", [False, True], ids=["wal", "without-wal"])
def test_a_killed_writer_leaves_whole_transactions(tmp_path: Path, shared: bool) -> None:
    folder = RunFolder.create(tmp_path / "demo-1")
    last = 0
    for round_ in range(3):
        with writing_process(folder, shared) as process:
            with RunReader(folder) as reader:
                deadline = time.monotonic() + 20
                while reader.last_step() < last + 200 + 37 * round_ and time.monotonic() < deadline:
                    time.sleep(0.01)
                assert reader.status().state == "running"
            process.send_signal(signal.SIGKILL)
            process.wait()
        with RunReader(folder) as reader:
            assert reader.status().state == "dead"
            assert reader.last_step() > last
            last = reader.last_step()
            assert last % 13 == 0
            assert reader.step_count() == last
            assert reader.new_steps(0, limit=last) == [step(n) for n in range(1, last + 1)]
            for points in (1, 10, 50):
                series = reader.series("lcls", points=points)
                assert series.finite.sum() == last
                assert np.average(series.mean, weights=series.finite) == pytest.approx((last + 1) / 16)
            assert ("no write-ahead log" in "".join(line.text for line in reader.log())) == shared
        assert [info.status for info in list_runs(tmp_path)] == ["dead"]


def test_ten_readers_while_one_writes(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "demo-1")
    with writing_process(folder):
        problems: list[str] = []

        def follow() -> None:
            try:
                read_on()
            except Exception as error:
                problems.append(repr(error))

        def read_on() -> None:
            with RunReader(folder) as reader:
                cursor, seen = Cursor(), 0
                for _ in range(30):
                    fresh, cursor = reader.events(cursor)
                    for event in fresh:
                        if isinstance(event, ev.StepDone):
                            if event.step != seen + 1:
                                problems.append(f"{event.step} after {seen}")
                            seen = event.step
                    counts = reader.series("lcls", points=20).finite.sum()
                    if counts % 13:
                        problems.append(f"a summary in the middle of a transaction: {counts}")

        threads = [threading.Thread(target=follow) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert problems == []


def test_a_slow_writer_is_told_from_a_dead_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "SILENT_AFTER", 0.2)
    folder = RunFolder.create(tmp_path / "demo-1")
    with writing_process(folder) as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        with RunReader(folder) as reader:
            status = reader.status()
            assert status.state == "silent"
            assert status.pid == process.pid
            assert status.silent_seconds > 0.2
            with pytest.raises(UserError, match=f"is being written by process {process.pid}"):
                RunWriter(folder)
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
            assert reader.status().state == "dead"
    RunWriter(folder).close()


def test_a_writer_elsewhere_counts_as_dead_after_long_silence() -> None:
    def elsewhere(ago: float) -> liveness.Writer:
        return liveness.Writer("another-host.invalid", 1, 0.0, time.time() - ago, False)

    assert elsewhere(5).alive
    assert not elsewhere(5).silent
    assert elsewhere(60).silent
    assert not elsewhere(600).alive


def test_a_reused_process_number_is_not_the_writer() -> None:
    me = liveness.Writer.here()
    assert me.alive
    assert me.is_here
    assert not liveness.Writer(me.host, me.pid, me.process_start - 1000, me.beat, False).alive


def test_a_finished_run_is_one_file_and_opens_read_only(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "demo-1")
    writer = RunWriter(folder)
    writer.write([started(), step(1), ended("finished", 1)])
    writer.close()
    assert [file.name for file in folder.path.iterdir() if file.is_file()] == ["run.db"]
    folder.database.chmod(0o444)
    folder.path.chmod(0o555)
    try:
        with RunReader(folder) as reader:
            assert reader.new_steps(0) == [step(1)]
        if os.geteuid() != 0:
            with pytest.raises(UserError, match="cannot be written"):
                RunWriter(folder)
    finally:
        folder.path.chmod(0o755)


def test_the_subscriber_writes_everything_without_being_waited_for(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "demo-1")
    feed, warnings = ev.Feed(), []
    subscriber = StoreSubscriber(feed.subscribe(), RunWriter(folder), warnings.append, interval=0.05)
    feed.emit(started())
    for n in range(1, 2001):
        feed.emit(step(n))
    with RunReader(folder) as reader:
        deadline = time.monotonic() + 10
        while reader.last_step() < 2000 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert reader.last_step() == 2000
    feed.emit(step(2001))
    feed.emit(ended("stopped", 2001))
    subscriber.close()
    subscriber.close()
    assert warnings == []
    with RunReader(folder) as reader:
        assert reader.status().state == "stopped"
        assert reader.last_step() == 2001


def test_a_disk_that_refuses_is_told_once_and_caught_up_with(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "demo-1")
    feed, warnings = ev.Feed(), []
    writer = RunWriter(folder)
    pages = writer._connection.execute("PRAGMA page_count").fetchone()[0]
    writer._connection.execute(f"PRAGMA max_page_count={pages + 2}")  # a full disk, as SQLite sees it
    subscriber = StoreSubscriber(feed.subscribe(), writer, warnings.append, interval=0.02)
    for n in range(1, 1001):
        feed.emit(step(n))
    deadline = time.monotonic() + 10
    while not warnings and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    assert len(warnings) == 1
    assert "full" in warnings[0]
    assert subscriber.failed
    writer._connection.execute("PRAGMA max_page_count=100000")
    feed.emit(step(1001))
    subscriber.close()
    with RunReader(folder) as reader:
        assert reader.step_count() == 1001


def test_one_bad_event_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "demo-1")
    feed, warnings = ev.Feed(), []
    subscriber = StoreSubscriber(feed.subscribe(), RunWriter(folder), warnings.append)
    for event in (step(1), step(2, {"total": "much"}), step(3), ended("finished", 3)):  # type: ignore[dict-item]
        feed.emit(event)
    subscriber.close()
    assert len(warnings) == 1
    with RunReader(folder) as reader:
        assert [done.step for done in reader.new_steps(0)] == [1, 3]
        assert reader.status().state == "finished"


def test_a_file_system_between_machines_gets_no_wal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "file_system", lambda path: "nfs4")
    folder = RunFolder.create(tmp_path / "demo-1")
    writer = RunWriter(folder)
    writer.write([step(1)])
    assert writer._connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    with RunReader(folder) as reader:
        assert "nfs4" in reader.log()[0].text
    writer.close()


def test_a_writer_killed_before_it_made_its_tables(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "demo-1")
    folder.database.touch()
    assert list_runs(tmp_path)[0].status == "damaged"
    RunWriter(folder).close()
    assert list_runs(tmp_path)[0].status == "empty"


def test_not_a_store(tmp_path: Path) -> None:
    (tmp_path / "run.db").write_text("a text file " * 1000)
    with pytest.raises(UserError, match=r"cannot be read: file is not a database"):
        RunReader(RunFolder.open(tmp_path))
    with pytest.raises(UserError, match="cannot be written"):
        RunWriter(RunFolder(tmp_path))


@pytest.mark.slow
def test_a_million_steps_are_opened_and_drawn(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "demo-1")
    writer = RunWriter(folder)
    clock = time.perf_counter()
    for first in range(1, 1_000_001, 50_000):
        writer.write([step(n) for n in range(first, first + 50_000)])
    writing, clock = time.perf_counter() - clock, time.perf_counter()
    writer.write([step(1_000_001)])
    one, clock = time.perf_counter() - clock, time.perf_counter()
    writer.close()
    closing, clock = time.perf_counter() - clock, time.perf_counter()
    RunWriter(folder).close()
    opening, clock = time.perf_counter() - clock, time.perf_counter()
    touched = 0

    def count(*_: object) -> int:
        nonlocal touched
        touched += 1000
        return 0

    with RunReader(folder) as reader:
        reader._connection.set_progress_handler(count, 1000)
        series = reader.many_series(["lcls", "lbox", "lobj", "total"], points=200)
        drawing = time.perf_counter() - clock
        assert all(200 <= len(part) <= 800 for part in series.values())
        assert series["lcls"].finite.sum() == 1_000_001
    # Work of the database's machine, not time: a scan of the steps would be tens of millions.
    assert touched < 200_000
    size = folder.database.stat().st_size / 1e6
    print(
        f"\n1,000,000 steps: written in {writing:.1f} s, {size:.0f} MB; one more {one * 1e3:.1f} ms, "
        f"closed {closing * 1e3:.0f} ms, reopened {opening * 1e3:.0f} ms; "
        f"opened and 4 series read {drawing * 1e3:.1f} ms"
    )


def test_errors_of_the_disk_come_out_of_the_writer(tmp_path: Path) -> None:
    writer = RunWriter(RunFolder.create(tmp_path / "demo-1"))
    writer._connection.execute("PRAGMA query_only=ON")
    with pytest.raises(sqlite3.OperationalError):
        writer.write([step(1)])
    writer._connection.execute("PRAGMA query_only=OFF")
    writer.write([step(1)])
    assert writer.last_step == 1
    writer.close()
