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

let_go = threading.Event()
app = SimpleNamespace(thread=threading.Thread(target=let_go.wait), let_go=let_go.set, remember_view=print)
if sys.argv[1] == "begun":
    app.thread.start()
with leaving_on_hang_up(app):
    os.kill(os.getpid(), signal.SIGHUP)
    time.sleep(20)
"""


@pytest.mark.parametrize("when", ["begun", "not yet"])
def test_a_lost_line_ends_the_process_whether_or_not_training_has_begun(when: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANG_UP, when], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (HUNG_UP, "")
