from __future__ import annotations

import pickle
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.data.images import UnreadableImage, image_size, read_image, reduction


def picture(width: int = 40, height: int = 24) -> np.ndarray:
    """Smooth, so that JPEG keeps it, and different in every corner."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack((x * 5, y * 9, (x + y) * 3), axis=2).astype(np.uint8)


def encoded(image: np.ndarray, suffix: str = ".jpg") -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def exif(orientation: int, order: str = ">") -> bytes:
    mark = b"MM\0*" if order == ">" else b"II*\0"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(order + "IH", 8, 1) + entry + struct.pack(order + "I", 0)


def with_exif(jpeg: bytes, orientation: int, order: str = ">", thumbnail: bytes = b"") -> bytes:
    block = b"Exif\0\0" + exif(orientation, order) + thumbnail
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", [">", "<"])
def test_exif_rotation_is_applied_as_opencv_does(tmp_path: Path, orientation: int, order: str) -> None:
    data = with_exif(encoded(picture()), orientation, order)
    path = tmp_path / "turned.jpg"
    path.write_bytes(data)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    image = read_image(path)
    np.testing.assert_array_equal(image, expected)
    assert image_size(path) == (image.shape[1], image.shape[0])
    assert (image_size(path) == (24, 40)) == (orientation >= 5)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff"])
def test_size_is_that_of_the_decoded_picture(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encoded(picture(37, 21), suffix))
    assert image_size(path) == (37, 21)
    assert read_image(path).shape == (21, 37, 3)


def test_grey_and_transparent_pictures_become_three_channels(tmp_path: Path) -> None:
    for name, image in {
        "grey": picture()[..., 0],
        "clear": np.dstack((picture(), picture()[..., 0])),
    }.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(encoded(image, ".png"))
        assert read_image(path).shape == (24, 40, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
@pytest.mark.parametrize("share", [0.4, 0.7, 0.99])
def test_a_truncated_file_is_refused_without_noise(
    tmp_path: Path, suffix: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    data = encoded(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8), suffix)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UnreadableImage, match=r"truncated|corrupt"):
        read_image(path)
    assert capfd.readouterr() == ("", "")


def test_a_thumbnails_end_is_not_the_pictures_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    data = with_exif(encoded(picture()), 1, thumbnail=encoded(picture(8, 8)))
    path.write_bytes(data)
    assert read_image(path).shape == (24, 40, 3)
    path.write_bytes(data[:-20])
    with pytest.raises(UnreadableImage, match="no end-of-image marker"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_bytes_after_the_end_are_tolerated(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encoded(picture(), suffix) + b"appended by a camera")
    assert read_image(path).shape == (24, 40, 3)


@pytest.mark.parametrize("content", [None, b"", b"no picture at all", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_named(
    tmp_path: Path, content: bytes | None, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(UnreadableImage) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert caught.value.reason
    assert capfd.readouterr() == ("", "")


def test_the_error_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(UnreadableImage("a.jpg", "truncated")))
    assert (error.path, error.reason) == (Path("a.jpg"), "truncated")


def test_every_real_image_reads_at_its_header_size(shared_data: Path) -> None:
    for path in sorted((shared_data / "voc-mini" / "JPEGImages").glob("*.jpg")):
        image = read_image(path)
        assert image_size(path) == (image.shape[1], image.shape[0])


def test_a_picture_is_read_no_smaller_than_wanted() -> None:
    assert reduction((640, 480), (320, 240)) == 2
    assert reduction((640, 480), (321, 240)) == 1
    assert reduction((4032, 3024), (416, 312)) == 8
    assert reduction((641, 480), (100, 75)) == 1  # half a pixel would be left over
    assert reduction((100, 50), (200, 100)) == 1


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_reduced_picture_is_the_mean_of_its_squares(tmp_path: Path, suffix: str, factor: int) -> None:
    path = tmp_path / f"a{suffix}"
    y, x = np.mgrid[0:96, 0:160]
    whole = np.stack((x, y * 2, 255 - x), axis=2).astype(np.uint8)
    content = encoded(whole, suffix)
    path.write_bytes(with_exif(content, 6) if suffix == ".jpg" else content)
    image = read_image(path, factor)
    mean = whole.reshape(96 // factor, factor, 160 // factor, factor, 3).mean(axis=(1, 3))
    if suffix == ".jpg":
        mean = np.rot90(mean, -1)  # orientation 6: shown a quarter turn clockwise
    assert image.shape == mean.shape
    assert np.abs(image - mean).max() <= 3
