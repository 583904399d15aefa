"""What an image will show is decided without a picture: the files named here do not exist."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.config import AugmentConfig
from engine.data.draws import Draw
from engine.data.fitted import DecodedImages
from engine.data.plan import Planner
from engine.data.sample import Sample

LARGEST = (96, 64)
COUNT = 9


def sample(number: int, width: int = 96, height: int = 64) -> Sample:
    box = np.array([[10 + number, 8, 50 + number, 40]], np.float32)
    flag = np.zeros(1, np.bool_)
    return Sample(Path(f"no/{number}.jpg"), str(number), width, height, box, np.array([number]), flag, flag)


def planner(augment: AugmentConfig | None, samples: list[Sample]) -> Planner:
    return Planner(samples, DecodedImages(samples, LARGEST, "none", False), augment, 0, False)


@pytest.fixture
def mosaics() -> Planner:
    return planner(
        AugmentConfig(mosaic=1, flip_x=0.5, scale=0.2, min_visible=0), list(map(sample, range(COUNT)))
    )


def test_a_picture_decoded_at_half_its_size_has_the_boxes_of_the_whole_one() -> None:
    small, large = sample(0), sample(0, 192, 128)
    large = Sample(**{**vars(large), "boxes": small.boxes * 2})
    plans = [
        planner(AugmentConfig(scale=0.3), [one]).augmented(Draw(0, 0, True), LARGEST)
        for one in (small, large)
    ]
    np.testing.assert_array_equal(plans[0].boxes, plans[1].boxes)
    assert plans[0].tiles[0][1].placement == plans[1].tiles[0][1].placement


def test_the_own_picture_comes_first_and_every_corner_is_filled_once(mosaics: Planner) -> None:
    for index in range(COUNT):
        plan = mosaics.augmented(Draw(3, index, True), LARGEST)
        assert plan.tiles[0][0] == index
        seen = np.zeros((LARGEST[1], LARGEST[0]), int)
        for _, tile in plan.tiles:
            x1, y1, x2, y2 = tile.area
            seen[y1:y2, x1:x2] += 1
        assert (seen == 1).all()


def test_the_next_picture_takes_an_unreadable_ones_place_and_nothing_else_changes(mosaics: Planner) -> None:
    draw = Draw(0, 2, True)
    plan = mosaics.augmented(draw, LARGEST)
    others = [index for index, _ in plan.tiles[1:]]
    bad = next(index for index in others if index != 2)
    again = mosaics.augmented(draw, LARGEST, frozenset({bad}))
    moved = [(bad + 1) % COUNT if index == bad else index for index, _ in plan.tiles]
    assert [index for index, _ in again.tiles] == moved
    assert [tile.area for _, tile in again.tiles] == [tile.area for _, tile in plan.tiles]
    assert [tile.placement for _, tile in again.tiles] == [tile.placement for _, tile in plan.tiles]
    further = mosaics.augmented(draw, LARGEST, frozenset({bad, (bad + 1) % COUNT}))
    assert {index for index, _ in further.tiles}.isdisjoint({bad, (bad + 1) % COUNT} - {2})


def test_without_augmentation_it_is_the_letterbox() -> None:
    samples = [sample(0, 96, 32)]
    plan = planner(None, samples).augmented(Draw(0, 0, True), LARGEST)
    np.testing.assert_array_equal(plan.boxes, plan.place.boxes_to_input(samples[0].boxes))
    ((index, tile),) = plan.tiles
    assert index == 0
    assert (tile.placement.y.start, tile.placement.y.stop) == (16, 48)
    assert tile.colour.matrix is None
