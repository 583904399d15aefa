from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tui.terminal import HUNG_UP

ROOT = Path(__file__).resolve().parents[2]
HANG_UP = """
import os, signal, sys, threading, time
from types import SimpleNamespace
from tui.terminal import leaving_on_hang_up

gone, lock = threading.Event(), threading.Lock()

def let_go():
    with lock:
        time.sleep(0.3)
    gone.set()

def hang_up():
    os.kill(os.getpid(), signal.SIGHUP)

app = SimpleNamespace(thread=threading.Thread(target=gone.wait), let_go=let_go, remember_view=print)
if sys.argv[1] == "begun":
    app.thread.start()
if sys.argv[1] == "twice":
    threading.Timer(0.1, hang_up).start()
with leaving_on_hang_up(app):
    hang_up()
    time.sleep(20)
"""


@pytest.mark.parametrize("when", ["begun", "not yet", "twice"])
def test_a_lost_line_ends_the_process_whenever_and_however_often_it_is_told(when: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANG_UP, when], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (HUNG_UP, "")
