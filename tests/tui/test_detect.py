"""``yolotui detect`` on pictures, folders and films: what it prints, what it writes, what it refuses."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.data.shapes import draw_scene
from engine.data.video import VideoReader, video_appearing_whole
from engine.errors import UserError
from engine.predictor import demo_weights
from tui.commands.detect import detect
from tui.quick_import import lasting_imports

WEIGHTS = str(demo_weights())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.jpg, b.avi of nine frames, c.png, d.jpg that is none, e.mp4 that is none."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("files")
    folder = root / "mixed"
    folder.mkdir()
    image, _ = draw_scene(np.random.default_rng(0))
    height, width = image.shape[:2]
    cv2.imwrite(str(folder / "a.jpg"), image)
    cv2.imwrite(str(folder / "c.png"), draw_scene(np.random.default_rng(1))[0])
    with video_appearing_whole(folder / "b.avi", 10, width, height) as writer:
        for _ in range(9):
            writer.write(image)
    (folder / "d.jpg").write_text("no picture")
    (folder / "e.mp4").write_text("no film")
    return folder


def call(named: list[Path], out: Path, as_json: bool = False, tta: bool = False) -> int:
    return detect(named, WEIGHTS, None, 0.25, 0.45, out, tta, as_json)


def test_one_document_tells_pictures_frames_and_what_was_not_read(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call([folder], tmp_path / "out", as_json=True) == 2
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert [Path(each["image"]).name for each in document["images"]] == ["a.jpg", "c.png"]
    (video,) = document["videos"]
    assert [each["frame"] for each in video["frames"]] == list(range(9))
    assert [each["seconds"] for each in video["frames"]] == pytest.approx([k / 10 for k in range(9)])
    picture = document["images"][0]
    assert picture["detections"]
    assert {"class", "class_id", "score", "box"} == set(picture["detections"][0])
    scores = [each["score"] for each in picture["detections"]]
    assert scores == sorted(scores, reverse=True)
    assert [Path(each["file"]).name for each in document["unread"]] == ["d.jpg", "e.mp4"]
    lines = printed.err.splitlines()
    assert len(lines) == 2
    assert "d.jpg" in lines[0]
    assert "e.mp4" in lines[1]
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["a.jpg", "b.avi", "c.png"]


def test_looked_at_from_all_sides_it_finds_the_same_a_little_elsewhere(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for tta in (False, True):
        assert call([folder / "a.jpg"], tmp_path / "out", as_json=True, tta=tta) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["tta"] is tta
        found.append(document["images"][0]["detections"])
    plain, around = ([each for each in one if each["score"] > 0.7] for one in found)
    assert plain != around
    assert 0 < len(around) <= len(plain) + 1, "only what is seen from both sides keeps its score"
    for one in around:
        assert any(
            one["class"] == other["class"] and one["box"] == pytest.approx(other["box"], abs=5)
            for other in found[0]
        )


@pytest.mark.parametrize("name", ["a.jpg", "b.avi"])
def test_what_was_named_is_never_written_over(folder: Path, tmp_path: Path, name: str) -> None:
    own = tmp_path / name
    own.write_bytes((folder / name).read_bytes())
    (tmp_path / "link").symlink_to(tmp_path)
    for out in (tmp_path, tmp_path / "link"):
        with pytest.raises(UserError, match="would write"):
            call([own], out)
    # one of another name must not fall on it either
    (tmp_path / "a.bmp").write_bytes(b"")
    with pytest.raises(UserError):
        call([tmp_path / "a.bmp", folder / "a.jpg", own], tmp_path)
    assert own.read_bytes() == (folder / name).read_bytes()


def test_the_drawn_film_has_the_rate_and_size_of_its_source(folder: Path, tmp_path: Path) -> None:
    assert call([folder / "b.avi"], tmp_path) == 0
    with VideoReader(folder / "b.avi") as source, VideoReader(tmp_path / "b.avi") as drawn:
        assert (drawn.fps, drawn.width, drawn.height, drawn.frames) == (
            source.fps, source.width, source.height, source.frames,
        )  # fmt: skip
        before, after = source.next_frame(), drawn.next_frame()
        assert before is not None
        assert after is not None
        assert np.abs(before[1].astype(int) - after[1]).max() > 100  # the boxes


def test_text_has_a_table_for_few_and_a_line_for_many(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call([folder / "a.jpg", folder / "b.avi"], tmp_path) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"weights {WEIGHTS}\n")
    assert "class" in text.splitlines()[3]
    assert "9 frames at 10 a second" in text
    many = [folder / "a.jpg", folder / "c.png", folder / "b.avi"]
    copies = []
    for k in range(7):
        copies.append(tmp_path / f"copy{k}.jpg")
        copies[-1].write_bytes((folder / "a.jpg").read_bytes())
    assert call([*many, *copies], tmp_path / "out") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 2 + 2 + 7 + 1  # a film says where it was saved
    above = Path(os.path.commonpath([folder, tmp_path]))
    assert lines[1] == f"in {above}:"
    assert [above / line.split()[0] for line in lines[6:-1]] == copies
    assert lines[-1].startswith("9 pictures in ")
    assert lines[-1].endswith(f"; saved in {tmp_path / 'out'}")


def test_files_named_from_the_root_and_from_here_keep_their_names(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(8):
        (tmp_path / f"copy{k}.jpg").write_bytes((folder / "a.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    named = [folder / "a.jpg", *(Path(f"copy{k}.jpg") for k in range(8))]
    assert call(named, tmp_path / "out") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [str(path) for path in named]


def test_files_of_one_name_do_not_overwrite_each_other(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").write_bytes((folder / "c.png").read_bytes())
    (tmp_path / "other" / "a.bmp").write_bytes((folder / "c.png").read_bytes())
    named = [folder / "a.jpg", tmp_path / "other"]
    assert call(named, tmp_path / "out") == 0
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["a-2.jpg", "a.jpg", "a.png"]


def test_where_nothing_can_be_written_it_says_so(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("a.jpg", "b.avi"):
        with pytest.raises(UserError, match="cannot be written"):
            call([folder / name], tmp_path / "file")


def test_imports_that_last_leave_the_collector_as_it_was() -> None:
    assert gc.isenabled()
    with lasting_imports():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with lasting_imports():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    gc.unfreeze()


def test_folders_in_a_folder_are_named_and_not_looked_into(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, out = tmp_path / "given", tmp_path / "given" / "drawn"
    for below in (given / "more", out, given / "empty"):
        below.mkdir(parents=True)
    for place in (given / "more", out):
        (place / "c.png").write_bytes((folder / "c.png").read_bytes())
    with pytest.raises(UserError, match=r"holds no image.*name .*more$"):
        call([given], out)
    (given / "a.jpg").write_bytes((folder / "a.jpg").read_bytes())
    assert call([given], out) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("not looked into more; name them too")
