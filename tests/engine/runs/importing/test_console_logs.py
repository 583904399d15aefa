"""What Ultralytics and AlexeyAB's Darknet print on a console, written here after their own format strings."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.runs.importing import Imported, import_log
from engine.runs.store import RunFolder, RunReader

HEAD = "      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size\n"
CLASSES = "                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95): "


def row(epoch: int, of: int, box: float, done: int, batches: int = 8) -> str:
    drawn = f"{100 * done // batches}%|###       | {done}/{batches} [00:0{done}<00:01,  1.95it/s]"
    return (
        f"      {epoch}/{of}      2.53G      {box:.3f}      1.466      1.231         51        640: {drawn}"
    )


def epoch_lines(epoch: int, of: int, box: float, score: float) -> str:
    return (
        HEAD
        + "\r".join(row(epoch, of, box + (8 - done) / 10, done) for done in (1, 4, 8))
        + "\n"
        + CLASSES
        + "100%|##########| 4/4 [00:01<00:00,  3.00it/s]\n"
        + f"                   all        128        929      0.663      0.527      {score:.3f}      0.453\n"
        + f"             person        128        254      0.7      0.6      {score / 2:.3f}        0.4\n\n"
    )


def imported(tmp_path: Path, text: str) -> Imported:
    source = tmp_path / "log.txt"
    source.write_text(text)
    return import_log(source, root=tmp_path / "runs")


def test_the_console_of_ultralytics(tmp_path: Path) -> None:
    text = "Ultralytics YOLOv8.0.20 Python-3.10 torch-2.0 CUDA:0\nStarting training for 3 epochs...\n\n"
    text += "".join(epoch_lines(k, 3, 3.0 / k, 0.2 * k) for k in (1, 2, 3))
    text += "3 epochs completed in 0.002 hours.\n"
    done = imported(tmp_path, text)
    assert (done.format, done.restarts) == ("ultralytics-console", [])
    assert [(each["epoch"], each["complete"]) for each in done.epochs] == [(1, True), (2, True), (3, True)]
    assert [each["box_loss"] for each in done.epochs] == [3.0, 1.5, 1.0], "the row as it stood at the end"
    assert all(each["cls_loss"] == 1.466 for each in done.epochs)
    with RunReader(RunFolder.open(done.run)) as reader:
        scored = reader.evaluations()
        assert [(each.epoch, each.map50, each.map50_95) for each in scored] == [
            (1, 0.2, 0.453),
            (2, 0.4, 0.453),
            (3, 0.6, 0.453),
        ]
        assert [each.best for each in scored] == [True, False, False], "by mAP50-95, which stays"
        assert scored[-1].per_class == {"person": 0.3}
        assert {"box_loss", "cls_loss", "dfl_loss"} <= set(reader.terms())


def test_a_console_cut_off_within_an_epoch(tmp_path: Path) -> None:
    done = imported(tmp_path, epoch_lines(1, 3, 3.0, 0.2) + HEAD + row(2, 3, 2.0, 3))
    assert [(each["epoch"], each["complete"]) for each in done.epochs] == [(1, True), (2, False)]


REGION = (
    "v3 (iou loss, Normalizer: (iou: 0.07, obj: 1.00, cls: 1.00) Region 139 Avg (IOU: {iou}), "
    "count: {count}, class_loss = 1.25, iou_loss = 2.5, total_loss = 3.75 \n"
    " total_bbox = 1234, rewritten_bbox = 0.000000 % \n"
)


def iteration(n: int, last: str = "") -> str:
    return (
        REGION.format(iou=0.5, count=3)
        + REGION.format(iou=0.9, count=1)
        + REGION.format(iou="-nan", count=0)
        + f"\n (next mAP calculation at 300 iterations) {last}\n"
        + f" {n}: {100 / n:.6f}, {200 / n:.6f} avg loss, 0.001000 rate, 1.500000 seconds, {64 * n} images, "
        + "3.2 hours left\n"
    )


def test_the_console_of_alexeyabs_darknet(tmp_path: Path) -> None:
    """Its ``Last accuracy`` comes again at every iteration: one evaluation all the same."""
    last = "\n Last accuracy mAP@0.50 = 56.78 %, best = 56.78 % "
    text = "Learning Rate: 0.001, Momentum: 0.949, Decay: 0.0005\n"
    text += "".join(map(iteration, range(98, 101)))
    text += (
        "calculation mAP (mean average precision)...\n"
        "class_id = 0, name = car, ap = 60.56%   \t (TP = 12, FP = 3) \n"
        "class_id = 1, name = traffic light, ap = 53.00%   \t (TP = 2, FP = 1) \n"
        " for conf_thresh = 0.25, precision = 0.80, recall = 0.50, F1-score = 0.62 \n"
        " mean average precision (mAP@0.50) = 0.567800, or 56.78 % \n"
    )
    text += "".join(iteration(n, last) for n in range(101, 105))
    done = imported(tmp_path, text)
    assert (done.format, done.restarts) == ("darknet", [])
    with RunReader(RunFolder.open(done.run)) as reader:
        steps = reader.new_steps(0)
        assert [step.step for step in steps] == list(range(98, 105))
        assert steps[2].terms["loss"] == 1.0
        assert steps[2].terms["avg loss"] == 2.0
        assert steps[2].seconds == pytest.approx(1.5)
        (iou,) = {term for term in reader.terms() if "IOU" in term}
        assert steps[0].terms[iou] == pytest.approx((3 * 0.5 + 0.9) / 4), "boxes weigh alike"
        (scored,) = reader.evaluations()
        assert scored.map50 == pytest.approx(0.5678)
        assert scored.per_class == pytest.approx({"car": 0.6056, "traffic light": 0.53})
