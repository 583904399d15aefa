"""What is scored of a split: every image once, and those that cannot be read are told."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import scoring
from engine.config import load_config
from engine.data.sample import Dataset, Problem, Sample
from engine.evaluate import Detections
from engine.predictor import make_predictor
from engine.scoring import evaluation_loader, predict_dataset, score_dataset
from engine.training.setup import Parts, put_together

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tiny_voc


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """An untrained network; the second and the last picture of its six to score end too early."""
    parts = put_together(load_config(tiny_voc.write_config(tmp_path), ["train.workers=0"]))
    assert parts.val is not None
    for place in (1, 5):
        path = parts.val.samples[place].path
        path.write_bytes(path.read_bytes()[:300])
    return parts


@pytest.mark.parametrize("batch_size", [1, 4, 5])
def test_an_image_is_scored_once_whatever_cannot_be_read(parts: Parts, batch_size: int) -> None:
    """Also where a whole batch cannot, and the loader puts another picture in its place."""
    val = parts.val
    assert val is not None
    predictor = make_predictor(parts.model.eval(), parts.blueprint, parts.user, parts.compute)
    loader = evaluation_loader(val, parts.blueprint, batch_size)
    unread: list[Problem] = []
    told: list[int] = []
    found = predict_dataset(predictor, val, loader, lambda done, total: told.append(done), unread)
    assert [one.image_id for one in found] == [val.samples[place].image_id for place in (0, 2, 3, 4)]
    assert [each.path for each in unread] == [str(val.samples[place].path) for place in (1, 5)]
    assert told[-1] == 6
    loader.close()
    parts.close()


def test_what_lies_on_an_unreadable_picture_is_missed_and_said(parts: Parts) -> None:
    val = parts.val
    assert val is not None
    predictor = make_predictor(parts.model.eval(), parts.blueprint, parts.user, parts.compute)
    loader = evaluation_loader(val, parts.blueprint, 4)
    found = score_dataset(predictor, val, loader)
    loader.close()
    parts.close()
    assert (found.scores.images, found.scores.objects) == (6, val.objects)
    objects = sum(len(val.samples[place].boxes) for place in (1, 5))
    *_, line = found.notes()
    assert line.startswith(f"val: 2 x unreadable image, first {val.samples[1].path.name}: ")
    assert line.endswith(f"their {objects} objects count as missed")
    assert replace(found, unread=()).notes() == []


@pytest.mark.parametrize(
    ("paths", "expected"), [(["x/a.jpg", "x/b.jpg"], "a.jpg"), (["x/a.jpg", "y/a.jpg"], "x/a.jpg")]
)
def test_images_with_errors_are_called_by_their_files(
    paths: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes, none = np.array([[1, 1, 30, 30]], np.float32), np.zeros(0, np.bool_)
    empty = np.zeros((0, 4), np.float32)
    samples = tuple(
        Sample(Path(path), str(number), 40, 40, empty, none.astype(np.int64), none, none)
        for number, path in enumerate(paths)
    )
    found = [Detections("0", boxes, [0.9], [0])]
    monkeypatch.setattr(scoring, "predict_dataset", lambda *_: found)
    nothing: Any = None
    result = score_dataset(nothing, Dataset("val", ("cat",), samples, ()), nothing, errors=True)
    assert result.scores.errors is not None
    assert result.scores.errors.unlabelled == {expected: 1}
