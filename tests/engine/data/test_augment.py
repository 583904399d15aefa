"""A painted box is followed through every change: where the paint ends up, the box is."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import AugmentConfig
from engine.data.augment import Colour, Picture, _turned, augmented, letterboxed, visible_part
from engine.data.letterbox import GREY, framed
from engine.data.mosaic import mosaic
from engine.letterbox import Letterbox

SIZE = (80, 60)
INPUT = (96, 64)
GEOMETRY = AugmentConfig(flip_x=0.5, flip_y=0.5, scale=0.3, translate=0.2, min_visible=0.25, mosaic=1)
FLIPS = AugmentConfig(flip_x=0.5, flip_y=0.5)
TURNS = AugmentConfig(flip_x=0.5, flip_y=0.5, transpose=0.5, scale=0.3, min_visible=0.25, mosaic=1)


def painted(box: tuple[int, int, int, int], size: tuple[int, int] = SIZE) -> np.ndarray:
    image = np.zeros((size[1], size[0], 3), np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    return image


def paint_bounds(canvas: np.ndarray) -> np.ndarray:
    """Where the paint is, to the half-covered pixel."""
    seen = (canvas >= 200).all(axis=2)
    columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def used(size: tuple[int, int]) -> np.ndarray:
    """A canvas with something on it, brighter than all that is painted here."""
    return np.full((size[1], size[0], 3), 255, np.uint8)


def drawn(
    picture: Picture, image: np.ndarray, place: Letterbox, augment: AugmentConfig, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The canvas, RGB, and boxes and labels in it."""
    tile, moved, labels = augmented(picture, place, augment, np.random.default_rng(seed))
    canvas = used((place.input_w, place.input_h))
    tile.paint(image, canvas)
    return canvas, moved, labels


def drawn_mosaic(
    four: list[tuple[Picture, np.ndarray]], augment: AugmentConfig, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    tiles, moved, labels = mosaic([picture for picture, _ in four], INPUT, augment, rng)
    canvas = used(INPUT)
    for tile, (_, image) in zip(tiles, four, strict=True):
        tile.paint(image, canvas)
    return canvas, moved, labels


def coloured(image: np.ndarray, augment: AugmentConfig, seed: int) -> np.ndarray:
    """RGB, from BGR."""
    canvas = np.zeros_like(image)
    Colour.draw(augment, np.random.default_rng(seed)).paint(image, canvas)
    return canvas


boxes = st.tuples(st.integers(0, 60), st.integers(0, 40), st.integers(8, 20), st.integers(8, 20)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@settings(max_examples=150, deadline=None)
@given(boxes, st.integers(0, 10_000), st.sampled_from([GEOMETRY, FLIPS, TURNS]))
def test_the_box_follows_its_paint(box: tuple[int, int, int, int], seed: int, augment: AugmentConfig) -> None:
    place = Letterbox.fit(SIZE, SIZE)
    truth = np.array([box], np.float32)
    fitted = Picture(SIZE, truth, np.array([3]), place.new_w, place.new_h)
    canvas, moved, labels = drawn(fitted, painted(box), place, augment, seed)
    if not len(moved):
        assert augment is not FLIPS  # flips alone lose nothing
        return
    assert labels.tolist() == [3]
    tolerance = 0 if augment is FLIPS else 1.0
    np.testing.assert_allclose(paint_bounds(canvas), moved[0], atol=tolerance + 1e-4)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(boxes, min_size=4, max_size=4),
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.0, 1.0]),
)
def test_in_a_mosaic_every_box_follows_its_paint(
    four: list[tuple[int, int, int, int]], seed: int, scale: float, transpose: float
) -> None:
    augment = AugmentConfig(
        flip_x=0.5, flip_y=0.5, transpose=transpose, scale=scale, min_visible=0.25, mosaic=1
    )
    # each tile has paint of its own in one channel of two levels, to tell the four apart
    tiles = []
    for number, box in enumerate(four):
        image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        image[box[1] : box[3], box[0] : box[2]] = 60 * (number + 1)
        tiles.append((Picture(SIZE, np.array([box], np.float32), np.array([number]), *SIZE), image))
    canvas, moved, labels = drawn_mosaic(tiles, augment, seed)
    assert len(set(labels.tolist())) == len(labels)
    for box, label in zip(moved, labels.tolist(), strict=True):
        x1, y1, x2, y2 = np.round(box).astype(int)
        if x2 - x1 < 5 or y2 - y1 < 5:
            continue
        inner = canvas[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2]
        assert (inner == 60 * (label + 1)).all()
        if scale == 0:  # objects keep their scale: never larger, smaller only where cut
            left, top, right, bottom = four[label]
            size = (bottom - top, right - left) if transpose else (right - left, bottom - top)
            assert x2 - x1 <= size[0]
            assert y2 - y1 <= size[1]


def test_a_transposed_picture_keeps_the_scale_of_its_objects_and_its_colours() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    image[10:30, 20:60] = (10, 200, 90)
    truth = np.array([[20, 10, 60, 30]], np.float32)
    place = Letterbox.fit(SIZE, INPUT)
    picture = Picture(SIZE, truth, np.array([0]), place.new_w, place.new_h)
    canvas, moved, _ = drawn(picture, image, place, AugmentConfig(transpose=1, min_visible=0), 2)
    scale = place.new_w / SIZE[0]
    x1, y1, x2, y2 = moved[0]
    assert x2 - x1 == pytest.approx(20 * scale, abs=1)
    assert y2 - y1 <= 40 * scale + 1, "only cut where the input ends"
    middle = canvas[int(y1 + y2) // 2, int(x1 + x2) // 2]
    assert middle.tolist() == [90, 200, 10]


def test_mosaic_tiles_cover_the_canvas_and_hidden_boxes_are_dropped() -> None:
    image = np.full((64, 96, 3), 9, np.uint8)
    whole = Picture(INPUT, np.array([[0, 0, 96, 64]], np.float32), np.array([0]), *INPUT)
    augment = AugmentConfig(min_visible=0.9, mosaic=1)
    canvas, moved, _ = drawn_mosaic([(whole, image)] * 4, augment, 0)
    assert (canvas == 9).all()
    assert not len(moved)


def test_without_changes_it_is_the_letterbox() -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    place = Letterbox.fit(SIZE, INPUT)
    fitted = np.repeat(image[:, :1], place.new_w, axis=1)[: place.new_h]
    fitted = np.ascontiguousarray(np.resize(fitted, (place.new_h, place.new_w, 3)))
    box = np.array([[1, 2, 30, 40]], np.float32)
    picture = Picture((place.new_w, place.new_h), box, np.array([0]), place.new_w, place.new_h)
    canvas, moved, _ = drawn(picture, fitted, place, AugmentConfig(), 0)
    np.testing.assert_array_equal(canvas[..., ::-1], framed(fitted, place))
    np.testing.assert_array_equal(moved, box + [place.left, place.top] * 2)
    tile, plain, _ = letterboxed(picture, place)
    again = used(INPUT)
    tile.paint(fitted, again)
    np.testing.assert_array_equal(again, canvas)
    np.testing.assert_array_equal(plain, moved)


def test_colour_leaves_the_borders_grey() -> None:
    augment = AugmentConfig(gain=0.5, brightness=0.5, hue=0.5, saturation=1, exposure=1)
    place = Letterbox.fit((40, 64), (64, 64))
    image = np.full((64, 40, 3), (40, 120, 200), np.uint8)
    nothing = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    canvas, _, _ = drawn(Picture((40, 64), *nothing, place.new_w, place.new_h), image, place, augment, 1)
    assert (canvas[:, : place.left] == GREY).all()
    assert (canvas[:, place.left + 40 :] == GREY).all()
    assert (canvas[:, place.left : place.left + 40] != image[..., ::-1]).any()


def test_gain_and_brightness_stay_in_their_bounds() -> None:
    augment = AugmentConfig(gain=0.075, brightness=0.15)
    image = np.full((2, 2, 3), 100, np.uint8)
    seen = np.array([coloured(image, augment, k)[0, 0] for k in range(300)])
    assert seen.min() >= round(100 * 0.85 * 0.925)
    assert seen.max() <= round(100 * 1.15 * 1.075)
    assert seen.std() > 5
    assert (seen != seen[:, :1]).any()  # channels differ
    np.testing.assert_array_equal(image, 100)  # the source (which may be a cache) stays


def test_exposure_scales_value_alone() -> None:
    image = np.full((2, 2, 3), (30, 60, 90), np.uint8)
    augment = AugmentConfig(exposure=1.0)
    for seed in range(20):
        r, g, b = (float(v) for v in coloured(image, augment, seed)[0, 0])
        assert 44 <= r <= 181
        assert b / r == pytest.approx(1 / 3, abs=0.03)
        assert g / r == pytest.approx(2 / 3, abs=0.03)


def test_hue_turns_the_colour_circle_and_leaves_grey_alone() -> None:
    red, green, blue = np.eye(3, dtype=np.uint8) * 90
    for augment in (AugmentConfig(hue=1), AugmentConfig(saturation=1)):
        image = np.full((2, 2, 3), 100, np.uint8)
        for seed in range(5):
            np.testing.assert_array_equal(coloured(image, augment, seed), 100)
    third = Colour(np.array(_turned(2 * np.pi / 3), np.float32))
    for before, after in ((red, green), (green, blue), (blue, red)):
        canvas = np.zeros((1, 1, 3), np.uint8)
        third.paint(before[None, None, ::-1].copy(), canvas)
        np.testing.assert_array_equal(canvas[0, 0], after)


@pytest.mark.parametrize("angle", [-30, -15, 10, 36])
def test_hue_turns_by_the_angle_that_is_asked_for(angle: int) -> None:
    image = np.full((1, 1, 3), (90, 110, 150), np.uint8)
    canvas = np.zeros_like(image)
    Colour(np.array(_turned(np.radians(angle)), np.float32)).paint(image, canvas)
    before, after = (
        colorsys.rgb_to_hsv(*(colour / 255))[0] * 360 for colour in (image[0, 0, ::-1], canvas[0, 0])
    )
    assert (after - before + 180) % 360 - 180 == pytest.approx(angle, abs=3)


def test_saturation_scales_the_distance_from_grey() -> None:
    image = np.full((1, 1, 3), (90, 110, 150), np.uint8)
    spreads = [np.ptp(coloured(image, AugmentConfig(saturation=0.5), seed).astype(int)) for seed in range(99)]
    assert 60 / 1.5 - 2 <= min(spreads) < 48
    assert 75 < max(spreads) <= 60 * 1.5 + 2


def test_visible_part_drops_below_the_share() -> None:
    truths = np.array([[-30, 0, 10, 10], [-29, 0, 11, 10], [50, 50, 60, 60]], np.float32)
    clipped, keep = visible_part(truths, (0, 0, 40, 40), 0.26)
    assert keep.tolist() == [False, True, False]
    np.testing.assert_array_equal(clipped[1], [0, 0, 11, 10])
