"""Faults of the data set and of the config."""

import shutil
from pathlib import Path

import cv2
import numpy as np

from tests.faults.case import fault
from tests.faults.drawing import write_annotation


def edit(root: Path, image_id: str, old: str, new: str) -> None:
    path = root / "Annotations" / f"{image_id}.xml"
    text = path.read_text(encoding="utf-8")
    if old not in text:
        raise ValueError(f"{old!r} is not in {path}")
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def zero_size(root: Path) -> None:
    write_annotation(root, "003", (97, 65), [("red", 20, 20, 20, 40), ("blue", 40, 10, 70, 50)])


def counted_from_zero(root: Path) -> None:
    for k in range(10):
        path = root / "Annotations" / f"{k:03d}.xml"
        size = cv2.imread(str(root / "JPEGImages" / f"{k:03d}.jpg")).shape
        write_annotation(
            root, path.stem, (size[1], size[0]), [("red", 0, 0, 30, 24), ("blue", 40, 20, 64, 50)]
        )


def sideways(root: Path) -> None:
    """The picture carries an EXIF rotation; its annotation was made without it."""
    path = root / "JPEGImages" / "004.jpg"
    data = path.read_bytes()
    # a TIFF block of one entry: tag 0x0112 (orientation), SHORT, 1 value, 6 (turn by 90 degrees)
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"
    body = b"Exif\x00\x00" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:])


def repeated_across_splits(root: Path) -> None:
    shutil.copy(root / "JPEGImages" / "002.jpg", root / "JPEGImages" / "009.jpg")
    shutil.copy(root / "Annotations" / "002.xml", root / "Annotations" / "009.xml")
    edit(root, "009", "002.jpg", "009.jpg")


def labelled_twice(root: Path) -> None:
    for image_id in ("001", "002", "003"):
        path = root / "Annotations" / f"{image_id}.xml"
        text = path.read_text(encoding="utf-8")
        start, end = text.index("<object>"), text.index("</object>") + len("</object>")
        path.write_text(text[:end] + text[start:end] + text[end:], encoding="utf-8")


def outside(root: Path) -> None:
    write_annotation(root, "003", (97, 65), [("red", 150, 20, 190, 40), ("blue", 40, 10, 70, 50)])


def picture_missing(root: Path) -> None:
    (root / "JPEGImages" / "005.jpg").unlink()


def picture_cut_off(root: Path) -> None:
    path = root / "JPEGImages" / "005.jpg"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def tiny_objects(root: Path) -> None:
    for k in range(8):
        size = cv2.imread(str(root / "JPEGImages" / f"{k:03d}.jpg")).shape
        rng = np.random.default_rng(k)
        corners = rng.integers(4, 50, (6, 2)).tolist()
        write_annotation(
            root, f"{k:03d}", (size[1], size[0]), [("red", x, y, x + 2, y + 1) for x, y in corners]
        )


def rename(root: Path, old: str, new: str) -> None:
    for path in (root / "Annotations").glob("*.xml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(f"<name>{old}</name>", f"<name>{new}</name>"), encoding="utf-8")


def class_merged(root: Path) -> None:
    rename(root, "yellow", "red")


def axes_exchanged(root: Path) -> None:
    """Pictures are half as wide again as high: most boxes stick out."""
    for path in sorted((root / "Annotations").glob("*.xml")):
        size = cv2.imread(str(root / "JPEGImages" / f"{path.stem}.jpg")).shape
        right = [("red", 40, 6, 90, 40), ("blue", 50, 30, 92, 58)]
        turned = [(name, y1, x1, y2, x2) for name, x1, y1, x2, y2 in right]
        write_annotation(root, path.stem, (size[1], size[0]), turned)


def upright(root: Path) -> None:
    """Every object is about three times as high as it is wide: 16 x 48 pixels of the input."""
    for k, path in enumerate(sorted((root / "Annotations").glob("*.xml"))):
        size = cv2.imread(str(root / "JPEGImages" / f"{path.stem}.jpg")).shape
        tall = [(("red", "green")[k % 2], 8, 6, 24, 54), (("blue", "yellow")[k % 2], 40, 8, 54, 52)]
        write_annotation(root, path.stem, (size[1], size[0]), tall)


def warned(slug: str, about: str, spoil, row: int | None = None, **more):
    more.setdefault("to", "data")
    return fault(slug, "looped", about, spoil=spoil, code=False, expected="warning", row=row, **more)


def settings(slug: str, about: str, expected: str = "warning", **train):
    return fault(
        f"config-{slug}", "looped", about, code=False, expected=expected, to="config", config={"train": train}
    )


CONFIG = [
    settings("rate-of-sgd", "a rate for SGD, left beside AdamW", "error", lr=0.5),
    settings(
        "rate-hundredfold",
        "SGD at a hundred times a rate that works",
        optimizer="sgd",
        lr=1.0,
        warmup_epochs=0,
    ),
    settings("warmup-whole", "the warm-up lasts as long as the training", warmup_epochs=3),
    settings(
        "gamma-upside-down", "a divisor where a factor is meant", schedule="step", gamma=10.0, epochs=100
    ),
    settings("momentum-1", "momentum of one", "error", optimizer="sgd", lr=1e-3, momentum=1.0),
    settings("decay-and-rate", "decay for AdamW, rate for SGD", optimizer="sgd", lr=0.1, weight_decay=0.5),
    settings("ema-of-a-long-run", "an average over more steps than there are", ema=0.9999),
    warned(
        "config-class-too-many", "a class of the config has no object", class_merged, to=("data", "config")
    ),
    warned(
        "config-anchors-turned",
        "anchors as height, width",
        upright,
        row=32,
        config={"model": {"anchors": [[6.0, 2.0], [5.0, 1.6], [7.0, 2.4]]}},
        to=("config", "data"),
    ),
]

CASES = [
    warned("data-zero-size-box", "a box with xmin = xmax", zero_size, row=38),
    warned(
        "data-counted-from-0", "annotations count pixels from 0, the config says 1", counted_from_zero, row=44
    ),
    warned(
        "data-exif-ignored", "an annotation in the coordinates before the EXIF rotation", sideways, row=44
    ),
    warned("data-outside-box", "a box wholly outside its picture", outside, row=43),
    warned(
        "data-same-picture-in-val",
        "a picture of train stands in val under another name",
        repeated_across_splits,
        config={"data": {"val": "val"}},
    ),
    warned("data-labelled-twice", "one object, two equal boxes", labelled_twice),
    warned("data-picture-missing", "an annotation without a picture", picture_missing),
    warned("data-picture-cut-off", "half a JPEG", picture_cut_off),
    warned("data-tiny-objects", "every object is smaller than a cell", tiny_objects, to=("data", "config")),
    warned(
        "config-anchors-in-pixels",
        "anchors in pixels where grid units are meant",
        None,
        row=32,
        config={"model": {"anchors": [[12, 18], [36, 16], [24, 40]]}},
        to=("config", "data"),
    ),
    warned(
        "config-anchors-in-image",
        "anchors in 0..1 where grid units are meant",
        None,
        row=32,
        config={"model": {"anchors": [[0.12, 0.28], [0.38, 0.25], [0.25, 0.6]]}},
        to=("config", "data"),
    ),
    *CONFIG,
    fault(
        "data-cut-off-beside-a-fault",
        "looped",
        "half a JPEG in the data, and exp on the wrong pair: the function comes first",
        ("torch.exp(pbox[..., 2:4])", "torch.exp(pbox[..., :2])"),
        spoil=picture_cut_off,
        to="decode",
        channels="x y w h",
        overlap=True,
    ),
    fault(
        "data-axes-exchanged",
        "looped",
        "x and y are exchanged in every annotation",
        spoil=axes_exchanged,
        code=False,
        to="data",
    ),
]
