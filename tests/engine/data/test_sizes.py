from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.sizes import InputSizes
from engine.errors import UserError


def test_yolov2s_sizes() -> None:
    sizes = InputSizes((416, 416), 0.25)
    assert sizes.choices == tuple((side, side) for side in range(320, 513, 32))
    assert sizes.largest == (512, 512)
    assert sizes.mean_area == pytest.approx(sum(k * k for k in range(10, 17)) / 7 / 169)


def test_none_but_the_declared_one() -> None:
    sizes = InputSizes((320, 240))
    assert not sizes.vary
    assert {sizes.at(step) for step in range(100)} == {(320, 240)}
    assert sizes.mean_area == 1


def test_every_size_comes_for_ten_batches() -> None:
    sizes = InputSizes((320, 240), 0.3, 8, seed=3)
    drawn = [sizes.at(step) for step in range(4000)]
    assert set(drawn) == set(sizes.choices)
    assert all(len(set(drawn[k : k + 10])) == 1 for k in range(0, 4000, 10))
    assert drawn == [InputSizes((320, 240), 0.3, 8, seed=3).at(step) for step in range(4000)]
    assert drawn != [InputSizes((320, 240), 0.3, 8, seed=4).at(step) for step in range(4000)]


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([8, 16, 32]), st.floats(0.01, 0.99))
def test_multiples_within_the_spread_of_the_same_shape(w: int, h: int, stride: int, spread: float) -> None:
    declared = w * stride, h * stride
    try:
        sizes = InputSizes(declared, spread, stride)
    except UserError:
        assert max(w, h) * spread < 1
        return
    assert len(sizes.choices) > 1
    for width, height in sizes.choices:
        assert width % stride == height % stride == 0
        longer, shorter = max(width, height), min(width, height)
        assert (1 - spread) * max(declared) - 1e-3 <= longer <= (1 + spread) * max(declared) + 1e-3
        ideal = longer * min(declared) / max(declared)
        assert abs(shorter - ideal) <= stride / 2 or shorter == stride
        assert (width >= height) == (w >= h) or width == height


def test_a_spread_without_another_size() -> None:
    with pytest.raises(UserError, match=r"multi_scale.*395 to 437 px.*multiples of 32.*0\.08 or more"):
        InputSizes((416, 416), 0.05)
    InputSizes((416, 416), 0.08)
