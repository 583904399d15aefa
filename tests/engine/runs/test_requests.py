"""Requests reach the process that writes a run, once each, whoever asks and whatever else lies there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UserError
from engine.runs.folder import RunFolder
from engine.runs.requests import KINDS, RequestReader, RequestWriter, parse, requests_file

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run")


def test_each_kind_arrives_once_in_order_with_its_values(folder: RunFolder) -> None:
    reader, writer = RequestReader(folder), RequestWriter(folder)
    sent = [writer.send(kind) for kind in KINDS if kind not in ("step", "lr")]  # type: ignore[arg-type]
    sent += [writer.send("step", count=3), writer.send("lr", factor=0.5)]
    assert reader.poll() == sent
    assert reader.poll() == []
    assert [str(request) for request in sent[-2:]] == [
        "do 3 steps",
        "multiply the scheduled learning rate by 0.5",
    ]
    assert str(os.getpid()) in sent[0].who


def test_what_was_asked_before_the_writer_started_is_not_obeyed(folder: RunFolder) -> None:
    writer = RequestWriter(folder)
    writer.send("stop")
    reader = RequestReader(folder)
    asked = writer.send("pause")
    assert reader.poll() == [asked]


def test_a_second_writer_of_the_run_does_not_get_the_first_ones_requests(folder: RunFolder) -> None:
    first, writer = RequestReader(folder), RequestWriter(folder)
    writer.send("pause")
    assert len(first.poll()) == 1
    writer.send("stop")  # the first has died meanwhile
    assert RequestReader(folder).poll() == []


def test_no_file_and_no_folder_are_no_error(folder: RunFolder, tmp_path: Path) -> None:
    reader = RequestReader(folder)
    requests_file(folder).unlink()
    assert reader.poll() == []
    asked = RequestWriter(folder).send("pause")
    assert reader.poll() == [asked]
    assert RequestReader(RunFolder(tmp_path / "none")).poll() == []


def test_a_half_line_waits_and_one_cut_off_spoils_nothing(folder: RunFolder) -> None:
    reader = RequestReader(folder)
    line = json.dumps({"id": "a", "kind": "pause"}).encode()
    with requests_file(folder).open("ab", buffering=0) as file:
        file.write(line[:10])
        assert reader.poll() == []
        file.write(line[10:] + b"\n")
        assert [request.kind for request in reader.poll()] == ["pause"]
        file.write(line[:10])
    asked = RequestWriter(folder).send("resume")
    assert reader.poll() == [asked]


def test_the_same_request_twice_is_obeyed_once(folder: RunFolder) -> None:
    reader = RequestReader(folder)
    RequestWriter(folder).send("step")
    line = requests_file(folder).read_bytes()
    with requests_file(folder).open("ab") as file:
        file.write(line)
    assert len(reader.poll()) == 1


def test_nonsense_without_an_end_is_passed_over(folder: RunFolder) -> None:
    reader = RequestReader(folder)
    with requests_file(folder).open("ab") as file:
        file.write(b"x" * 200_000)
    asked = RequestWriter(folder).send("pause")
    found = [request for _ in range(6) for request in reader.poll()]
    assert found == [asked]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "rm"},
        {"kind": ["pause"]},
        {"kind": "step", "count": 0},
        {"kind": "step", "count": True},
        {"kind": "step", "count": 10**9},
        {"kind": "lr", "factor": float("nan")},
        {"kind": "lr", "factor": -1},
        {"kind": "lr", "factor": 10**400},
        {"kind": "lr", "factor": "2"},
        {"id": 3},
        {"at": "soon"},
    ],
)
def test_values_that_make_no_sense_are_not_obeyed(changes: dict[str, object]) -> None:
    assert parse(json.dumps({"id": "a", "kind": "pause"}).encode()) is not None
    assert parse(json.dumps({"id": "a", "kind": "pause", **changes}).encode()) is None


def test_who_cannot_write_on_anothers_terminal() -> None:
    request = parse(json.dumps({"id": "a", "kind": "pause", "who": "eve\x1b[2J\n"}).encode())
    assert request is not None
    assert request.who == "eve[2J"


@given(st.binary(max_size=200))
def test_any_bytes_are_survived(line: bytes) -> None:
    parse(line)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), st.lists, max_leaves=5))
def test_any_json_is_survived(value: object) -> None:
    parse(json.dumps(value).encode())
    parse(json.dumps({"id": "a", "kind": "lr", "factor": value, "count": value, "at": value}).encode())


def test_a_folder_that_cannot_be_written_says_why(folder: RunFolder) -> None:
    requests_file(folder).mkdir()  # even root cannot write to this
    with pytest.raises(UserError, match="cannot be written"):
        RequestWriter(folder).send("pause")
    assert RequestReader(folder).poll() == []


def test_refusal_is_told_before_anything_is_asked(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RequestWriter(folder)
    assert writer.refusal() == ""
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert "cannot be written by" in writer.refusal()


def test_several_processes_ask_at_once_and_one_hangs(folder: RunFolder) -> None:
    """Four processes send 50 requests each; one of them is then suspended, still holding its writer."""
    program = f"""
        import os, signal, sys
        from pathlib import Path
        from engine.runs.folder import RunFolder
        from engine.runs.requests import RequestWriter
        writer = RequestWriter(RunFolder(Path({str(folder.path)!r})))
        for k in range(50):
            writer.send("step", count=k + 1)
        if sys.argv[1] == "0":
            os.kill(os.getpid(), signal.SIGSTOP)
    """
    reader = RequestReader(folder)
    children = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), str(k)], cwd=ROOT) for k in range(4)
    ]
    try:
        for child in children[1:]:
            assert child.wait(60) == 0
        found = reader.poll()
        while len(found) < 200:  # the suspended one sends all of its own before it stops
            found += reader.poll()
    finally:
        for child in children:
            child.kill()
            child.wait()
    by_process: dict[str, list[int]] = {}
    for request in found:
        by_process.setdefault(request.who, []).append(request.count)
    assert sorted(map(len, by_process.values())) == [50, 50, 50, 50]
    assert all(counts == list(range(1, 51)) for counts in by_process.values())


def test_asking_costs_no_torch() -> None:
    program = (
        "import sys, engine.runs.requests; assert not {'torch', 'numpy', 'sqlite3'} & set(sys.modules.keys())"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
