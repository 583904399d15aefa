"""Many pictures through a predictor: order, batches, what cannot be read, how much is in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.data.images import UnreadableImage, read_image
from engine.data.shapes import draw_scene
from engine.data.video import VideoReader, video_appearing_whole
from engine.detecting import Found, detect_film, detect_pictures, in_order
from engine.predictor import Predictor, demo_weights, load_predictor


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.set_num_threads(1)
    return load_predictor(str(demo_weights()))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Ten of the demo's, every third of another size, and one that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for k in range(10):
        image, _ = draw_scene(np.random.default_rng(k))
        paths.append(folder / f"{k}.png")
        cv2.imwrite(str(paths[-1]), cv2.resize(image, (500, 210)) if k % 3 == 0 else image)
    paths[4].write_text("no picture")
    return paths


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_every_batch_size_finds_what_one_picture_alone_finds(
    predictor: Predictor, pictures: list[Path], batch: int
) -> None:
    results = list(detect_pictures(predictor, pictures, 0.25, 0.45, batch))
    assert [each.path for each in results] == pictures
    assert isinstance(results[4], UnreadableImage)
    objects = 0
    for found in results:
        if isinstance(found, Found):
            (alone,) = predictor.detect([found.image])
            assert len(alone) == len(found.rows)
            alone = alone[np.argsort(-alone[:, 4], kind="stable")]
            np.testing.assert_allclose(found.rows, alone, rtol=1e-3, atol=1e-2)
            assert (np.diff(found.rows[:, 4]) <= 0).all()
            objects += len(alone)
    assert objects > 10


def test_a_films_frames_are_its_pictures(predictor: Predictor, pictures: list[Path], tmp_path: Path) -> None:
    image = read_image(pictures[1])
    height, width = image.shape[:2]
    with video_appearing_whole(tmp_path / "film.mp4", 10, width, height) as writer:
        for _ in range(11):
            writer.write(image)
    (still,) = predictor.detect([image])
    with VideoReader(tmp_path / "film.mp4") as film:
        found = list(detect_film(predictor, film, batch=4))
    assert [each.seconds for each in found] == pytest.approx([k / 10 for k in range(11)], abs=1e-3)
    for each in found:  # compressed, so nearly the same
        assert abs(len(each.rows) - len(still)) <= 1


def test_only_a_few_are_read_ahead_and_order_holds() -> None:
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        time.sleep(0.002 * (item % 3))
        return item * item

    for item, value in enumerate(in_order(work, range(200), 4, 6)):
        assert value == item * item
        assert max(started) <= item + 7


def test_a_closed_stream_ends_its_threads_and_its_source() -> None:
    ended = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            ended.set()

    before = threading.active_count()
    stream = in_order(lambda item: item, source(), 3, 5)
    assert [next(stream), next(stream)] == [0, 1]
    assert threading.active_count() > before
    stream.close()
    assert ended.is_set()
    assert threading.active_count() == before


def test_an_error_in_a_thread_is_raised_where_the_result_is_taken() -> None:
    def work(item: int) -> float:
        return 1 / (2 - item)

    stream = in_order(work, range(9), 2, 3)
    assert [next(stream), next(stream)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(stream)
