"""Real logs of five trainers, counted by hand."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from engine.runs.importing import Imported, import_log
from engine.runs.store import RunFolder, RunReader


def read(shared_data: Path, name: str, tmp_path: Path) -> Imported:
    done = import_log(shared_data / "logs" / name, tmp_path / "run")
    json.dumps(done.to_json())
    return done


def messages(done: Imported, probe: str) -> list[str]:
    return [claim.message for claim in done.findings if claim.probe == probe]


def test_the_tqdm_log_says_what_it_proves(shared_data: Path, tmp_path: Path) -> None:
    done = read(shared_data, "seed-log.txt", tmp_path)
    assert (done.format, done.restarts, done.unread) == (
        "tqdm",
        [],
        24,
    )  # 35 lines not blank, 11 of them bars
    assert [epoch["epoch"] for epoch in done.epochs] == [1, 2, 3, 4, 5, 68, 69, 70, 71, 72, 73]
    assert [epoch["complete"] for epoch in done.epochs] == [True] * 10 + [False]
    assert done.epochs[-1]["lbox"] == 5.42
    (summed,) = [c for c in done.findings if c.probe == "log.sum"]
    assert summed.terms == ("total", "lcls", "lbox", "lobj")
    assert "each of the 11 lines" in summed.message
    assert not summed.inference
    assert [c.terms for c in done.findings if c.probe == "log.no_sum"] == [("liou",)]
    (moved,) = [c for c in done.findings if c.probe == "log.moved"]
    assert set(moved.terms) == {"lcls", "lobj", "total"}
    (still,) = [c for c in done.findings if c.probe == "log.not_moved"]
    assert still.terms == ("lbox", "liou")
    assert "p = 0.42" in still.message
    assert "p = 0.22" in still.message
    assert "by power 4" in messages(done, "log.warm_up")[0]
    (size,) = [c for c in done.findings if c.probe == "log.data_set"]
    assert size.inference
    assert "11,540 = 721 x 16 + 4" in size.message
    assert "four images" in size.message
    assert "look like those of single batches" in messages(done, "log.single_batches")[0]
    assert messages(done, "log.single_batches")[0].endswith("(an inference)")
    assert "epoch 73 is interrupted at iteration 450 of 722" in messages(done, "log.interrupted")[0]
    assert "9.1 hours" in messages(done, "log.time")[0]
    with RunReader(RunFolder.open(done.run)) as reader:
        assert reader.terms() == ["lcls", "lbox", "lobj", "liou", "total"]
        assert reader.last_step() == 72 * 722 + 450
        assert len(reader.epochs()) == 10
        assert reader.status().state == "stopped"


def test_the_csv_is_a_hundred_epochs(shared_data: Path, tmp_path: Path) -> None:
    done = read(shared_data, "yolov8_rps_results.csv", tmp_path)
    assert (done.format, done.restarts, done.unread) == ("ultralytics-csv", [], 1)  # its header
    assert [epoch["epoch"] for epoch in done.epochs] == list(range(100))
    assert all(epoch["complete"] for epoch in done.epochs)
    with RunReader(RunFolder.open(done.run)) as reader:
        evaluations = reader.evaluations()
        assert len(evaluations) == 100
        assert evaluations[-1].map50 == 0.95756
        assert evaluations[-1].map50_95 == 0.74259
        assert reader.status().state == "finished"


def test_the_yolox_log_has_two_trainings_and_five_starts_that_failed(
    shared_data: Path, tmp_path: Path
) -> None:
    done = read(shared_data, "yolox_s_train_log.txt", tmp_path)
    assert done.format == "yolox"
    assert len(done.restarts) == 6  # "Training start" stands seven times
    assert [epoch["epoch"] for epoch in done.epochs] == [*range(1, 21), *range(1, 21)]
    assert [r.training for r in done.runs] == [1, 2]
    # 240 lines of losses, 40 evaluations of 12 lines
    assert done.lines - done.unread == 240 + 40 * 12
    assert "best AP 0.936 at epoch 20" in messages(done, "log.best")[0]
    with RunReader(RunFolder.open(done.runs[1].path)) as reader:
        assert (reader.step_count(), len(reader.evaluations())) == (20, 20)


def test_every_start_of_the_mmdetection_log_is_found(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "logs" / "mmdet_None.log.json"
    rows = [row for row in map(json.loads, source.read_text().splitlines()) if row["mode"] == "train"]
    places = [(row["epoch"], row["iter"]) for row in rows]
    back = sum(b <= a for a, b in itertools.pairwise(places))
    done = read(shared_data, "mmdet_None.log.json", tmp_path)
    assert (done.format, done.unread, len(done.restarts)) == ("mmdetection", 0, back)
    assert len(done.runs) == back + 1  # none of them resumed
    assert messages(done, "log.nothing_found")


def test_darknet_inside_markdown(shared_data: Path, tmp_path: Path) -> None:
    done = read(shared_data, "darknet_train_visdrone_history.md", tmp_path)
    assert (done.format, done.epochs, done.restarts) == ("darknet", [], [])
    assert done.lines - done.unread == 49 + 2  # the iteration's line stands there twice
    assert not messages(done, "log.not_finite")  # -nan beside count 0 is no failure
    assert "batches of 128 images" in messages(done, "log.batch")[0]
    with RunReader(RunFolder.open(done.run)) as reader:
        (step, *_) = reader.new_steps(0)
        assert step.step == 1631
        assert step.terms["loss"] == 27.562284
        assert step.images in (0, 128)
        assert step.lr == pytest.approx(0.001)
