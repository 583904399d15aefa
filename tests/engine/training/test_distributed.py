"""Two processes that train together: the same as one on the whole batch, and a good end whatever happens."""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from engine.config import load_config
from engine.data.draws import Draw, part_is_empty, part_of
from engine.errors import UserError
from engine.runs.requests import RequestWriter
from engine.runs.snapshots import load
from engine.runs.store import RunFolder, RunReader
from engine.training.checkpoint import load_state
from engine.training.distributed import Group
from engine.training.gradients import GradientSum
from engine.training.launch import check_batch, check_devices
from engine.training.session import Training

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import tiny_voc

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


# parts of a batch


@given(st.integers(1, 40), st.integers(1, 9))
def test_the_parts_of_a_batch_are_the_batch(images: int, ranks: int) -> None:
    batch = [Draw(0, index, False) for index in range(images)]
    parts = [part_of(batch, rank, ranks) for rank in range(ranks)]
    empty = [part_is_empty(images, rank, ranks) for rank in range(ranks)]
    assert [draw for part, none in zip(parts, empty, strict=True) if not none for draw in part] == batch
    assert not empty[0]
    assert all(part == batch[-1:] for part, none in zip(parts, empty, strict=True) if none)
    sizes = [len(part) * (not none) for part, none in zip(parts, empty, strict=True)]
    assert max(sizes) - min(sizes) <= 1


def test_a_batch_that_cannot_be_shared_out(tiny_config: Path) -> None:
    config = load_config(tiny_config)
    check_batch(config, 2)
    with pytest.raises(UserError, match=r"batch_size = 4 cannot be shared out evenly among 3.*multiple of 3"):
        check_batch(config, 3)


def test_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not check_devices("cpu", 3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert check_devices("auto", 2)
    with pytest.raises(UserError, match=r"3 processes need 3 GPUs, there are 2.*--nproc 2"):
        check_devices("auto", 3)
    with pytest.raises(UserError, match="names one device for 2"):
        check_devices("cuda:1", 2)


def test_the_command_refuses_at_once(tiny_config: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tui.cli", "train", str(tiny_config), "--nproc", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot be shared out" in done.stderr


def test_a_parameter_without_gradient_is_left_alone_until_one_comes() -> None:
    """Of a group of one: the sum is the gradient itself."""
    layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))
    parameters = list(layers.parameters())
    gradients = GradientSum(parameters, Group(), bucket_bytes=40)

    def backward(*used: int) -> list[bool]:
        for parameter in parameters:
            parameter.grad = None
        with gradients.gathering():
            sum(layers[k](torch.ones(3)).sum() for k in used).backward()
        return [layer.weight.grad is not None for layer in layers]

    assert backward(0, 2) == [True, False, True]
    assert layers[0].weight.grad.tolist() == [[1.0] * 3] * 3
    assert not gradients.changed
    assert backward(0) == [True, False, True]  # another rank may have one
    assert layers[2].weight.grad.abs().sum() == 0
    assert backward(0, 1, 2) == [True, False, True]
    assert gradients.changed
    gradients.agree_anew()
    assert backward(0, 1, 2) == [True, True, True]
    assert not gradients.changed


# the same as one process


@pytest.mark.slow
def test_two_ranks_learn_what_one_does(tmp_path: Path) -> None:
    """Every reduction and a user's own loss; images without objects, so that a rank has no positives; an odd
    number of images, so that at the end of an epoch one has no image."""
    sys.path.insert(0, str(HERE))
    import rank_steps

    config = tiny_voc.write_config(tmp_path, val="")
    (tmp_path / "voc/ImageSets/Main/train.txt").write_text("\n".join(f"{k:03d}" for k in range(9)) + "\n")
    for k in (0, 2, 4, 5, 7):
        path = tmp_path / f"voc/Annotations/{k:03d}.xml"
        head, _, _ = path.read_text().partition("<object>")
        path.write_text(head + "</annotation>")
    code = tmp_path / "net.py"
    code.write_text(rank_steps.CODE)
    (tmp_path / "own_loss.py").write_text(rank_steps.CODE + rank_steps.LOSS)
    with one_launch(tmp_path):
        subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
                *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--local-addr", "localhost"),
                *(str(HERE / "rank_steps.py"), str(config), str(code), str(tmp_path / "two.json")),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
        )
    two = json.loads((tmp_path / "two.json").read_text())
    first, second = two.pop("same everywhere")
    assert first == second
    one = rank_steps.run(config, code, Group())
    for case in rank_steps.CASES:
        for mine, theirs in zip(two[case][:-1], one[case][:-1], strict=True):
            assert mine[: len(theirs)] == pytest.approx(theirs, rel=1e-5, abs=1e-7), case
        assert two[case][-1] == pytest.approx(one[case][-1], rel=1e-6), case
    assert [row[-2] for row in two["batch"][:5]] == [2, 2, 2, 2, 1]


# the command


@contextlib.contextmanager
def one_launch(folder: Path) -> Iterator[None]:
    """Nothing that was started is left."""
    try:
        yield
    finally:
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or [])
            if str(folder) in line and process.pid != os.getpid():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


OURS = ("-m", "tui.cli", "train", "--nproc", "2", "--headless")
TORCHRUN = (
    *("-m", "torch.distributed.run", "--nproc-per-node", "2", "--local-addr", "localhost"),
    *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "--", "tui.cli", "train"),
)


def start(config: Path, run: Path, *more: str, by: Sequence[str] = OURS) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *by, str(config), "--run", str(run), *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rank_process(parent: int, rank: int) -> psutil.Process:
    for process in psutil.Process(parent).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.environ().get("RANK") == str(rank):
                return process
    raise AssertionError(f"no rank {rank}")


def until(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_run_in_two_processes(tiny_config: Path, tmp_path: Path) -> None:
    """From start to end, scored by both; then its steps against one process's."""
    more = ("--set", "train.optimizer=sgd", "--set", "train.ema=0.9")
    with one_launch(tmp_path):
        out, err = start(tiny_config, tmp_path / "two", *more).communicate(timeout=120)
    assert "finished at step 9" in out, (out, err)
    assert err == ""
    with RunReader(RunFolder.open(tmp_path / "two")) as reader:
        steps, scored = reader.new_steps(0), reader.evaluations()
        assert reader.status().state == "finished"
    assert [(step.step, step.images) for step in steps] == [(k, 4) for k in range(1, 10)]
    assert len(scored) == 3
    assert all(one.images == 6 for one in scored)
    overrides = ["train.optimizer=sgd"]
    Training(
        load_config(tiny_config, overrides), tmp_path / "one", source=tiny_config, code=None, resume=False
    ).run()
    with RunReader(RunFolder.open(tmp_path / "one")) as reader:
        alone = reader.new_steps(0)
    # batch norm takes its statistics from each rank's images: near, not equal
    assert [step.objects for step in steps] == [step.objects for step in alone]
    assert steps[0].terms["total"] == pytest.approx(alone[0].terms["total"], rel=0.2)


@pytest.mark.slow
def test_all_ranks_end_where_nothing_becomes_better(tiny_config: Path, tmp_path: Path) -> None:
    """What is learnt is nothing; batches of other sizes on the way."""
    more = ("train.epochs=99", "train.patience=1", "train.lr=1e-12", "augment.multi_scale=0.5")
    with one_launch(tmp_path):
        sets = [part for each in more for part in ("--set", each)]
        out, err = start(tiny_config, tmp_path / "run", *sets).communicate(timeout=120)
    assert "ended early: a validation without" in out, (out, err)
    assert err == ""
    with RunReader(RunFolder.open(tmp_path / "run")) as reader:
        status, scored = reader.status(), reader.evaluations()
    assert status.state == "finished"
    assert 1 < len(scored) < 9
    assert not scored[-1].best


@pytest.mark.slow
def test_a_rank_that_is_killed_ends_the_run_which_goes_on_later(tiny_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with one_launch(tmp_path):
        process = start(tiny_config, run, "--set", "train.epochs=3000")
        until(RunFolder(run).last_state.is_file, process)
        victim = rank_process(process.pid, 1)
        victim.send_signal(signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.count("\n") == 1, err
    assert f"rank 1 (process {victim.pid}) is gone" in err
    assert "--resume" in err
    with RunReader(RunFolder.open(run)) as reader:
        assert reader.status().state == "failed"
    training = Training(
        load_config(tiny_config, ["train.epochs=3000"]), run, source=tiny_config, code=None, resume=True
    )
    training.control.stop()
    ended = training.run()
    assert ended.status == "stopped"
    assert ended.step % 3 == 0  # of the last epoch's end, where the checkpoint was


@pytest.mark.slow
def test_under_torchrun_it_obeys_what_is_asked_through_its_folder(tiny_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with one_launch(tmp_path):
        process = start(tiny_config, run, "--set", "train.epochs=3000", by=TORCHRUN)
        until(RunFolder(run).last_state.is_file, process)
        ask = RequestWriter(RunFolder.open(run)).send
        with RunReader(RunFolder.open(run)) as reader:
            ask("pause")
            until(lambda: reader.status().doing == "paused", process)
            before = reader.last_step()
            ask("snapshot")
            ask("step", count=2)
            until(lambda: reader.last_step() == before + 2, process)
        ask("stop")
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"stopped at step {before + 2:,}" in out, (out, err)
    assert len(list((run / "snapshots").glob("*.safetensors"))) == 1


@pytest.mark.slow
def test_ctrl_c_ends_all_with_a_checkpoint(tiny_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with one_launch(tmp_path):
        process = start(tiny_config, run, "--set", "train.epochs=3000", "--set", "train.eval_every=0")
        until(RunFolder(run).last_state.is_file, process)
        others = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "stopped at step" in out, (out, err)
        _, alive = psutil.wait_procs(others, timeout=5)
        assert not alive


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "tgkill"), reason="needs Linux's tgkill")
def test_ctrl_c_is_heeded_whichever_thread_the_system_gives_it_to(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that waits has threads of its libraries; a signal to it may be delivered to one of them."""
    run = tmp_path / "run"
    with one_launch(tmp_path):
        monkeypatch.setenv("OMP_NUM_THREADS", "2")  # of which OpenBLAS makes a thread
        process = start(tiny_config, run, "--set", "train.epochs=3000", "--set", "train.eval_every=0")
        until(RunFolder(run).last_state.is_file, process)
        others = [each.id for each in psutil.Process(process.pid).threads() if each.id != process.pid]
        if not others:
            pytest.skip("it has no other thread here")
        ctypes.CDLL(None).tgkill(process.pid, others[-1], signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "stopped at step" in out, (out, err)


NAN_AT_RANK_1 = """
import os

def loss(pred, targets, head):
    loss.calls = getattr(loss, "calls", 0) + 1
    value = (pred[..., 0].sigmoid() - targets[..., 0]).square().sum() / len(pred)
    if loss.calls > 4 and os.environ.get("RANK") == "1":
        value = value * float("nan")
    return {"lobj": value, "total": value}
"""


@pytest.mark.slow
def test_a_loss_that_is_not_finite_at_one_rank(tiny_config: Path, tmp_path: Path) -> None:
    """No rank applies the step; the snapshot is of the part that is to blame."""
    code = tmp_path / "bad.py"
    code.write_text(NAN_AT_RANK_1)
    with one_launch(tmp_path):
        _, err = start(tiny_config, tmp_path / "run", "--code", str(code)).communicate(timeout=120)
    assert "failed: lobj is nan at step 4" in err, err
    assert err.count("\n") == 1
    (snapshot,) = (load(path) for path in (tmp_path / "run/snapshots").glob("*.safetensors"))
    assert math.isnan(snapshot.terms["lobj"])
    assert len(snapshot.paths) == 2
    assert all(Path(path).name in err for path in snapshot.paths)
    state = load_state(tmp_path / "run/checkpoints/last.state.pt")
    assert state["step"] == 3
    assert all(bool(value.isfinite().all()) for value in state["model"].values())
