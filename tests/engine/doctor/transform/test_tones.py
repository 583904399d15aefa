"""Numbers that run over are told from what augmentation does to brightness on purpose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engine.doctor.transform.cut import judge_outside
from engine.doctor.transform.tones import judge_tones

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def found(change: Change) -> int:
    rng = np.random.default_rng(5)
    return len(judge_tones(lambda image, boxes, _: (change(image, rng), boxes), 24))


def wraps(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (image * rng.uniform(0.7, 1.4)).astype(np.int32).astype(np.uint8)


def turns_black(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(image.astype(np.int8), 0, None).astype(np.uint8)


@pytest.mark.parametrize("change", [wraps, turns_black])
def test_a_number_that_runs_over(change: Change) -> None:
    assert found(change) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda image, rng: np.clip(image * rng.uniform(0.2, 2.5), 0, 255).astype(np.uint8),
        lambda image, rng: 255 - image,
        lambda image, rng: np.where(image >= rng.integers(60, 220), 255 - image, image),
        lambda image, rng: image & 0xC0,
        lambda image, rng: (255 * (image / 255) ** rng.uniform(0.3, 3)).astype(np.uint8),
        lambda image, rng: np.clip(image + rng.normal(0, 25, image.shape), 0, 255).astype(np.uint8),
    ],
    ids=["brightness", "inverted", "solarized", "posterized", "gamma", "noise"],
)
def test_what_augmentation_does_on_purpose(change: Change) -> None:
    assert found(change) == 0


def test_boxes_clipped_to_another_pictures_sides() -> None:
    def transposed(image: np.ndarray, boxes: np.ndarray, _: int) -> tuple[np.ndarray, np.ndarray]:
        height, width = image.shape[:2]
        return np.zeros((width, height, 3), np.uint8), boxes.clip(0, [width, height, width, height])

    def cut(image: np.ndarray, boxes: np.ndarray, _: int) -> tuple[np.ndarray, np.ndarray]:
        return image[40:, 50:], (boxes - [50, 40, 50, 40]).clip(0)

    (finding,) = judge_outside(transposed, 6)
    assert finding.channels == ("x", "y")
    assert judge_outside(cut, 6) == []
