from __future__ import annotations

import io

import numpy as np
from rich.console import Console

from engine.data.drawing import class_colour
from tui.halfblock import detections_picture, half_block


def test_a_cell_holds_two_pixels() -> None:
    image = np.zeros((2, 1, 3), dtype=np.uint8)
    image[0], image[1] = (255, 0, 0), (0, 0, 255)
    (segment,) = next(iter(half_block(image, 1, 1).segments()))
    assert segment.text == "▀"
    assert segment.style is not None
    assert segment.style.color is not None
    assert segment.style.bgcolor is not None
    assert segment.style.color.triplet == (0, 0, 255), "BGR blue above"
    assert segment.style.bgcolor.triplet == (255, 0, 0), "BGR red below"


def test_the_shape_is_kept_and_fits() -> None:
    for height, width in ((100, 300), (300, 100), (64, 64), (3, 500)):
        picture = half_block(np.zeros((height, width, 3), dtype=np.uint8), 80, 20)
        assert picture.columns <= 80
        assert picture.rows <= 20
        assert picture.columns == 80 or picture.rows == 20
    square = half_block(np.zeros((64, 64, 3), dtype=np.uint8), 80, 20)
    assert square.columns == 40


def test_boxes_keep_their_line_and_their_label_is_text() -> None:
    image = np.full((600, 800, 3), 90, dtype=np.uint8)
    found = np.array([[200, 150, 600, 450, 0.9, 1]], dtype=np.float32)
    picture = detections_picture(image, found, ["cat", "dog"], 80, 30)
    colour = np.array(class_colour(1), dtype=np.uint8)
    lined = (picture.pixels == colour).all(axis=2)
    rows, columns = np.where(lined)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (20, 60, 15, 45)
    assert not lined[20:40, 25:55].any(), "the inside is the picture's"
    console = Console(width=100, file=io.StringIO(), force_terminal=True, record=True)
    console.print(picture)
    assert "dog 0.90" in console.export_text()


def test_the_strongest_box_keeps_its_label() -> None:
    image = np.zeros((100, 100, 3), dtype=np.uint8)
    found = np.array([[10, 30, 90, 90, 0.3, 0], [10, 30, 90, 90, 0.8, 1]], dtype=np.float32)
    picture = detections_picture(image, found, ["weak", "strong"], 60, 30)
    text = "".join(segment.text for line in picture.segments() for segment in line)
    assert "strong 0.80" in text
    assert "weak" not in text


def test_boxes_outside_are_clipped() -> None:
    image = np.zeros((50, 50, 3), dtype=np.uint8)
    found = np.array([[-20, -20, 500, 500, 0.5, 0], [40, -9, 49, 2, 0.4, 0]], dtype=np.float32)
    picture = detections_picture(image, found, ["a"], 30, 10)
    assert sum(1 for _ in picture.segments()) == picture.rows
