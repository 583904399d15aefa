"""What each kind of error costs: one of each by hand, TIDE's own answer, and what must always hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evaluate_coco import CocoImage, coco_numbers
from engine.evaluate_errors import KINDS, error_costs

CLASSES = ["cat", "dog"]
CAT, DOG = 0, 1
Row = tuple[float, float, float, float, int]
TRUTH = (100.0, 100.0, 40.0, 40.0)


def an_image(
    truths: list[Row],
    found: list[tuple[Row, float]],
    crowd: tuple[int, ...] = (),
    difficult: tuple[int, ...] = (),
) -> CocoImage:
    rows = np.array([row for row, _ in found], np.float64).reshape(-1, 5)
    known = np.array(truths, np.float64).reshape(-1, 5)
    places = range(len(known))
    return CocoImage(
        truths=known[:, :4],
        truth_labels=known[:, 4].astype(np.int64),
        areas=known[:, 2:4].prod(1),
        crowd=np.array([k in crowd for k in places], np.bool_),
        difficult=np.array([k in difficult for k in places], np.bool_),
        boxes=rows[:, :4],
        labels=rows[:, 4].astype(np.int64),
        scores=np.array([score for _, score in found], np.float64),
    )


def costs_of(*images: CocoImage) -> dict[str, float]:
    found = error_costs(images, [str(k) for k in range(len(images))], CLASSES).mean
    assert tuple(found) == KINDS
    return {kind: cost for kind, cost in found.items() if cost}


RIGHT: tuple[Row, float] = ((*TRUTH, CAT), 0.5)


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ((*TRUTH, DOG), "classification"),
        ((120.0, 110.0, 40.0, 40.0, CAT), "localization"),
        ((120.0, 110.0, 40.0, 40.0, DOG), "both"),
        ((500.0, 100.0, 40.0, 40.0, CAT), "background"),
        ((138.0, 100.0, 40.0, 40.0, CAT), "background"),  # an overlap of 0.026
    ],
)
def test_each_wrong_one_is_so_in_one_way(wrong: Row, kind: str) -> None:
    """A cat found rightly, behind one found wrongly at a cat of another image that nothing else finds."""
    truths = [(*TRUTH, CAT)]
    other = an_image([(10.0, 10.0, 20.0, 20.0, DOG)], [((10.0, 10.0, 20.0, 20.0, DOG), 0.6)])
    missing = an_image(truths, [(wrong, 0.8)])
    costs = costs_of(an_image(truths, [RIGHT]), missing, other)
    assert kind in costs
    # what has the right place or class leaves nothing that is missed
    others = {"missed"} if kind in ("both", "background") else set()
    assert set(costs) == {kind} | others


def test_the_second_on_a_truth_is_a_duplicate() -> None:
    first = ((101.0, 100.0, 40.0, 40.0, CAT), 0.9)
    second = an_image(
        [(*TRUTH, CAT), (300.0, 10.0, 9.0, 9.0, CAT)], [first, RIGHT, ((300.0, 10.0, 9.0, 9.0, CAT), 0.1)]
    )
    assert set(costs_of(second)) == {"duplicate"}


def test_closed_forms() -> None:
    """Two cats, one found; before it one on nothing: precision 1/2 up to recall 1/2."""
    image = an_image(
        [(*TRUTH, CAT), (300.0, 10.0, 9.0, 9.0, CAT)], [((500.0, 0.0, 9.0, 9.0, CAT), 0.9), RIGHT]
    )
    half = 51 / 101  # of COCO's 101 marks, those up to recall 1/2
    assert costs_of(image) == pytest.approx({"background": half * 0.5, "missed": 0.5 - half * 0.5})


def test_a_class_and_place_are_mended_once_a_truth() -> None:
    """Two dogs on the one cat: the stronger becomes the cat, the other goes."""
    image = an_image([(*TRUTH, CAT)], [((*TRUTH, DOG), 0.9), ((*TRUTH, DOG), 0.8)])
    assert costs_of(image) == {"classification": 1.0}


@pytest.mark.parametrize("ignored", ["crowd", "difficult"])
def test_on_a_crowd_or_a_difficult_truth_nothing_is_wrong(ignored: str) -> None:
    truths = [(*TRUTH, CAT), (300.0, 10.0, 9.0, 9.0, CAT)]
    inside = (300.0, 10.0, 9.0, 9.0, CAT)
    image = an_image(truths, [RIGHT, (inside, 0.9), (inside, 0.8)], **{ignored: (1,)})  # type: ignore[arg-type]
    assert costs_of(image) == {}


def test_images_with_sure_finds_on_nothing_are_named() -> None:
    nothing = ((500.0, 0.0, 9.0, 9.0, CAT), 0.9)
    images = [
        an_image([(*TRUTH, CAT)], [RIGHT]),
        an_image([], [nothing]),
        an_image([], [nothing, ((5.0, 0.0, 9.0, 9.0, DOG), 0.5), ((50.0, 0.0, 9.0, 9.0, DOG), 0.49)]),
    ]
    assert list(error_costs(images, ["a", "b", "c"], CLASSES).unlabelled.items()) == [("c", 2), ("b", 1)]


def confused(seed: int, images: int, classes: int) -> list[CocoImage]:
    """Truths found with every kind of error."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(images):
        truths = [
            (*rng.uniform(0, 400, 2), *rng.uniform(20, 120, 2), int(rng.integers(classes))) for _ in range(6)
        ]
        found = []
        for x, y, w, h, label in truths:
            for _ in range(int(rng.integers(0, 4))):
                shift = rng.choice([0.02, 0.1, 0.4])
                dx, dy = rng.uniform(-shift, shift, 2)
                wrong = int(rng.integers(classes)) if rng.random() < 0.2 else label
                found.append(((x + dx * w, y + dy * h, w, h, wrong), float(rng.random())))
        nowhere = (*rng.uniform(0, 400, 2), *rng.uniform(20, 120, 2), int(rng.integers(classes)))
        found.append((nowhere, float(rng.random())))
        made.append(an_image(truths, found))  # type: ignore[arg-type]
    return made


def test_tides_own_answer() -> None:
    """tidecv 1.0.1 (https://github.com/dbolya/tide) on the same boxes."""
    names = [str(k) for k in range(40)]
    found = error_costs(confused(0, 40, 3), names, ["a", "b", "c"]).mean
    assert found == pytest.approx(TIDES, abs=1e-6)


TIDES = dict(zip(KINDS, (0.080214, 0.137533, 0.011817, 0.035552, 0.01854, 0.109202), strict=True))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_what_always_holds(seed: int, images: int) -> None:
    """No cost is more than what is lost, and where there is none of a kind it costs nothing."""
    given_images = confused(seed, images, 3)
    names = [str(k) for k in range(images)]
    costs = error_costs(given_images, names, ["a", "b", "c"])
    ap50 = coco_numbers(given_images, 3).ap50
    present = [k for k in range(3) if not np.isnan(ap50[k])]
    for kind, cost in costs.mean.items():
        assert 0 <= cost <= 1 - ap50[present].mean() + 1e-9, kind
    assert len(costs.per_class) == len(present)
