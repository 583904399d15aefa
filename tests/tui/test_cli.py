"""The command line as a program: what it prints where, and how it exits."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_voc
import torch

from tui.cli import _explain
from tui.console import memory_lacking

ROOT = Path(__file__).resolve().parents[2]


def yolotui(*arguments: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tui.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code, *arguments],
        cwd=cwd, input=stdin, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train"],
        ["detect"],
        ["eval"],
        ["runs"],
        ["data"],
        ["darknet"],
        ["data", "demo"],
        ["data", "check"],
    ],
    ids=" ".join,
)
def test_every_command_has_help_with_an_example(arguments: list[str], tmp_path: Path) -> None:
    done = yolotui(*arguments, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert "yolotui" in done.stdout.split("Example")[1]
    assert not done.stderr


def test_help_does_not_pay_for_torch(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from tui.cli import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'usage' not in sys.modules\n"
        "print([name for name in ('torch', 'cv2', 'textual') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


def test_runs_does_not_pay_for_torch(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from tui.cli import main\n"
        "try: main(['runs'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'cv2', 'textual') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "no runs in runs/" in done.stdout
    assert done.stderr.strip() == "[]"


def test_version(tmp_path: Path) -> None:
    done = yolotui("--version", cwd=tmp_path)
    assert done.stdout.startswith("yolotui ")
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], ["trian", "train"]),
        (["train"], ["CONFIG", "train --help"]),
        (["train", "nothere.toml"], ["nothere.toml", "no such config file"]),
        (["train", "a.toml", "--no-such-option"], ["--no-such-option"]),
        (["detect", "nothere.jpg"], ["nothere.jpg", "no such file"]),
        (["detect", "film.mp4"], ["film.mp4", "an empty file"]),
        (["detect", "empty"], ["empty", "holds no image and no video"]),
        (["detect", "a.jpg", "--conf", "3"], ["--conf"]),
        (["eval"], ["CONFIG"]),
        (["eval", "--truth", "a.json"], ["--detections"]),
        (["eval", "--truth", "a.json", "--detections", "b.json", "--tta"], ["--tta"]),
        (["eval", "--truth", "a.json", "--detections", "b.json"], ["a.json"]),
        (["runs", "nothere"], ["nothere"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bad_usage_is_one_line_and_exit_2(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    done = yolotui(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not done.stdout
    for word in words:
        assert word in done.stderr


def test_an_unknown_key_is_named_with_its_nearest(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[train]\nepoch = 3\n")
    done = yolotui("train", "a.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "a.toml" in done.stderr
    assert "train.epochs" in done.stderr


def test_an_unexpected_exception_is_one_line_and_a_log(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import tui.commands.runs\n"
        "def broken(*_): raise ZeroDivisionError('boom')\n"
        "tui.commands.runs.show_runs = broken\n"
        "from tui.cli import main\n"
        "main(['runs'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "ZeroDivisionError: boom" in done.stderr
    log = Path(done.stderr.split()[-1])
    assert "Traceback" in log.read_text()
    log.unlink()


@pytest.mark.slow
def test_sigterm_ends_a_check_and_is_not_the_functions_fault(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def decode(pred, head):\n    open('there', 'w').close()\n    while True:\n        pass\n"
    )
    config = tiny_voc.write_config(tmp_path / "tiny")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tui.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "check", str(config), "--code", "mine.py"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        end = time.monotonic() + 60
        while not (tmp_path / "there").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (143, "", "")


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tui.cli import main; main()"
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" runs | true; echo "${PIPESTATUS[0]}"', sys.executable, code],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.stdout.strip() in ("0", "141")


@pytest.mark.slow
def test_eval_of_coco_files_prints_one_json_document(shared_data: Path, tmp_path: Path) -> None:
    case = shared_data / "cases" / "coco-fakebbox100"
    done = yolotui(
        "eval", "--truth", str(case / "instances_val2014_100.json"),
        "--detections", str(case / "instances_val2014_fakebbox100_results.json"), "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert abs(document["coco"]["AP"] - 0.505) < 0.001
    assert set(document) >= {
        "map50",
        "map50_95",
        "voc07_map50",
        "voc_map50",
        "coco",
        "per_class",
        "images",
        "objects",
    }


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: torch.empty(2**48), "there is no memory for 1048576.0 GiB at once"),
        (lambda: np.empty(2**47), "there is no memory for 1.00 PiB at once"),
        (lambda: torch.zeros(2).reshape(3), ""),
    ],
)
def test_what_does_not_fit_in_memory_is_said_in_one_line(
    ask: Callable[[], object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        ask()
    assert memory_lacking(caught.value) == said
    if said:
        assert _explain(caught.value) == 2
        assert capsys.readouterr().err.startswith(f"yolotui: {said}; take a smaller input")
