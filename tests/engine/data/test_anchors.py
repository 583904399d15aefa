from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.boxes import shape_iou
from engine.config import DataConfig
from engine.data.anchors import best_possible_recall, fit_anchors
from engine.data.fitted import fitted_sizes
from engine.data.opening import open_split
from engine.data.sample import Dataset, Sample
from engine.errors import UserError


def dataset(groups: list[tuple[float, float, int, int]]) -> Dataset:
    """One 200x100 image with ``count`` boxes of (w, h) and a class for each group."""
    rng = np.random.default_rng(0)
    boxes, labels = [], []
    for w, h, count, label in groups:
        for scale in rng.uniform(0.95, 1.05, count):
            boxes.append([0, 0, w * scale, h * scale])
            labels.append(label)
    flags = np.zeros(len(boxes), np.bool_)
    sample = Sample(
        Path("a.jpg"),
        "a",
        200,
        100,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        flags,
        flags,
    )
    return Dataset("train", ("a", "b"), (sample,), ())


def test_separate_groups_are_found_at_the_inputs_scale() -> None:
    data = dataset([(10, 10, 30, 0), (40, 12, 30, 0), (60, 90, 30, 1)])
    anchors = fit_anchors(data, (100, 100), 3, seed=1)
    np.testing.assert_allclose(anchors, [[5, 5], [20, 6], [30, 45]], rtol=0.05)
    recall, mean = best_possible_recall(fitted_sizes(data, (100, 100)), anchors)
    assert recall == 1
    assert mean > 0.9


def test_a_rare_class_gets_its_anchor() -> None:
    data = dataset([(20, 20, 200, 0), (26, 20, 200, 0), (20, 26, 200, 0), (80, 80, 6, 1)])
    assert fit_anchors(data, (200, 100), 2)[-1] == pytest.approx([80, 80], rel=0.1)


def test_same_seed_same_anchors_and_more_anchors_than_sizes() -> None:
    data = dataset([(20, 20, 1, 0)])
    first, again = fit_anchors(data, (200, 100), 4, seed=3), fit_anchors(data, (200, 100), 4, seed=3)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (4, 2)
    assert (first > 0).all()
    assert (np.diff(first.prod(axis=1)) >= 0).all()


def test_no_objects_is_said() -> None:
    with pytest.raises(UserError, match="no objects"):
        fit_anchors(dataset([]), (200, 100), 3)


def test_recall_agrees_with_the_assigners_measure() -> None:
    import torch

    rng = np.random.default_rng(2)
    sizes, anchors = rng.uniform(5, 100, (500, 2)), rng.uniform(5, 100, (4, 2))
    best = shape_iou(torch.from_numpy(sizes), torch.from_numpy(anchors)).max(dim=1).values.numpy()
    recall, mean = best_possible_recall(sizes, anchors)
    assert recall == pytest.approx((best >= 0.5).mean())
    assert mean == pytest.approx(best.mean())
    assert best_possible_recall(np.zeros((0, 2)), anchors) == (0, 0)
    assert best_possible_recall([(10, 10)], [(10, 20), (10, 21)]) == (1, 0.5)


def test_three_anchors_serve_all_three_cells_of_bccd(shared_data: Path) -> None:
    config = DataConfig(root=str(shared_data / "bccd"), classes=["RBC", "WBC", "Platelets"])
    data = open_split(config, "trainval")
    anchors = fit_anchors(data, (320, 240), 3)
    np.testing.assert_allclose(anchors.prod(axis=1) ** 0.5, [20, 52, 103], rtol=0.05)
    assert best_possible_recall(fitted_sizes(data, (320, 240)), anchors)[0] > 0.98
