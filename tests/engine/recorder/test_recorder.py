"""What a recorded loop leaves in its run's folder, and what the loop never notices."""

from __future__ import annotations

import gc
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engine.config import load_config
from engine.nets.weights import read_tensors
from engine.recorder import watch
from engine.runs.listing import run_info
from engine.runs.reader import RunReader
from engine.runs.requests import RequestWriter
from engine.runs.snapshots import list_snapshots, load

from .runs import HEAD, events, folder_of, kinds, losses, tensors, values, wait_until


def test_losses_alone_make_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with watch(tmp_path / "run") as run:
        for k in range(5):
            assert run.step({"lbox": torch.tensor(float(k)), "total": 2.0 * k, "lcls": np.float32(0.5)})
    path = tmp_path / "run"
    assert values(path, "lbox") == [0, 1, 2, 3, 4]
    assert values(path, "total") == [0, 2, 4, 6, 8]
    (started,) = kinds(path, "RunStarted")
    assert started["terms"] == ["lbox", "lcls", "total"]
    info = run_info(path)
    assert (info.status, info.steps) == ("finished", 5)
    load_config(path / "config.toml")
    assert capsys.readouterr().err == ""


def test_a_value_is_that_of_its_step_whatever_the_loop_does_to_the_tensor_later(tmp_path: Path) -> None:
    with watch(tmp_path / "run") as run:
        running = torch.zeros(())
        for _ in range(3):
            running += 1
            run.step({"total": running})
        running += 100
    assert values(tmp_path / "run", "total") == [1, 2, 3]


@pytest.mark.parametrize("how", ["declared", "called", "numbered"])
def test_epochs_are_told_in_three_ways(tmp_path: Path, how: str) -> None:
    with watch(tmp_path / "run", steps_per_epoch=3 if how == "declared" else 0) as run:
        for epoch in range(2):
            for k in range(3):
                run.step({"total": 10.0 * epoch + k}, epoch=epoch if how == "numbered" else None)
            if how == "called":
                run.epoch()
    ends = kinds(tmp_path / "run", "EpochDone")
    assert [(end["epoch"], end["step"], end["summaries"]["total"]["mean"]) for end in ends] == [
        (1, 3, 1.0),
        (2, 6, 11.0),
    ]
    assert values(tmp_path / "run", "iteration") == [1, 2, 3, 1, 2, 3]


def test_the_first_and_the_last_step_can_be_inspected(tmp_path: Path) -> None:
    with watch(tmp_path / "run", head=HEAD) as run:
        for k in range(4):
            run.step(losses(k), **tensors(k))
    (first, one), (last, four) = list_snapshots(tmp_path / "run" / "snapshots")
    assert (first, last) == (1, 4)
    assert (load(one).reason, load(four).reason) == ("the first step", "the last step")
    given, kept = tensors(3), load(four)
    for name in ("pred", "targets"):
        stored = kept.tensor(name, 0)
        assert stored is not None
        assert torch.equal(stored, given[name])
    assert kept.terms == {"lbox": 3.0, "total": 6.0}
    assert kept.classes == ("cat", "dog")
    assert kept.functions["assign"].path == __file__


def test_the_gradient_is_kept_where_the_loop_retains_it(tmp_path: Path) -> None:
    with watch(tmp_path / "run", head=HEAD) as run:
        given = tensors()
        leaf = given["pred"].requires_grad_()
        given["pred"] = leaf * 1
        given["pred"].retain_grad()
        total = (given["pred"] ** 2).sum()
        total.backward()
        run.step({"total": total}, **given)
    (_, path) = list_snapshots(tmp_path / "run" / "snapshots")[0]
    grad = load(path).tensor("grad", 0)
    assert grad is not None
    assert torch.equal(grad, 2 * leaf.detach())


def test_a_schedule_a_spike_and_nan_are_kept(tmp_path: Path) -> None:
    with watch(tmp_path / "run", head=HEAD, snapshot_every=40) as run:
        for k in range(1, 101):
            value = 50.0 if k == 71 else math.nan if k in (91, 92) else 1.0
            run.step(losses(value), **tensors(k))
            if k in (71, 90, 91):
                wait_until(lambda: not run._worker.left)  # its tensors are held until the next steps' come
                time.sleep(0.15)
    why = {step: load(path).reason for step, path in list_snapshots(tmp_path / "run" / "snapshots")}
    assert why[1] == "the first step"
    assert why[40] == why[80] == "scheduled"
    assert why[71].startswith("lbox leapt to 50")
    assert why[91] == "non-finite: lbox is nan"
    assert 92 not in why
    assert any(80 < step < 91 for step in why), "a good step to hold the bad one against"
    (found,) = [body for body in kinds(tmp_path / "run", "FindingRaised") if "finite" in body["probe"]]
    assert found["step"] == 91


def test_scheduled_snapshots_make_room_and_others_stay(tmp_path: Path) -> None:
    size = 10_000
    with watch(tmp_path / "run", head=HEAD, snapshot_every=2, disk_mb=5 * size / 2**20) as run:
        for k in range(1, 40):
            run.step(losses(), **tensors(k))
    kept = [step for step, _ in list_snapshots(tmp_path / "run" / "snapshots")]
    assert kept[0] == 1
    assert 38 in kept
    assert len(kept) < 8


# what does not fit


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("pred", torch.zeros(2, 5, 5)),
        ("targets", torch.zeros(2, 3, 4, 2, 7)),
        ("images", torch.zeros(2, 9, 9, 9)),
        ("images", torch.zeros(3, 3, 24, 32)),
        ("boxes", torch.zeros(4)),
        ("pred", "nonsense"),
    ],
)
def test_a_tensor_that_does_not_fit_is_left_out_and_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, given: object
) -> None:
    with watch(tmp_path / "run", head=HEAD) as run:
        for k in range(3):
            run.step(losses(), **{**tensors(k), name: given})
    said = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(said) == 1
    assert f"{name} left out" in said[0]
    assert len(values(tmp_path / "run", "total")) == 3
    (_, path) = list_snapshots(tmp_path / "run" / "snapshots")[0]
    other = "targets" if name == "pred" else "pred"
    assert load(path).tensor(other, 0) is not None


def test_a_wrong_layout_costs_the_tensors_not_the_losses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with watch(tmp_path / "run", layout={"order": "b y x"}, head=HEAD) as run:
        run.step(losses(), **tensors())
    said = capsys.readouterr().err
    assert "only losses are recorded" in said
    assert "order must name each of b y x a c" in said
    assert values(tmp_path / "run", "total") == [2]


@pytest.mark.parametrize("bad", [None, 5, {"total": "much"}, {"total": torch.zeros(3)}, {"total": object()}])
def test_losses_that_are_none_warn_once_and_the_loop_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: object
) -> None:
    with watch(tmp_path / "run") as run:
        for _ in range(3):
            assert run.step(bad)  # type: ignore[arg-type]
        run.step(losses())
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert values(tmp_path / "run", "total")[-1] == 2


def test_a_folder_that_cannot_be_made_warns_and_records_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    run = watch(tmp_path / "file" / "run", head=HEAD)
    assert run.path is None
    assert run.step(losses(), **tensors())
    run.epoch()
    run.close()
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("yolotui: nothing is recorded:")


def test_a_taken_folder_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        with watch(tmp_path / "run") as run:
            run.step(losses())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "run-1", "run-2"]
    assert "holds a run already" in capsys.readouterr().err


def test_a_resumed_run_goes_on_counting(tmp_path: Path) -> None:
    for _ in range(2):
        with watch(tmp_path / "run", resume=True, steps_per_epoch=2) as run:
            for k in range(4):
                run.step({"total": float(k)})
    assert values(tmp_path / "run", "total") == [0, 1, 2, 3, 0, 1, 2, 3]
    assert [end["epoch"] for end in kinds(tmp_path / "run", "EpochDone")] == [1, 2, 3, 4]


def test_other_ranks_record_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    run = watch(tmp_path / "run")
    assert run.step(losses())
    run.close()
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_records_nothing(tmp_path: Path) -> None:
    with watch(tmp_path / "run") as run:
        run.step(losses(1))
        child = os.fork()
        if child == 0:
            run.step(losses(100))
            run.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        run.step(losses(2))
    assert values(tmp_path / "run", "lbox") == [1, 2]


def test_a_tensor_overwritten_in_place_is_not_shown_as_the_steps_own(tmp_path: Path) -> None:
    with watch(tmp_path / "run", head=HEAD) as run:
        given = tensors()
        run._worker.left = _Slow(run._worker.left, lambda: given["pred"].zero_())
        run.step(losses(), **given)
        wait_until(lambda: not run._worker.left)
        time.sleep(0.2)
        assert list_snapshots(folder_of(run).snapshots) == []


class _Slow:
    """A queue whose reader always comes after ``before`` was done."""

    def __init__(self, queue, before) -> None:  # type: ignore[no-untyped-def]
        self._queue, self._before = queue, before

    def append(self, item: object) -> None:
        self._before()
        self._queue.append(item)

    def popleft(self) -> object:
        return self._queue.popleft()

    def __len__(self) -> int:
        return len(self._queue)


def test_nothing_of_a_step_outlives_it_for_long(tmp_path: Path) -> None:
    import weakref

    with watch(tmp_path / "run", head=HEAD) as run:
        given = tensors()
        graph = given["pred"].requires_grad_() * 2
        gone = weakref.ref(graph)
        run.step(losses(), **{**given, "pred": graph})
        del graph, given
        gc.collect()
        assert gone() is None, "the loop's own tensor, and its graph, are let go at once"


# the exception that ends a loop


def test_an_exception_ends_the_run_as_failed(tmp_path: Path) -> None:
    def loop() -> None:
        with watch(tmp_path / "run") as run:
            run.step(losses())
            torch.zeros(2) @ torch.zeros(3)

    with pytest.raises(RuntimeError):
        loop()
    (ended,) = kinds(tmp_path / "run", "RunEnded")
    assert ended["status"] == "failed"
    assert ended["message"].startswith("RuntimeError: inconsistent tensor size")


# control from another process


def test_pause_step_snapshot_checkpoint_and_stop(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    run = watch(tmp_path / "run", head=HEAD, model=model, optimizer=optimizer)
    folder = folder_of(run)
    asked = RequestWriter(folder)
    done: list[int] = []
    ended: list[BaseException] = []

    def loop() -> None:
        try:
            for k in range(100_000):
                model(torch.ones(1, 2)).sum().backward()
                optimizer.step()
                optimizer.zero_grad()
                run.step(losses(), **tensors(k))
                done.append(k)
                time.sleep(0.002)
        except KeyboardInterrupt as error:
            ended.append(error)

    thread = threading.Thread(target=loop)
    thread.start()

    def doing() -> str:
        with RunReader(folder) as reader:
            return reader.status().doing

    wait_until(lambda: len(done) > 3)
    asked.send("pause")
    wait_until(lambda: doing() == "paused")
    before = len(done)
    time.sleep(0.1)
    assert len(done) == before, "paused"
    asked.send("snapshot")
    wait_until(lambda: any(step == before + 1 for step, _ in list_snapshots(folder.snapshots)))
    asked.send("checkpoint")
    wait_until(folder.last.exists)
    assert torch.equal(read_tensors(folder.last)["weight"], model.weight.detach())
    asked.send("step", count=2)
    wait_until(lambda: len(done) == before + 2)
    time.sleep(0.1)
    assert len(done) == before + 2
    asked.send("lr", factor=0.5)
    asked.send("resume")
    wait_until(lambda: len(done) > before + 5)
    asked.send("stop")
    thread.join(10)
    assert ended, "a loop that ignores False is ended as Ctrl+C would"
    run.close()
    assert run_info(folder.path).status == "stopped"
    text = " ".join(body["text"] for kind, body in events(folder.path) if kind == "LogLine")
    assert "asks to pause" in text
    assert "the learning rate stays" in text


def test_a_loop_that_listens_ends_by_itself(tmp_path: Path) -> None:
    run = watch(tmp_path / "run")
    RequestWriter(folder_of(run)).send("stop")
    steps = 0
    while run.step(losses()):
        steps += 1
        time.sleep(0.01)
        assert steps < 1000
    assert run.stopping
    run.close()
    assert run_info(tmp_path / "run").status == "stopped"


def test_what_the_contracts_find_is_a_finding_of_the_run(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model[2].parameters(), 0.01)
    with watch(tmp_path / "run", model=model, optimizer=optimizer) as run:
        for _ in range(40):
            total = (model(torch.randn(8, 4)) ** 2).mean()
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            run.step({"total": total})
    found = kinds(tmp_path / "run", "FindingRaised")
    assert any("optimizer" in body["message"] and body["function"] == "optimizer" for body in found), found
    assert all(body["file"] == __file__ for body in found)


def test_a_damaged_store_warns_and_records_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.db").write_text("not a database at all, but long enough to be looked at")
    run = watch(tmp_path / "run", resume=True)
    assert run.path is None
    assert run.step(losses())
    assert "nothing is recorded" in capsys.readouterr().err


def learn(
    path: Path, rates: Sequence[float], optimizers: Callable[[nn.Module], Any], **options: Any
) -> list[dict[str, Any]]:
    """A loop whose first optimizer takes these rates; what was found in it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    given = optimizers(model)
    several = given if isinstance(given, list) else [given]
    with watch(path, model=model, optimizer=given, **options) as run:
        for rate in rates:
            several[0].param_groups[0]["lr"] = rate
            total = (model(torch.randn(8, 4)) ** 2).mean()
            for optimizer in several:
                optimizer.zero_grad()
            total.backward()
            for optimizer in several:
                optimizer.step()
            run.step({"total": total})
    return kinds(path, "FindingRaised")


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.01)


def test_a_finding_names_the_line_of_the_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = learn(tmp_path / "run", [0.01] * 40, lambda model: sgd(model[2]))  # type: ignore[index]
    (missing,) = [body for body in found if body["probe"] == "contract.missing"]
    assert missing["file"] == __file__
    assert "run.step(" in Path(__file__).read_text().splitlines()[missing["line"] - 1]
    said = capsys.readouterr().err
    assert said.count(f"optimizer ({Path(__file__).name}:{missing['line']}): {missing['message']}") == 1


def test_a_warm_up_that_begins_again_on_resume_is_found(tmp_path: Path) -> None:
    path = tmp_path / "run"
    warm = [0.001 * k for k in range(1, 11)]
    assert learn(path, warm, sgd) == []
    assert learn(path, [0.01] * 10, sgd, resume=True) == [], "it goes on where it was"
    (again,) = learn(path, warm, sgd, resume=True)
    assert again["probe"] == "contract.resume.rate"
    assert "begins again" in again["message"]
    assert again["expected"] == "about 0.01, the rate of step 20"


def test_what_a_loop_of_a_few_steps_shows_is_told_at_its_end(tmp_path: Path) -> None:
    found = learn(tmp_path / "run", [0.01] * 4, lambda model: sgd(model[2]))  # type: ignore[index]
    assert [body["probe"] for body in found] == ["contract.missing"]


def test_several_optimizers_are_recorded_with_the_rate_of_the_first(tmp_path: Path) -> None:
    def two(model: nn.Module) -> list[torch.optim.Optimizer]:
        return [sgd(model[0]), torch.optim.SGD(model[2].parameters(), 0.5)]  # type: ignore[index]

    learn(tmp_path / "run", [0.01, 0.02, 0.03], two)
    assert values(tmp_path / "run", "lr") == [0.01, 0.02, 0.03]
