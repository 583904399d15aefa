from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from engine.config import AugmentConfig
from engine.data.batches import Batch, BatchLoader
from engine.data.draws import epoch_draws, step_draws
from engine.data.images import read_image
from engine.data.sample import Dataset, Problem, Sample
from engine.data.voc import read_voc
from engine.errors import UserError
from engine.scoring import CacheMode

EVERYTHING = AugmentConfig(
    flip_x=0.5, flip_y=0.5, scale=0.2, translate=0.1, hue=0.1, saturation=0.5, gain=0.1, mosaic=0.5
)


@pytest.fixture
def data(make_voc) -> Dataset:
    images = {f"i{k:02d}": [("cat", (5 + k, 5, 30 + k, 25)), ("dog", (10, 20, 30, 40))] for k in range(11)}
    return read_voc(make_voc(images), "train", ["cat", "dog"])


def count_objects(boxes: list[Tensor], labels: list[Tensor], input_wh: tuple[int, int]) -> Tensor:
    """A stand-in for the target tensor; at module level, so that it can be sent to a process."""
    return torch.tensor([len(one) for one in boxes])


def mirror(image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A user's transform that draws from every global generator."""
    flip = random.random() + np.random.random() + torch.rand(1).item() < 1.5
    if flip:
        width = image.shape[1]
        image = image[:, ::-1]
        boxes = np.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), axis=1)
    return image, boxes


def fingerprints(batches: Iterable[Batch]) -> list[str]:
    found = []
    for batch in batches:
        content = hashlib.sha256(batch.images.numpy().tobytes())
        for boxes, labels in zip(batch.boxes, batch.labels, strict=True):
            content.update(boxes.numpy().tobytes() + labels.numpy().tobytes())
        content.update(repr((batch.image_ids, batch.indices)).encode())
        found.append(content.hexdigest())
    return found


def test_an_epoch_is_a_permutation_of_its_own() -> None:
    first = [draw.index for draw in epoch_draws(1, 50, 0, lambda place: False)]
    assert sorted(first) == list(range(50))
    assert first == [draw.index for draw in epoch_draws(1, 50, 0, lambda place: True)]
    assert first != [draw.index for draw in epoch_draws(1, 50, 1, lambda place: False)]
    assert first != [draw.index for draw in epoch_draws(2, 50, 0, lambda place: False)]


def test_steps_cross_epochs_and_start_anywhere() -> None:
    steps = list(step_draws(3, 10, 4, 0, 8, mosaic_off=0.25))
    assert [len(step) for step in steps] == [4, 4, 2, 4, 4, 2, 4, 4]
    assert [step[0].epoch for step in steps] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert [all(draw.mosaic for draw in step) for step in steps] == [True] * 6 + [False] * 2
    assert sorted(draw.index for step in steps[3:6] for draw in step) == list(range(10))
    for first in range(9):
        assert list(step_draws(3, 10, 4, first, 8, mosaic_off=0.25)) == steps[first:]


def test_a_batch(data: Dataset) -> None:
    loader = BatchLoader(data, (64, 32), 4, encode=count_objects)
    assert loader.steps_per_epoch == 3
    batches = list(loader.train_batches(0, 3))
    assert [len(batch) for batch in batches] == [4, 4, 3]
    batch = batches[0]
    assert (batch.images.shape, batch.images.dtype) == ((4, 3, 32, 64), torch.uint8)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)  # as the network wants it
    assert batch.targets.tolist() == [2, 2, 2, 2]
    assert batch.objects == 8
    assert batch.to("cpu").objects == 8
    sample = data.samples[batch.indices[0]]
    assert (batch.paths[0], batch.image_ids[0]) == (str(sample.path), sample.image_id)
    # 64x48 in 64x32: scale 2/3, 43 px wide, 10 px of grey on the left
    place = batch.letterboxes[0]
    assert (place.new_w, place.new_h, place.left) == (43, 32, 10)
    x1, y1, x2, y2 = sample.boxes[0]
    expected = [((x1 + x2) / 2 * 43 / 64 + 10) / 64, (y1 + y2) / 96, (x2 - x1) * 43 / 64 / 64, (y2 - y1) / 48]
    torch.testing.assert_close(batch.boxes[0][0], torch.tensor(expected, dtype=torch.float32))
    assert batch.labels[0].dtype == torch.int64


@pytest.mark.parametrize("cache", ["none", "ram"])
@pytest.mark.parametrize("augment", [None, AugmentConfig(scale=0, flip_x=0)])
def test_stretched_pictures_fill_the_input(
    data: Dataset, cache: CacheMode, augment: AugmentConfig | None
) -> None:
    loader = BatchLoader(data, (32, 16), 4, cache=cache, augment=augment, stretch=True)
    for batch in (next(loader.ordered_batches()), next(loader.train_batches(0, 1))):
        sample = data.samples[batch.indices[0]]
        image = cv2.resize(read_image(sample.path), (32, 16))[..., ::-1]  # linear, though four times smaller
        np.testing.assert_array_equal(batch.images[0].permute(1, 2, 0), image)
        x1, y1, x2, y2 = sample.boxes[0]
        expected = [(x1 + x2) / 128, (y1 + y2) / 96, (x2 - x1) / 64, (y2 - y1) / 48]
        torch.testing.assert_close(batch.boxes[0][0], torch.tensor(expected, dtype=torch.float32))


def test_stretched_mosaics_keep_boxes_on_their_pixels(data: Dataset) -> None:
    """Boxes of a mosaic are of the objects' stretched size, or cut."""
    augment = AugmentConfig(mosaic=1, scale=0, flip_x=0)
    batch = next(BatchLoader(data, (128, 48), 4, augment=augment, stretch=True).train_batches(0, 1))
    widest = max(float((s.boxes[:, 2] - s.boxes[:, 0]).max()) / 64 for s in data.samples)
    sizes = torch.cat(batch.boxes)[:, 2:]
    assert float(sizes[:, 0].max()) <= widest + 0.02
    assert float(sizes[:, 0].max()) > 0.75 * widest


def test_images_are_rgb(data: Dataset) -> None:
    for sample in data.samples:
        cv2.imwrite(str(sample.path), np.full((48, 64, 3), (250, 5, 5), np.uint8))  # BGR: blue
    batch = next(BatchLoader(data, (64, 48), 2).ordered_batches())
    red, green, blue = batch.images[0, :, 20, 20].tolist()
    assert blue > 200
    assert max(red, green) < 50


def test_evaluation_takes_all_in_order(data: Dataset) -> None:
    batches = list(BatchLoader(data, (64, 48), 4, augment=EVERYTHING).ordered_batches())
    assert [index for batch in batches for index in batch.indices] == list(range(11))
    for batch in batches:
        for boxes, index in zip(batch.boxes, batch.indices, strict=True):
            assert len(boxes) == len(data.samples[index].boxes)


@pytest.mark.parametrize("cache", ["none", "ram", "auto"])
def test_starting_anywhere_gives_the_same_batches(data: Dataset, cache: str) -> None:
    whole = fingerprints(BatchLoader(data, (64, 48), 4, augment=EVERYTHING, seed=5).train_batches(0, 9, 0.3))
    assert len(set(whole)) == 9
    for first in (1, 4, 8):
        loader = BatchLoader(data, (64, 48), 4, augment=EVERYTHING, seed=5, cache=cache)
        assert loader.cached == (cache != "none")
        assert fingerprints(loader.train_batches(first, 9, 0.3)) == whole[first:]
        assert fingerprints(loader.train_batches(first, 9, 0.3)) == whole[first:]  # now from the cache
    other = BatchLoader(data, (64, 48), 4, augment=EVERYTHING, seed=6)
    assert fingerprints(other.train_batches(0, 1, 0.3)) != whole[:1]


SIZED = AugmentConfig(flip_x=0.5, mosaic=0.5, multi_scale=0.5)


def test_a_size_a_batch(data: Dataset) -> None:
    """Drawn every 10 batches, the same from any start, whatever the cache, and for every rank."""

    def loader(**more: Any) -> BatchLoader:
        return BatchLoader(data, (96, 64), 4, augment=SIZED, seed=5, stride=32, **more)

    whole = list(loader().train_batches(0, 60, 0.25))
    found = {batch.input_wh for batch in whole}
    assert len(found) > 1
    assert found <= {(64, 32), (96, 64), (128, 96)}
    assert all(len({batch.input_wh for batch in whole[k : k + 10]}) == 1 for k in range(0, 40, 10))
    assert {batch.input_wh for batch in whole[45:]} == {(96, 64)}
    marks = fingerprints(whole)
    for first in (7, 33):
        assert fingerprints(loader(cache="ram").train_batches(first, 60, 0.25)) == marks[first:]
    for rank in (0, 1):
        part = loader(rank=rank, ranks=2).train_batches(0, 60, 0.25)
        assert [batch.input_wh for batch in part] == [batch.input_wh for batch in whole]
    assert {batch.input_wh for batch in loader().ordered_batches()} == {(96, 64)}
    assert {batch.input_wh for batch in loader().train_batches(0, 30, declared=True)} == {(96, 64)}


def test_boxes_follow_the_size(data: Dataset) -> None:
    """Without other changes they are those of the letterbox at that size; a user's transform as well."""
    only = AugmentConfig(multi_scale=0.5)
    for more in ({}, {"transform": unchanged}):
        sizes = set()
        for batch in BatchLoader(data, (96, 64), 4, augment=only, **more).train_batches(0, 40):
            width, height = batch.input_wh
            sizes.add((width, height))
            for index, boxes, place in zip(batch.indices, batch.boxes, batch.letterboxes, strict=True):
                assert (place.input_w, place.input_h) == (width, height)
                corners = place.boxes_to_input(data.samples[index].boxes) / np.array([width, height] * 2)
                middle = (corners[:, :2] + corners[:, 2:]) / 2
                expected = np.concatenate((middle, corners[:, 2:] - corners[:, :2]), axis=1)
                assert boxes.numpy() == pytest.approx(expected, abs=1e-5)
        assert len(sizes) > 1


def unchanged(image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return image, boxes


@pytest.mark.slow
def test_processes_load_batches_of_the_same_sizes(data: Dataset) -> None:
    def loader(workers: int) -> BatchLoader:
        return BatchLoader(data, (96, 64), 4, augment=SIZED, encode=count_objects, workers=workers)

    with_processes = loader(2)
    assert fingerprints(with_processes.train_batches(5, 30)) == fingerprints(loader(0).train_batches(5, 30))
    with_processes.close()


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["none", "ram"])
def test_processes_load_the_same_batches(data: Dataset, cache: str) -> None:
    def loader(workers: int, transform: object = None) -> BatchLoader:
        return BatchLoader(
            data,
            (64, 48),
            4,
            augment=EVERYTHING,
            seed=5,
            encode=count_objects,
            workers=workers,
            cache=cache,
            transform=transform,
        )

    with_processes = loader(2)
    assert not with_processes.note
    state = torch.get_rng_state()
    assert fingerprints(with_processes.train_batches(2, 9, 0.3)) == fingerprints(
        loader(0).train_batches(2, 9, 0.3)
    )
    assert torch.equal(torch.get_rng_state(), state)  # the training's own generator is left alone
    half = with_processes.train_batches(0, 1000)
    assert next(half).targets.tolist() == [len(boxes) for boxes in next(loader(0).train_batches(0, 1)).boxes]
    with_processes.close()
    with_processes.close()


@pytest.mark.slow
def test_processes_started_from_a_thread_end_with_close(data: Dataset) -> None:
    import threading

    import psutil

    def workers() -> set[int]:
        me = psutil.Process()
        return {
            process.pid
            for process in me.children(recursive=True)
            if process.status() != psutil.STATUS_ZOMBIE and process.parent() != me
        }

    before = workers()
    sizes: list[int] = []

    def work() -> None:
        loader = BatchLoader(data, (64, 48), 4, workers=2, encode=count_objects)
        batches = loader.train_batches(0, 1000)
        sizes.append(len(next(batches)))
        assert len(workers() - before) == 2
        loader.close()
        sizes.append(len(workers() - before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert sizes == [4, 0]


def test_functions_that_cannot_travel_keep_loading_here(data: Dataset) -> None:
    loader = BatchLoader(data, (64, 48), 4, workers=2, encode=lambda boxes, labels, input_wh: len(boxes))
    assert "training thread" in loader.note
    assert next(loader.train_batches(0, 1)).targets == 4


def test_an_unreadable_image_is_skipped_by_name(data: Dataset) -> None:
    bad = data.samples[3].path
    bad.write_bytes(bad.read_bytes()[:-30])
    batches = list(BatchLoader(data, (64, 48), 4).ordered_batches())
    assert [len(batch) for batch in batches] == [3, 4, 3]
    expected = Problem("unreadable image", str(bad), "truncated: no end-of-image marker", "error")
    assert batches[0].skipped == [expected]
    assert 3 not in batches[0].indices
    # a mosaic takes another tile
    augment = AugmentConfig(mosaic=1)
    mosaics = list(BatchLoader(data, (64, 48), 4, augment=augment).train_batches(0, 9))
    assert sum(len(batch) for batch in mosaics) == 3 * 10


def test_an_empty_batch_takes_the_next_readable_image(data: Dataset) -> None:
    for k in (0, 1):
        data.samples[k].path.write_bytes(b"")
    batches = list(BatchLoader(data, (64, 48), 1).ordered_batches())
    assert [batch.indices for batch in batches[:3]] == [[2], [2], [2]]
    assert len(batches[0].skipped) == 1
    for sample in data.samples:
        sample.path.write_bytes(b"")
    with pytest.raises(UserError, match="no image of split 'train' can be read"):
        list(BatchLoader(data, (64, 48), 4, augment=AugmentConfig(mosaic=1)).train_batches(0, 1))


def test_difficult_and_crowds_are_not_trained_on(make_voc) -> None:
    root = make_voc({"a": [("cat", (5, 5, 30, 25)), ("dog", (10, 20, 30, 40))]})
    xml = root / "Annotations" / "a.xml"
    xml.write_text(xml.read_text().replace("<name>cat</name>", "<name>cat</name><difficult>1</difficult>"))
    data = read_voc(root, "train", ["cat", "dog"])
    assert data.objects == 2
    assert next(BatchLoader(data, (64, 48), 1).train_batches(0, 1)).labels[0].tolist() == [1]
    both = BatchLoader(data, (64, 48), 1, use_difficult=True)
    assert next(both.train_batches(0, 1)).labels[0].tolist() == [0, 1]


def test_the_users_transform_takes_the_place_of_ours(data: Dataset) -> None:
    plain = BatchLoader(data, (64, 48), 11)
    mine = BatchLoader(data, (64, 48), 11, augment=EVERYTHING, transform=mirror, seed=2)
    here = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    batch = next(mine.train_batches(0, 1))
    assert random.getstate() == here[0]
    assert np.random.get_state()[1].tolist() == here[1]
    assert torch.equal(torch.get_rng_state(), here[2])
    expected = next(plain.ordered_batches())
    flipped = 0
    for place, index in enumerate(batch.indices):
        original, boxes = expected.images[index], expected.boxes[index].clone()
        if not torch.equal(batch.images[place], original):
            flipped += 1
            original = original.flip(-1)
            boxes[:, 0] = 1 - boxes[:, 0]
        assert torch.equal(batch.images[place], original)
        torch.testing.assert_close(batch.boxes[place], boxes)
    assert 0 < flipped < 11
    assert fingerprints(mine.train_batches(0, 3)) == fingerprints(mine.train_batches(0, 3))


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (lambda image, boxes: image, "no pair"),
        (lambda image, boxes: (image / 255.0, boxes), "float64"),
        (lambda image, boxes: (image, boxes[:1]), "for 2 boxes"),
    ],
)
def test_a_transform_that_breaks_its_contract_is_told_how(
    data: Dataset, broken: object, complaint: str
) -> None:
    loader = BatchLoader(data, (64, 48), 2, transform=broken)
    with pytest.raises(UserError, match=complaint):
        next(loader.train_batches(0, 1))


def test_a_transforms_lost_box_is_dropped(data: Dataset) -> None:
    def lose(image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes[0] = 0
        return image[:24], boxes  # another size, too: the trainer letterboxes

    batch = next(BatchLoader(data, (64, 48), 2, transform=lose).train_batches(0, 1))
    assert [labels.tolist() for labels in batch.labels] == [[1], [1]]
    assert batch.letterboxes[0].top == 12
    before = data.samples[batch.indices[0]].boxes[0]
    assert before.any()  # the sample itself is not written to


def test_a_picture_changed_since_it_was_opened_is_skipped(data: Dataset, tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(data.samples[0].path), np.zeros((10, 20, 3), np.uint8))
    batch = next(BatchLoader(data, (64, 48), 4).ordered_batches())
    assert "20x10 px, was 64x48" in batch.skipped[0].detail


def test_an_empty_split_is_refused(data: Dataset) -> None:
    with pytest.raises(UserError, match="no images"):
        BatchLoader(Dataset("val", ("cat",), (), ()), (64, 48), 2)


def test_threads_load_the_same_batches(data: Dataset) -> None:
    bad = data.samples[3].path
    bad.write_bytes(bad.read_bytes()[:-30])
    found = []
    for threads in (None, ThreadPoolExecutor(3)):
        loader = BatchLoader(data, (64, 48), 4, augment=EVERYTHING, seed=5)
        loader._assembler.threads = threads
        batches = list(loader.train_batches(0, 6, 0.3))
        found.append((fingerprints(batches), [batch.skipped for batch in batches]))
        loader.close()
    assert found[0] == found[1]
    assert any(found[0][1])


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_picture_read_smaller_keeps_its_boxes_where_they_are(tmp_path: Path, suffix: str) -> None:
    import cv2

    box = np.array([[212, 148, 420, 340]], np.float32)
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[148:340, 212:420] = 255
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), picture)
    none = np.zeros(1, np.bool_)
    sample = Sample(path, "a", 640, 480, box, np.zeros(1, np.int64), none, none)
    data = Dataset("train", ("box",), (sample,), ())
    moves = AugmentConfig(flip_x=0.5, flip_y=0.5, scale=0.3, translate=0.1, mosaic=0)
    for input_wh, reduced in (((160, 120), 4), ((150, 120), 4), ((200, 200), 2)):
        loader = BatchLoader(data, input_wh, 1, augment=moves)
        assert loader._assembler._decoded.reduction(0) == reduced
        for batch in (*loader.train_batches(0, 8), *loader.ordered_batches()):
            seen = batch.images[0, 0] > 127
            columns, rows = seen.any(0).nonzero().ravel(), seen.any(1).nonzero().ravel()
            x, y, w, h = (batch.boxes[0][0] * torch.tensor([*input_wh, *input_wh])).tolist()
            got = [columns[0].item(), rows[0].item(), columns[-1].item() + 1, rows[-1].item() + 1]
            np.testing.assert_allclose(got, [x - w / 2, y - h / 2, x + w / 2, y + h / 2], atol=1.01)


def test_a_cache_larger_than_memory_is_refused(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 11 * 64 * 48 * 3
    monkeypatch.setattr("engine.data.fitted._free_memory", lambda shared: size - 1)
    with pytest.raises(UserError, match=r"11 decoded images take .* is free"):
        BatchLoader(data, (64, 48), 4, cache="ram")
    assert not BatchLoader(data, (64, 48), 4, cache="auto").cached
    monkeypatch.setattr("engine.data.fitted._free_memory", lambda shared: size)
    assert BatchLoader(data, (64, 48), 4, cache="ram").cached
    assert not BatchLoader(data, (64, 48), 4, cache="auto").cached
    assert BatchLoader(data, (32, 24), 4, cache="auto").cached  # a quarter of the pixels
