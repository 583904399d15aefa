"""A writer, real terminals and many readers, some of which are killed or suspended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest
from own_terminal import own_terminal

from engine.errors import UserError
from engine.runs.folder import RunFolder
from engine.runs.reader import RunReader
from engine.runs.requests import RequestWriter
from engine.runs.store import RunWriter
from tui.attached import AttachedRun

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve().parent
ENVIRONMENT = own_terminal(PYTHONPATH=str(HERE.parents[1]))
PATIENCE = 60.0


class Viewer:
    """``attach`` in a pseudo-terminal."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.screen = pyte.Screen(120, 36)
        self.stream = pyte.ByteStream(self.screen)
        program = [str(HERE / "attached_app.py"), str(folder), *arguments]
        self.child = pexpect.spawn(sys.executable, program, dimensions=(36, 120), env=ENVIRONMENT)

    def until(self, text: str) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                self.stream.feed(self.child.read_nonblocking(65536, timeout=0.1))
            except pexpect.TIMEOUT:
                pass
            except pexpect.EOF:
                break
            if text in "\n".join(self.screen.display):
                return
        raise AssertionError(f"never saw {text!r}:\n" + "\n".join(self.screen.display))


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    script = json.dumps({"epochs": 1000, "step_seconds": 0.02})
    program = [sys.executable, str(HERE / "store_writer.py"), str(tmp_path / "demo-1"), script]
    process = subprocess.Popen(program, env=ENVIRONMENT)
    database = tmp_path / "demo-1" / "run.db"
    try:
        wait(database.exists)
        wait(lambda: last_step(tmp_path / "demo-1") > 0)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def view(tmp_path: Path) -> Iterator[Callable[..., Viewer]]:
    opened: list[Viewer] = []

    def open_viewer(*arguments: str) -> Viewer:
        opened.append(Viewer(tmp_path / "demo-1", *arguments))
        return opened[-1]

    yield open_viewer
    for viewer in opened:
        viewer.child.kill(signal.SIGKILL)
        viewer.child.close(force=True)


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.02)


def last_step(path: Path) -> int:
    """0 as long as there is nothing to read."""
    try:
        with RunReader(RunFolder.open(path)) as reader:
            return reader.last_step()
    except UserError:
        return 0


def test_ten_viewers_of_which_some_die_and_hang_and_a_writer_that_is_killed(
    writer: subprocess.Popen[bytes], view: Callable[..., Viewer], tmp_path: Path
) -> None:
    folder = RunFolder.open(tmp_path / "demo-1")
    watchers = [view(), view(), view()]
    readers = [AttachedRun(folder) for _ in range(7)]
    threads = [threading.Thread(target=reader.run) for reader in readers]
    for reader, thread in zip(readers, threads, strict=True):
        reader.read()
        thread.start()
    try:
        for watcher in watchers:
            watcher.until("▶ training")
        killed, suspended, watcher = watchers
        killed.child.kill(signal.SIGKILL)
        suspended.child.kill(signal.SIGSTOP)
        at = last_step(folder.path)
        wait(lambda: last_step(folder.path) > at + 20)

        watcher.child.send(" ")
        watcher.until("‖ paused")
        wait(lambda: all(reader.control.paused for reader in readers))
        at = last_step(folder.path)
        watcher.child.send("n")
        wait(lambda: last_step(folder.path) == at + 1)
        readers[0].control.resume()
        watcher.until("▶ training")
        wait(lambda: last_step(folder.path) > at + 20)

        writer.kill()
        writer.wait()
        watcher.until("✘ dead")
        watcher.until("is gone, last heard of")
        wait(lambda: all(reader.status.state == "dead" for reader in readers))
        assert all("nobody to ask" in reader.refusal for reader in readers)

        with RunReader(folder) as reader:
            steps = [step.step for step in reader.new_steps(0)]
            assert steps == list(range(1, len(steps) + 1))  # nothing is missing
            assert len(steps) > at + 20
        RequestWriter(folder).send("stop")  # nobody is there to hear it, nor will be
        second = RunWriter(folder)  # and nobody holds a lock
        assert second.last_step == len(steps)
        second.close()
        suspended.child.kill(signal.SIGCONT)
        suspended.until("✘ dead")
        watcher.child.send("q")
        watcher.child.expect(pexpect.EOF, timeout=PATIENCE)
        watcher.child.close()
        assert watcher.child.exitstatus == 0
    finally:
        for reader, thread in zip(readers, threads, strict=True):
            reader.close()
            thread.join(5)


def test_a_silent_writer_is_no_dead_one(
    writer: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.runs.liveness.SILENT_AFTER", 1.0)
    run = AttachedRun(RunFolder.open(tmp_path / "demo-1"))
    writer.send_signal(signal.SIGSTOP)
    time.sleep(1.2)
    run._looked_at = 0.0
    run.follow()
    assert run.status.state == "silent"
    run.control.pause()
    assert run.control.note() == "asked to pause"
    writer.send_signal(signal.SIGCONT)
    wait(lambda: (run.follow(), run.control.paused)[1])
    assert run.control.note() == ""
    run.close()
    run.run()


def test_a_lost_line_takes_the_viewer_alone_and_keeps_its_layout(
    writer: subprocess.Popen[bytes], view: Callable[..., Viewer], tmp_path: Path
) -> None:
    layout = tmp_path / "layout.json"
    viewer = view(str(layout))
    viewer.until("▶ training")
    viewer.child.send("l")
    viewer.until("10.0┤")  # lbox from 2 to 10
    viewer.child.kill(signal.SIGHUP)
    viewer.child.expect(pexpect.EOF, timeout=PATIENCE)
    viewer.child.close()
    assert viewer.child.exitstatus == 129
    assert json.loads(layout.read_text())["log"] is True
    at = last_step(tmp_path / "demo-1")
    wait(lambda: last_step(tmp_path / "demo-1") > at)
    assert writer.poll() is None


def test_a_viewer_whose_terminal_goes_without_a_signal_leaves(
    writer: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """Started in a session of its own, it is no foreground process of the terminal that it draws on."""
    master, terminal = os.openpty()
    program = [sys.executable, str(HERE / "attached_app.py"), str(tmp_path / "demo-1")]
    viewer = subprocess.Popen(
        program, stdin=terminal, stdout=terminal, stderr=terminal, env=ENVIRONMENT, start_new_session=True
    )
    os.close(terminal)
    try:
        shown = b""
        while b"demo-1" not in shown:
            shown += os.read(master, 65536)
        os.close(master)
        assert viewer.wait(timeout=PATIENCE) == 129
    finally:
        viewer.kill()
        viewer.wait()
    assert writer.poll() is None
