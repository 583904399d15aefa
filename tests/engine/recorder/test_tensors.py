"""Images and truths in the forms in which loops have them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.recorder.tensors import copied, read_truths, to_pixels

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 4), dtype=np.uint8)


def say(kind: str, text: str) -> None:
    raise AssertionError(text)


@pytest.mark.parametrize(
    "given",
    [
        PIXELS,
        PIXELS.transpose(0, 2, 3, 1),
        PIXELS.astype(np.float32),
        PIXELS.astype(np.float32) / 255,
        PIXELS.astype(np.int64),
    ],
)
def test_the_usual_forms_give_the_same_pixels(given: np.ndarray) -> None:
    assert np.array_equal(to_pixels(given.copy()), PIXELS)


def test_normalised_images_are_stretched_between_their_ends() -> None:
    normalised = (PIXELS.astype(np.float32) / 255 - 0.45) / 0.22
    found = to_pixels(normalised)
    low, high = int(PIXELS.min()), int(PIXELS.max())
    assert (found.min(), found.max()) == (0, 255)
    expected = (PIXELS.astype(float) - low) / (high - low) * 255
    assert np.abs(found - expected).max() <= 1


def test_grey_images_get_three_channels_and_nan_is_no_crash() -> None:
    grey = np.full((1, 1, 2, 2), 0.5, np.float32)
    grey[0, 0, 0, 0] = np.nan
    assert to_pixels(grey).shape == (1, 3, 2, 2)
    with pytest.raises(ValueError, match="expected"):
        to_pixels(np.zeros((2, 7, 7, 7), np.float32))


def test_a_copy_is_nobody_elses_and_in_single_precision() -> None:
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        source = torch.arange(6, dtype=dtype).reshape(2, 3).T
        made = copied(source)
        source += 1
        assert made.dtype == torch.float32
        assert made.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert copied(np.array([1, 2])).tolist() == [1, 2]


def test_truths_as_lists_and_as_one_table_say_the_same() -> None:
    boxes = [torch.tensor([[0.5, 0.5, 0.2, 0.1]]), torch.zeros(0, 4)]
    labels = [torch.tensor([3]), torch.zeros(0, dtype=torch.long)]
    table = torch.tensor([[0, 3, 0.5, 0.5, 0.2, 0.1]])
    for read in (read_truths(boxes, labels, 2, say), read_truths(table, None, 2, say)):
        assert read is not None
        assert [each.tolist() for each in read[0]] == [each.tolist() for each in boxes]
        assert [each.tolist() for each in read[1]] == [[3], []]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([torch.tensor([[100.0, 50.0, 20.0, 20.0]])] * 2, "look like pixels"),
        ([torch.zeros(1, 4)], "1 entries for 2 images"),
        (torch.zeros(3, 5), "expected a list"),
    ],
)
def test_truths_that_cannot_be_read_are_left_out_with_a_reason(boxes: object, message: str) -> None:
    said: list[str] = []
    assert read_truths(boxes, None, 2, lambda kind, text: said.append(text)) is None
    assert message in said[0]
