from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.config import DataConfig
from engine.data import demo
from engine.data.demo import CLASSES, demo_root, draw_demo
from engine.data.images import read_image
from engine.data.opening import open_split
from engine.data.shapes import HEIGHT, WIDTH, draw_scene
from engine.errors import UserError


def test_a_scene_is_its_seeds() -> None:
    first, shapes = draw_scene(np.random.default_rng(4))
    again, same = draw_scene(np.random.default_rng(4))
    np.testing.assert_array_equal(first, again)
    assert shapes == same
    assert (draw_scene(np.random.default_rng(5))[0] != first).any()


def test_boxes_lie_in_the_picture_and_around_something_drawn() -> None:
    contrast = []
    for seed in range(30):
        image, shapes = draw_scene(np.random.default_rng(seed))
        assert image.shape == (HEIGHT, WIDTH, 3)
        for shape in shapes:
            x1, y1, x2, y2 = shape.box
            assert 0 <= x1 < x2 <= WIDTH
            assert 0 <= y1 < y2 <= HEIGHT
            assert min(x2 - x1, y2 - y1) >= 6
            inside = image[int(y1) : int(y2), int(x1) : int(x2)].reshape(-1, 3)
            contrast.append(inside.std(axis=0).max())
    assert len(contrast) > 60
    assert np.mean(contrast) > 25  # a bare ground has about 10


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SPLITS", {"train": 6, "val": 3})


def test_it_goes_through_the_voc_reader(tmp_path: Path, few: None) -> None:
    config = DataConfig(format="demo", root=str(tmp_path), val="val")
    seen: list[tuple[int, int]] = []
    train = open_split(config, "train", lambda done, total: seen.append((done, total)))
    assert seen == [(done, 9) for done in range(1, 10)]
    assert train.classes == CLASSES
    assert (len(train), len(open_split(config, "val"))) == (6, 3)
    assert not train.problems
    # what was drawn is what is read, to the rounding of whole pixels
    _, shapes = draw_scene(np.random.default_rng((demo.SEED, 0)))
    np.testing.assert_allclose(train.samples[0].boxes, [shape.box for shape in shapes], atol=0.51)
    assert read_image(train.samples[0].path).shape == (HEIGHT, WIDTH, 3)


def test_it_is_drawn_once_and_whole_or_not_at_all(tmp_path: Path, few: None) -> None:
    root = demo_root(str(tmp_path / "new"))

    def interrupt(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_demo(root, interrupt)
    assert list(root.parent.iterdir()) == []
    (root.parent / f".{root.name}.999999999").mkdir()  # what a killed process leaves
    assert draw_demo(root) == root
    assert list(root.parent.iterdir()) == [root]
    stamp = (root / "ImageSets/Main/train.txt").stat().st_mtime_ns
    draw_demo(root, interrupt)
    assert (root / "ImageSets/Main/train.txt").stat().st_mtime_ns == stamp
    shutil.rmtree(root)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"data\.root"):
        draw_demo(demo_root(str(tmp_path / "file")))


def test_the_users_cache_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo.platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    assert demo_root("") == tmp_path / "yolotui" / demo.FOLDER


@pytest.mark.slow
def test_the_whole_set(tmp_path: Path) -> None:
    config = DataConfig(format="demo", root=str(tmp_path))
    splits = [open_split(config, name) for name in ("train", "val", "test")]
    assert sum(map(len, splits)) == 600
    for split in splits:
        assert not split.problems
        assert 3 <= split.objects / len(split) <= 6
        counts = np.bincount(np.concatenate([sample.labels for sample in split.samples]))
        assert counts.min() > 0.6 * counts.max()
