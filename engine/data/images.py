"""Reading pictures, with one EXIF policy: **the rotation that the EXIF block asks for is applied**.

It holds for JPEG, PNG and WebP, for training, evaluation and detection alike, and labels are taken to be in
the coordinates of the rotated picture, as labelling tools show it.
"""

from __future__ import annotations

import mmap
from pathlib import Path

import cv2
import numpy as np

from .image_header import Header, missing_end, read_header
from .sample import Image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

# A picture that cannot be decoded is reported by name; OpenCV's own lines would tear the screen.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
# Pictures are worked on side by side; splitting each among threads as well would only make them wait.
cv2.setNumThreads(1)

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class UnreadableImage(Exception):
    """A file that is missing, empty, no picture, or cut off. Travels between processes."""

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path = Path(path)
        self.reason = reason
        super().__init__(f"{path}: {reason}")

    def __reduce__(self) -> tuple[type[UnreadableImage], tuple[Path, str]]:
        return type(self), (self.path, self.reason)


def reduction(size: tuple[int, int], wanted: tuple[int, int]) -> int:
    """The factor, 1, 2, 4 or 8, by which a picture of (width, height) may be decoded smaller and still be no
    smaller than ``wanted``. Only one that divides both sides: a pixel then stands for a whole square."""
    fits = (k for k in (8, 4, 2) if not (size[0] % k or size[1] % k))
    return next((k for k in fits if size[0] >= k * wanted[0] and size[1] >= k * wanted[1]), 1)


def read_image(path: str | Path, reduced: int = 1) -> Image:
    """Decode a picture: ``[H, W, 3]`` BGR uint8, EXIF rotation applied.

    ``reduced``: 1, 2, 4 or 8 times smaller, from JPEG in a fraction of the time (see ``reduction``).

    Grey and transparent pictures become three channels, deeper ones 8 bit. Raises ``UnreadableImage`` also
    for a truncated file, which OpenCV would return half grey.
    """
    return decode_image(read_bytes(path), path, reduced)


def read_bytes(path: str | Path) -> bytes:
    """A file's content. Raises ``UnreadableImage``."""
    try:
        # unbuffered: a training reads every picture anew, and half the calls are half the time
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        raise UnreadableImage(path, _reason(error)) from None


def decode_image(data: bytes, path: str | Path, reduced: int = 1) -> Image:
    """As ``read_image``, from a file's content; ``path`` is for the message."""
    if not data:
        raise UnreadableImage(path, "an empty file")
    header = read_header(data)
    if header is not None and (fault := missing_end(data, header.kind)):
        raise UnreadableImage(path, fault)
    # OpenCV reads all formats at a reduced size, but only JPEG without the pixels in between
    in_decoder = reduced if header is not None and header.kind == "jpeg" else 1
    flags = _REDUCED[in_decoder] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise UnreadableImage(path, "not a picture" if header is None else "cannot be decoded")
    if reduced != in_decoder:
        size = (image.shape[1] // reduced, image.shape[0] // reduced)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return _rotated(image.astype(np.uint8, copy=False), header.orientation if header else 1)


def image_header(path: str | Path) -> Header | None:
    """The header of a file; None for a format that is not read without decoding.

    Raises ``UnreadableImage`` where the file is missing or empty.
    """
    try:
        with open(path, "rb") as file:
            try:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise UnreadableImage(path, "an empty file") from None
            with data:
                return read_header(data)
    except OSError as error:
        raise UnreadableImage(path, _reason(error)) from None


def image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) after the EXIF rotation, from the header alone for JPEG, PNG, BMP and WebP.

    Raises ``UnreadableImage``.
    """
    header = image_header(path)
    if header is not None:
        return header.shown_size
    image = read_image(path)
    return image.shape[1], image.shape[0]


def _reason(error: OSError) -> str:
    return "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error)).lower()


def _rotated(image: Image, orientation: int) -> Image:
    """The eight orientations of EXIF 2.3, tag 0x0112."""
    if orientation == 1:
        return image
    if orientation >= 5:
        image = np.swapaxes(image, 0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
