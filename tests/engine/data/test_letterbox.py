from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.data.letterbox import GREY, letterbox
from engine.letterbox import Letterbox

side = st.integers(1, 3000)
input_side = st.integers(32, 640)


@given(side, side, input_side, input_side)
def test_fits_centred_and_touches_two_sides(w: int, h: int, input_w: int, input_h: int) -> None:
    place = Letterbox.fit((w, h), (input_w, input_h))
    assert place.new_w == input_w or place.new_h == input_h
    assert abs(place.left - (input_w - place.new_w - place.left)) <= 1
    assert abs(place.top - (input_h - place.new_h - place.top)) <= 1
    assert abs(place.new_w - w * place.scale) <= 1
    assert abs(place.new_h - h * place.scale) <= 1


@given(side, side, input_side, input_side, st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_there_and_back(w: int, h: int, input_w: int, input_h: int, corners: list[float]) -> None:
    place = Letterbox.fit((w, h), (input_w, input_h))
    boxes = (np.array([corners]) * [w, h, w, h]).astype(np.float32)
    inside = place.boxes_to_input(boxes)
    limit = np.array([input_w, input_h] * 2)
    assert (inside >= -1e-3).all()
    assert (inside <= limit + 1e-3).all()
    np.testing.assert_allclose(place.boxes_to_source(inside), boxes, atol=max(w, h) * 1e-5)


def test_the_whole_picture_is_the_whole_area() -> None:
    image = np.full((50, 200, 3), 7, np.uint8)
    canvas, place = letterbox(image, (100, 100))
    assert (place.left, place.top, place.new_w, place.new_h, place.scale) == (0, 37, 100, 25, 0.5)
    (x1, y1, x2, y2) = place.boxes_to_input(np.array([[0, 0, 200, 50]], np.float32))[0].astype(int)
    assert (canvas[y1:y2, x1:x2] == 7).all()
    canvas[y1:y2, x1:x2] = GREY
    assert (canvas == GREY).all()


def test_small_pictures_are_scaled_up_and_fitting_ones_untouched() -> None:
    image = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    assert letterbox(image, (64, 48))[1].scale == 2
    same, _ = letterbox(image, (32, 24))
    np.testing.assert_array_equal(same, image)


@given(side, side, input_side, input_side, st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_stretched_the_picture_is_the_whole_input(
    w: int, h: int, input_w: int, input_h: int, corners: list[float]
) -> None:
    place = Letterbox.fit((w, h), (input_w, input_h), stretch=True)
    assert (place.left, place.top, place.new_w, place.new_h) == (0, 0, input_w, input_h)
    relative = np.array([corners])
    boxes = (relative * [w, h, w, h]).astype(np.float32)
    expected = relative * [input_w, input_h, input_w, input_h]
    np.testing.assert_allclose(place.boxes_to_input(boxes), expected, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(place.boxes_to_source(expected), boxes, rtol=1e-5, atol=1e-2)


def test_stretched_pixels_are_opencvs() -> None:
    image = np.random.default_rng(0).integers(0, 255, (300, 500, 3), np.uint8)
    canvas, _ = letterbox(image, (64, 96), stretch=True)
    np.testing.assert_array_equal(canvas, cv2.resize(image, (64, 96), interpolation=cv2.INTER_LINEAR))
