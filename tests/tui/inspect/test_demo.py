"""A decode that slices ``pred[..., 0:4]``, found with ``yolotui inspect configs/demo.toml --code FILE``."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pyte
import pytest
from inspecting import inspector, press, screen_text
from own_terminal import own_terminal
from test_sources import SLICED

from tui.inspect.sources import open_steps

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
MOST_KEYS = 10


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo set is drawn, once for these tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "my_yolo.py"
    path.write_text(SLICED)
    return path


def stands_on_the_fault(text: str) -> bool:
    """A cell's rows disagree, and the verdict names function, line and channels."""
    words = " ".join(text.split())
    rows = [line for line in text.splitlines() if re.search(r"[+-]\d\S* <", line)]
    names = [name for name in ("x", "y", "w", "h") if any(re.search(rf"\b{name} ", line) for line in rows)]
    return (
        "`decode` (my_yolo.py:2) reads conf x y w where x y w h are declared" in words
        and re.search(r"here: (x )?(y )?(w )?(h )?·", words) is not None
        and len(names) >= 2
    )


async def test_under_the_pilot(
    cache: Path, code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    steps = open_steps(ROOT / "configs" / "demo.toml", code=code, reference="", overrides=[])
    for size in ((80, 24), (120, 36), (200, 60)):
        async with inspector(steps, tmp_path, size) as (app, pilot):
            for _ in range(MOST_KEYS):
                if stands_on_the_fault(screen_text(app)):
                    break
                await press(pilot, "n")
            assert stands_on_the_fault(screen_text(app)), screen_text(app)


class Terminal:
    """``yolotui`` in a pseudo-terminal."""

    def __init__(self, arguments: list[str], cache: Path, size: tuple[int, int] = (120, 36)) -> None:
        self.screen = pyte.Screen(*size)
        self.stream = pyte.ByteStream(self.screen)
        environment = own_terminal(XDG_CACHE_HOME=str(cache), PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", "tui.cli", *arguments],
            dimensions=size[::-1],
            env=environment,
            cwd=str(ROOT),
            timeout=90,
        )

    def until(self, condition: Callable[[str], bool]) -> str:
        end = time.monotonic() + 90
        while time.monotonic() < end:
            try:
                self.stream.feed(self.child.read_nonblocking(65536, timeout=0.1))
            except pexpect.TIMEOUT:
                pass
            except pexpect.EOF:
                break
            if condition(self.text):
                return self.text
        raise AssertionError(f"it never came:\n{self.text}")

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def status(self) -> int | None:
        self.child.expect(pexpect.EOF)
        self.child.close()
        return self.child.exitstatus  # type: ignore[no-any-return]


def test_in_a_real_terminal(cache: Path, code: Path) -> None:
    terminal = Terminal(["inspect", "configs/demo.toml", "--code", str(code)], cache)
    terminal.until(stands_on_the_fault)
    terminal.child.send("=")
    terminal.until(lambda text: "1 differ." in text)
    terminal.child.send("?")
    terminal.until(lambda text: "One quantity at every cell" in text)
    terminal.child.send("\x1b")
    terminal.until(lambda text: "One quantity at every cell" not in text)
    terminal.child.send("q")
    assert terminal.status() == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_with_its_status(
    cache: Path, code: Path, number: signal.Signals, status: int
) -> None:
    terminal = Terminal(["inspect", "configs/demo.toml", "--code", str(code)], cache, (80, 24))
    terminal.until(stands_on_the_fault)
    terminal.child.kill(number)
    assert terminal.status() == status


def test_bad_input_is_one_line(cache: Path, tmp_path: Path) -> None:
    terminal = Terminal(["inspect", str(tmp_path / "nothing")], cache, (120, 24))
    output = terminal.child.read().decode()
    terminal.child.close()
    assert terminal.child.exitstatus == 2
    assert "no such run or config" in output
    assert "Traceback" not in output
