from __future__ import annotations

import numpy as np

from engine.data.drawing import class_colour, draw_detections, text_colour


def test_the_frame_lies_on_the_box_and_the_original_is_untouched() -> None:
    image = np.full((200, 200, 3), 50, dtype=np.uint8)
    found = np.array([[40, 60, 160, 180, 0.9, 2]], dtype=np.float32)
    drawn = draw_detections(image, found, ["a", "b", "c"])
    assert (image == 50).all()
    colour = class_colour(2)
    assert tuple(drawn[120, 40]) == colour
    assert tuple(drawn[180, 100]) == colour
    assert (drawn[100:140, 80:120] == 50).all(), "the inside stays"
    assert (drawn[:30] == 50).all(), "and so does what lies far above"


def test_no_detection_draws_nothing() -> None:
    image = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    assert (draw_detections(image, np.zeros((0, 6), np.float32), ["a"]) == image).all()


def test_classes_have_colours_of_their_own_that_text_can_be_read_on() -> None:
    colours = [class_colour(label) for label in range(80)]
    assert len(set(colours)) == 80
    for colour in colours:
        assert text_colour(colour) in ((0, 0, 0), (255, 255, 255))
    assert text_colour((255, 255, 255)) == (0, 0, 0)
    assert text_colour((120, 0, 0)) == (255, 255, 255)


def test_a_box_at_the_top_keeps_its_label_inside() -> None:
    image = np.zeros((100, 100, 3), dtype=np.uint8)
    drawn = draw_detections(image, np.array([[0, 0, 99, 99, 0.5, 0]], np.float32), ["name"])
    assert drawn.shape == image.shape
    assert drawn[3:12, 3:40].any()
