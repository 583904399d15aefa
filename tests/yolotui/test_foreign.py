"""A detector that somebody else wrote, recorded: its folder has its own ``engine.py`` and ``tui.py``."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import UserError
from engine.inspection.frames import Frame
from engine.runs.folder import RunFolder
from engine.runs.listing import run_info
from engine.runs.reader import RunReader
from engine.runs.requests import RequestWriter
from engine.runs.snapshots import list_snapshots, load

SCRIPT = Path(__file__).resolve().parents[1] / "foreign" / "train.py"


def start(run: Path, *options: str, limit: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(run), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=run.parent,
        preexec_fn=limit,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, str, str]:
    out, error = process.communicate(timeout=seconds)
    return process.returncode, out, error


def wait_until(seen: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.05)


def last_step(run: Path) -> int:
    if not (run / "run.db").exists():
        return 0
    try:
        with RunReader(RunFolder.open(run)) as reader:
            return reader.last_step()
    except UserError:
        return 0  # its tables are being made


@pytest.mark.slow
def test_a_whole_run_its_epochs_and_its_tensors(tmp_path: Path) -> None:
    code, out, error = finish(start(tmp_path / "run", "--steps", "40"))
    assert (code, error) == (0, "")
    assert out.splitlines()[-1] == "done"
    info = run_info(tmp_path / "run")
    assert (info.status, info.steps, info.epochs) == ("finished", 40, 2)
    with RunReader(RunFolder.open(tmp_path / "run")) as reader:
        assert reader.terms() == ["box", "obj", "cls", "total"]
        first, last = (epoch.summaries["total"].mean for epoch in reader.epochs())
        assert last < first
        assert reader.findings() == []
    # read through its declared layout: the box of each positive slot is the truth of its image
    frame = Frame(load(list_snapshots(tmp_path / "run" / "snapshots")[-1][1]))
    targets, positives = frame.targets(0), frame.positives(0)
    assert targets is not None
    assert positives is not None
    assert int(positives.sum()) == 4
    for b, y, x, a in positives.nonzero().tolist():
        ((corners, label),) = frame.truths(b)
        cx, cy, w, h = (targets[b, y, x, a, 2:6] * 96).tolist()
        assert corners == pytest.approx((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), abs=1e-3)
        assert label == targets[b, y, x, a, 1]
        image = frame.image(b)
        assert image is not None
        assert image[int(cy), int(cx)].tolist() == [255 * label] * 3
    assert frame.grad(0) is not None


@pytest.mark.slow
def test_a_full_disk_warns_and_the_training_goes_on(tmp_path: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (110_000, 110_000))

    code, out, error = finish(start(tmp_path / "run", "--steps", "40", limit=limit))
    assert code == 0, error
    assert out.splitlines()[-1] == "done"
    said = error.splitlines()
    assert said
    assert all(line.startswith("yolotui: ") for line in said), error
    assert len(said) <= 2, "once for the snapshots, once for the store"


@pytest.mark.slow
def test_kill_leaves_a_run_that_can_be_read(tmp_path: Path) -> None:
    process = start(tmp_path / "run", "--steps", "100000")
    wait_until(lambda: last_step(tmp_path / "run") > 20)
    process.kill()
    process.communicate(timeout=10)
    info = run_info(tmp_path / "run")
    assert info.status == "dead"
    assert info.steps > 20
    with RunReader(RunFolder.open(tmp_path / "run")) as reader:
        assert len(reader.series("total", points=100_000)) == info.steps
    assert load(list_snapshots(tmp_path / "run" / "snapshots")[0][1]).step == 1


@pytest.mark.slow
def test_ctrl_c_ends_a_paused_loop_and_the_run_says_so(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(run, "--steps", "100000")
    wait_until(lambda: last_step(run) > 3)
    RequestWriter(RunFolder.open(run)).send("pause")

    def paused() -> bool:
        with RunReader(RunFolder.open(run)) as reader:
            return reader.status().doing == "paused"

    wait_until(paused)
    process.send_signal(signal.SIGINT)
    _, _, error = finish(process, 20)
    assert "KeyboardInterrupt" in error
    info = run_info(run)
    assert (info.status, info.message) == ("stopped", "KeyboardInterrupt")
