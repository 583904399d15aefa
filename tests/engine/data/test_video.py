"""Films: what is read and written, what is cut off, and that none is left half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.data.video import UnreadableVideo, VideoReader, video_appearing_whole, written_name

SIZE = (96, 64)


def film(path: Path, frames: int = 40, fps: float = 12.5) -> Path:
    """Each frame has a brightness of its own, and noise, so that the file is not nothing."""
    rng = np.random.default_rng(0)
    with video_appearing_whole(path, fps, *SIZE) as writer:
        for k in range(frames):
            frame = rng.integers(0, 20, (SIZE[1], SIZE[0], 3), np.uint8) + np.uint8(5 * k)
            writer.write(frame)
    return path


def read(path: Path) -> tuple[VideoReader, list[tuple[float, np.ndarray]]]:
    with VideoReader(path) as reader:
        frames = []
        while (frame := reader.next_frame()) is not None:
            frames.append(frame)
        return reader, frames


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv", ".avi"])
def test_what_was_written_is_read_frame_by_frame(tmp_path: Path, suffix: str) -> None:
    reader, frames = read(film(tmp_path / f"film{suffix}"))
    assert (reader.width, reader.height, reader.frames, reader.read) == (*SIZE, 40, 40)
    assert reader.fps == pytest.approx(12.5, rel=1e-3)
    assert not reader.cut_off
    for k, (seconds, frame) in enumerate(frames):
        assert seconds == pytest.approx(k / 12.5, abs=0.002)
        assert frame.mean() == pytest.approx(9.5 + 5 * k, abs=3)
    assert [each.name for each in tmp_path.iterdir()] == [f"film{suffix}"]


def test_a_cut_film_gives_its_frames_and_says_so(tmp_path: Path) -> None:
    path = film(tmp_path / "film.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    reader, frames = read(path)
    assert 5 < len(frames) < 38
    assert reader.cut_off


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("text.mp4", b"hello, this is no film\n" * 50, "no film"),
        ("empty.avi", b"", "empty"),
        ("gone.mkv", None, "no such file"),
        ("image%03d.mp4", None, "no such file"),
    ],
)
def test_what_is_no_film_is_refused(
    tmp_path: Path, name: str, content: bytes | None, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableVideo, match=reason):
        VideoReader(tmp_path / name)
    assert capfd.readouterr() == ("", "")


def test_a_film_cut_before_its_index_is_refused_without_ffmpegs_lines(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = film(tmp_path / "film.mp4")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UnreadableVideo, match="cut off"):
        VideoReader(path)
    assert capfd.readouterr() == ("", "")


def test_a_film_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", frames=3)
    before = path.read_bytes()

    def write_and_fail() -> None:
        with video_appearing_whole(path, 5, *SIZE) as writer:
            writer.write(np.zeros((64, 96, 3), np.uint8))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["film.mp4"]


def test_a_frame_of_another_size_is_not_lost(tmp_path: Path) -> None:
    with video_appearing_whole(tmp_path / "film.avi", 5, *SIZE) as writer:
        for height in (64, 128, 32):
            writer.write(np.full((height, 96, 3), height, np.uint8))
    _, frames = read(tmp_path / "film.avi")
    assert [round(frame.mean() / 32) for _, frame in frames] == [2, 4, 1]


def test_a_container_that_cannot_be_written_becomes_mp4() -> None:
    assert written_name("a.webm") == "a.mp4"
    assert written_name("a.MOV") == "a.MOV"
