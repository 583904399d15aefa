"""The app in a real pseudo-terminal: what it draws, how it ends, and what it leaves behind."""

from __future__ import annotations

import json
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest
from own_terminal import own_terminal

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
"""Seconds; only reached where something hangs, or the machine is very busy."""


class Terminal:
    """A program in a pseudo-terminal, and the screen that a user would see."""

    def __init__(self, folder: Path, size: tuple[int, int] = (80, 24), **options: object) -> None:
        self.screen = pyte.Screen(*size)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        arguments = [str(ROOT / "tests" / "tui" / "pty_app.py"), str(folder), json.dumps(options)]
        environment = own_terminal(PYTHONPATH=str(ROOT))
        self.child = pexpect.spawn(
            sys.executable, arguments, dimensions=size[::-1], env=environment, timeout=PATIENCE
        )
        self.before = termios.tcgetattr(self.child.child_fd)

    def read(self) -> None:
        while True:
            try:
                data = self.child.read_nonblocking(65536, timeout=0.05)
            except (pexpect.TIMEOUT, pexpect.EOF):
                return
            self.raw += data
            self.stream.feed(data)

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def until(self, condition: Callable[[str], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.read()
            if condition(self.text):
                return
        raise AssertionError(f"never saw {what}:\n{self.text}")

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    def press(self, keys: str) -> None:
        self.child.send(keys)

    def wait(self) -> int:
        """The exit code, or minus the signal."""
        end = time.monotonic() + PATIENCE
        while self.child.isalive():
            self.read()
            assert time.monotonic() < end, f"did not end:\n{self.text}"
        self.read()
        self.after = termios.tcgetattr(self.child.child_fd)
        self.child.close()
        status = self.child.exitstatus
        return status if status is not None else -(self.child.signalstatus or 0)

    def assert_restored(self) -> None:
        """Alternate screen left, cursor shown, mouse reports and bracketed paste off, in that order last."""
        for on, off, what in (
            (b"\x1b[?1049h", b"\x1b[?1049l", "alternate screen"),
            (b"\x1b[?25l", b"\x1b[?25h", "cursor hidden"),
            (b"\x1b[?1000h", b"\x1b[?1000l", "mouse reports"),
            (b"\x1b[?2004h", b"\x1b[?2004l", "bracketed paste"),
        ):
            if on in self.raw:
                assert self.raw.rfind(off) > self.raw.rfind(on), f"{what} left on"
        assert b"\x1b[?1049h" in self.raw, "the app never took the screen"
        assert self.after[:4] == self.before[:4], "the line discipline is not as it was"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(**options: object) -> Terminal:
        folder = tmp_path / f"demo-{len(opened) + 1}"
        folder.mkdir()
        terminal = Terminal(folder, **options)
        terminal.folder = folder  # type: ignore[attr-defined]
        opened.append(terminal)
        return terminal

    yield open_terminal
    for terminal in opened:
        if terminal.child.isalive():
            terminal.child.kill(signal.SIGKILL)
        terminal.child.close(force=True)


def shown_step(text: str) -> int:
    """The iteration in the header."""
    words = text.split()
    return int(words[words.index("iter") + 1].split("/")[0])


def test_pause_step_quit(start: Callable[..., Terminal]) -> None:
    terminal = start(step_seconds=0.05, steps_per_epoch=10_000)
    terminal.until(lambda text: "▶ training" in text and "5 total" in text, "a training")
    terminal.press(" ")
    terminal.until(lambda text: "‖ paused" in text, "the pause")
    time.sleep(0.5)
    terminal.read()
    before = shown_step(terminal.text)
    terminal.press("n")
    terminal.until(lambda text: shown_step(text) == before + 1, "one more step")
    time.sleep(0.5)
    terminal.read()
    assert shown_step(terminal.text) == before + 1
    assert "space resume" in terminal.text
    terminal.press("q")
    assert terminal.wait() == 0
    terminal.assert_restored()
    tail = terminal.raw[terminal.raw.rfind(b"\x1b[?1049l") :].decode()
    assert "stopped at step " in tail
    assert "/config.toml --run" in tail
    assert " --resume" in tail


def test_the_whole_terminal_is_used_and_a_resize_followed(start: Callable[..., Terminal]) -> None:
    terminal = start(size=(132, 40), step_seconds=0.05)
    terminal.until(lambda _: terminal.screen.display[0].rstrip().endswith("▶ training"), "a training")
    terminal.until(lambda _: len(terminal.screen.display[0].rstrip()) > 125, "a header of the whole width")
    terminal.until(lambda _: "leave" in terminal.screen.display[39], "the footer in the last row")
    terminal.resize(90, 30)
    terminal.until(lambda _: "leave" in terminal.screen.display[29], "the footer in the new last row")
    terminal.until(
        lambda _: 85 < len(terminal.screen.display[0].rstrip()) <= 90, "the header in the new width"
    )
    terminal.press("q")
    assert terminal.wait() == 0


def test_a_finished_run_stays_until_q(start: Callable[..., Terminal]) -> None:
    terminal = start(epochs=2, steps_per_epoch=5)
    terminal.until(lambda text: "✔ finished" in text and "next: yolotui eval" in text, "the end")
    assert "q leaves" in terminal.text
    terminal.press("q")
    assert terminal.wait() == 0
    terminal.assert_restored()


def test_ctrl_c_stops_with_a_checkpoint(start: Callable[..., Terminal]) -> None:
    terminal = start(step_seconds=0.05)
    terminal.until(lambda text: "▶ training" in text, "a training")
    terminal.press("\x03")
    assert terminal.wait() == 130
    terminal.assert_restored()
    assert b"stopped at step " in terminal.raw


def test_second_ctrl_c_leaves_at_once(start: Callable[..., Terminal]) -> None:
    terminal = start(step_seconds=600)
    terminal.until(lambda text: "▶ training" in text, "a training")
    terminal.press("\x03")
    terminal.until(lambda text: "stopping after this step" in text, "the answer to the first")
    terminal.press("\x03")
    assert terminal.wait() == 130
    terminal.assert_restored()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_stop_gracefully(start: Callable[..., Terminal], number: int, code: int) -> None:
    terminal = start(step_seconds=0.05)
    terminal.until(lambda text: "▶ training" in text, "a training")
    terminal.child.kill(number)
    assert terminal.wait() == code
    terminal.assert_restored()
    assert b"stopped at step " in terminal.raw


def test_a_lost_terminal_stops_the_training(start: Callable[..., Terminal]) -> None:
    terminal = start(step_seconds=0.05)
    terminal.until(lambda text: "▶ training" in text, "a training")
    terminal.child.kill(signal.SIGHUP)
    assert terminal.wait() == 129


def test_a_terminal_that_is_closed_leaves_no_process_behind(start: Callable[..., Terminal]) -> None:
    terminal = start(step_seconds=0.05)
    terminal.until(lambda text: "▶ training" in text, "a training")
    terminal.child.ptyproc.fileobj.close()
    end = time.monotonic() + PATIENCE
    while terminal.child.isalive():
        assert time.monotonic() < end, "still there, without a terminal"
        time.sleep(0.05)
    assert terminal.child.exitstatus == 129


def test_a_crash_in_the_training_thread(start: Callable[..., Terminal]) -> None:
    terminal = start(crash_at=20)
    terminal.until(lambda text: "✘ failed" in text and "crashed with ZeroDivisionError" in text, "the crash")
    terminal.press("q")
    assert terminal.wait() == 1
    terminal.assert_restored()
    log = (terminal.folder / "log.txt").read_text()  # type: ignore[attr-defined]
    assert "Traceback" in log
    assert "the fake training was told to crash" in log


def test_a_crash_of_the_view_saves_the_training(start: Callable[..., Terminal]) -> None:
    terminal = start(step_seconds=0.05, mode="view-crash")
    assert terminal.wait() == 1
    terminal.assert_restored()
    tail = terminal.raw[terminal.raw.rfind(b"\x1b[?1049l") :].decode()
    assert "yolotui: the view failed: ZeroDivisionError" in tail
    assert "Traceback" not in tail
    assert "Traceback" in (terminal.folder / "log.txt").read_text()  # type: ignore[attr-defined]


def test_native_writes_do_not_reach_the_screen(start: Callable[..., Terminal]) -> None:
    terminal = start(step_seconds=0.05, mode="native-noise")
    terminal.until(lambda text: "▶ training" in text, "a training")
    log = terminal.folder / "log.txt"  # type: ignore[attr-defined]
    terminal.until(lambda _: log.exists() and "and stdout" in log.read_text(), "the noise in the log")
    terminal.press("q")
    assert terminal.wait() == 0
    assert b"native noise" not in terminal.raw
    assert "native noise on stderr" in log.read_text()


def test_headless_stops_on_sigterm(start: Callable[..., Terminal]) -> None:
    terminal = start(mode="headless", step_seconds=0.05)
    terminal.until(lambda text: "anchors by k-means" in text, "the first lines")
    terminal.child.kill(signal.SIGTERM)
    assert terminal.wait() == 143
    assert b"stopped at step " in terminal.raw
    assert b"\x1b[?1049h" not in terminal.raw
