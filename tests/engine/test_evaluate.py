"""Average precision against peers' known answers and closed forms."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.sample import Sample
from engine.errors import UserError
from engine.evaluate import Detections, Scores, evaluate, evaluate_coco_files
from engine.evaluate_voc import Curve, ImageBoxes, area_under, eleven_points, voc_curves

THE_TWELVE = {
    "AP": 0.5045806987249628,
    "AP50": 0.6969727247299577,
    "AP75": 0.5729816669904824,
    "APs": 0.5856257209410443,
    "APm": 0.5193996948036719,
    "APl": 0.5013978986347466,
    "AR1": 0.38681277964578054,
    "AR10": 0.5936795762842003,
    "AR100": 0.595352982877607,
    "ARs": 0.6398109626113442,
    "ARm": 0.5664205978994309,
    "ARl": 0.5642905982905982,
}


@pytest.fixture(scope="session")
def coco_case(shared_data: Path) -> tuple[Path, Path]:
    folder = shared_data / "cases" / "coco-fakebbox100"
    return folder / "instances_val2014_100.json", folder / "instances_val2014_fakebbox100_results.json"


def test_the_coco_apis_own_twelve_numbers(
    coco_case: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    scores = evaluate_coco_files(*coco_case)
    assert list(scores.coco) == list(THE_TWELVE)
    assert scores.coco == pytest.approx(THE_TWELVE, abs=1e-6)
    assert (scores.map50, scores.map50_95) == (scores.coco["AP50"], scores.coco["AP"])
    assert (scores.images, scores.objects) == (100, 830)
    assert len(scores.per_class) == 80
    present = [one.ap50 for one in scores.per_class.values() if one.objects]
    assert np.mean(present) == pytest.approx(THE_TWELVE["AP50"], abs=1e-6)
    assert capfd.readouterr() == ("", "")


def padilla_images(folder: Path) -> list[ImageBoxes]:
    """Lines of class [score] x y w h; boxes by their first and last pixel."""

    def rows(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
        lines = path.read_text().split("\n") if path.exists() else []
        return np.array([[float(word) for word in line.split()[1:]] for line in lines if line.strip()])

    images = []
    for truth in sorted((folder / "gts").glob("*.txt")):
        gts = rows(truth).reshape(-1, 4)
        dets = rows(folder / "dets" / truth.name).reshape(-1, 5)
        images.append(
            ImageBoxes(
                truths=np.concatenate((gts[:, :2], gts[:, :2] + gts[:, 2:]), axis=1),
                truth_labels=np.zeros(len(gts), np.int64),
                ignored=np.zeros(len(gts), np.bool_),
                boxes=np.concatenate((dets[:, 1:3], dets[:, 1:3] + dets[:, 3:]), axis=1),
                labels=np.zeros(len(dets), np.int64),
                scores=dets[:, 0],
            )
        )
    return images


PLAIN = {
    "11point": {"0.1": 0.3024538867, "0.3": 0.2683982684, "0.5": 0.0303030303, "0.75": 0.0},
    "every_point": {"0.1": 0.2801328502, "0.3": 0.2253968254, "0.5": 0.0222222222, "0.75": 0.0},
}


@pytest.mark.parametrize("plus_one", [True, False])
def test_padillas_review_of_metrics(shared_data: Path, plus_one: bool) -> None:
    folder = shared_data / "cases" / "padilla-review-voc"
    images = padilla_images(folder)
    expected = json.loads((folder / "expected.json").read_text()) if plus_one else PLAIN
    for threshold in ("0.1", "0.3", "0.5", "0.75"):
        (curve,) = voc_curves(images, 1, float(threshold), plus_one)
        # Printed with ten digits, the last one cut off, not rounded, in some.
        assert eleven_points(curve) == pytest.approx(expected["11point"][threshold], abs=1.01e-10)
        assert area_under(curve) == pytest.approx(expected["every_point"][threshold], abs=1.01e-10)


def numbers(values: list[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([float(value) for value in values])


def chainercv_cases() -> list[str]:
    return ["pr1", "pr2", "pr3", "pr4-difficult", "pr5-only-difficult"]


@pytest.mark.parametrize("name", chainercv_cases())
def test_chainercvs_precision_and_recall(shared_data: Path, name: str) -> None:
    cases = json.loads((shared_data / "cases" / "chainercv-voc" / "cases.json").read_text())["prec_rec"]
    (case,) = [case for case in cases if case["id"] == name]
    images = []
    for k, truths in enumerate(case["gt_bboxes"]):
        hard = case.get("gt_difficults")
        images.append(
            ImageBoxes(
                truths=np.array(truths, np.float64)[:, [1, 0, 3, 2]],
                truth_labels=np.array(case["gt_labels"][k]),
                ignored=np.array(hard[k] if hard else [False] * len(truths)),
                boxes=np.array(case["pred_bboxes"][k], np.float64)[:, [1, 0, 3, 2]],
                labels=np.array(case["pred_labels"][k]),
                scores=np.array(case["pred_scores"][k], np.float64),
            )
        )
    curves = voc_curves(images, len(case["prec"]), case["iou_thresh"])
    for curve, precision, recall in zip(curves, case["prec"], case["rec"], strict=True):
        np.testing.assert_array_equal(curve.precision, numbers(precision or []))
        if recall is None:
            assert curve.positives == 0
            assert np.isnan(curve.recall).all()
            assert np.isnan(area_under(curve))
            assert np.isnan(eleven_points(curve))
        else:
            np.testing.assert_array_equal(curve.recall, numbers(recall))


@pytest.mark.parametrize("k", [0, 1])
def test_chainercvs_ap(shared_data: Path, k: int) -> None:
    case = json.loads((shared_data / "cases" / "chainercv-voc" / "cases.json").read_text())["ap"][k]
    measure = eleven_points if case["use_07_metric"] else area_under
    for precision, recall, expected in zip(case["prec"], case["rec"], case["ap"], strict=True):
        curve = Curve(numbers(precision or []), numbers(recall or []), 0 if recall is None else 1)
        assert measure(curve) == pytest.approx(float(expected), abs=1e-15, nan_ok=True)


@dataclass(frozen=True, eq=False)
class Truths:
    image_id: str
    boxes: Any
    labels: Any
    difficult: Any
    crowd: Any


def truths_of(
    image_id: str, boxes: list[list[float]], labels: list[int], difficult: tuple[int, ...] = ()
) -> Truths:
    hard = np.zeros(len(boxes), np.bool_)
    hard[list(difficult)] = True
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return Truths(image_id, array, np.array(labels, np.int64), hard, np.zeros(len(boxes), np.bool_))


A, B = [10.0, 10.0, 50.0, 60.0], [100.0, 100.0, 180.0, 150.0]


def test_a_perfect_detector_has_one_everywhere() -> None:
    truths = [truths_of("a", [A, B], [0, 1]), truths_of("b", [], []), truths_of("c", [B], [1])]
    found = [Detections("a", [A, B], [0.9, 0.8], [0, 1]), Detections("c", [B], [0.3], [1])]
    scores = evaluate(truths, found, ["cat", "dog", "none"])
    assert scores.map50 == scores.map50_95 == scores.voc_map50 == scores.voc07_map50 == pytest.approx(1)
    assert (scores.images, scores.objects) == (3, 3)
    assert {name: one.objects for name, one in scores.per_class.items()} == {"cat": 1, "dog": 2, "none": 0}


def test_the_json_is_the_promised_one() -> None:
    scores = evaluate([truths_of("a", [A], [0])], [Detections("a", [A], [0.9], [0])], ["cat", "dog"])
    document = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    assert set(document) == {
        "map50",
        "map50_95",
        "voc07_map50",
        "voc_map50",
        "coco",
        "per_class",
        "images",
        "objects",
    }
    assert list(document["coco"]) == list(THE_TWELVE)
    assert document["coco"]["APs"] is None  # there is no small object
    assert document["per_class"]["cat"]["voc_ap50"] == 1
    assert document["per_class"]["dog"] == {
        "ap50": None,
        "ap50_95": None,
        "voc07_ap50": None,
        "voc_ap50": None,
        "objects": 0,
    }


def test_half_found_and_half_wrong_by_hand() -> None:
    """Truths A, B; found: wrong, A, A again. Precision 0, 1/2, 1/3 at recall 0, 1/2, 1/2."""
    truths = [truths_of("a", [A, B], [0, 0])]
    found = [Detections("a", [[300, 300, 320, 320], A, A], [0.9, 0.8, 0.7], [0, 0, 0])]
    scores = evaluate(truths, found, ["cat"])
    assert scores.voc_map50 == pytest.approx(0.25)
    assert scores.voc07_map50 == pytest.approx(6 / 11 * 0.5)
    assert scores.map50 == pytest.approx(51 / 101 * 0.5)


def test_nothing_found_and_nothing_there() -> None:
    nothing: Scores = evaluate([truths_of("a", [A], [0])], [], ["cat"])
    assert nothing.map50 == nothing.voc_map50 == nothing.voc07_map50 == nothing.coco["AR100"] == 0
    empty = evaluate([truths_of("a", [], [])], [Detections("a", [A], [0.5], [0])], ["cat"])
    assert np.isnan([empty.map50, empty.map50_95, empty.voc_map50, empty.voc07_map50]).all()
    assert empty.objects == 0
    assert np.isnan(evaluate([], [], ["cat"]).map50)


def test_difficult_truths_count_neither_way() -> None:
    """Any number of detections may fall to a difficult truth, by ordinary IoU, in all the numbers."""
    truths = [truths_of("a", [A, B], [0, 0], difficult=(1,)), truths_of("b", [A], [1], difficult=(0,))]
    on_both = [Detections("a", [B, B, A], [0.95, 0.9, 0.5], [0, 0, 0]), Detections("b", [A], [0.9], [1])]
    scores = evaluate(truths, on_both, ["cat", "dog"])
    assert scores.map50 == scores.map50_95 == scores.voc_map50 == scores.voc07_map50 == pytest.approx(1)
    assert scores.objects == 1
    assert np.isnan(scores.per_class["dog"].ap50)
    # A small box inside the difficult one is not on it: its IoU is low, though all of its area lies inside.
    inside = [Detections("a", [[110, 110, 120, 120], A], [0.95, 0.5], [0, 0])]
    scores = evaluate(truths, inside, ["cat", "dog"])
    assert scores.voc_map50 == pytest.approx(0.5)
    assert scores.map50 == pytest.approx(0.5)


def test_crowds_take_what_lies_inside_them() -> None:
    crowded = truths_of("a", [A, B], [0, 0])
    crowded.crowd[1] = True
    inside = [Detections("a", [[110, 110, 120, 120], A], [0.95, 0.5], [0, 0])]
    scores = evaluate([crowded], inside, ["cat"])
    assert scores.map50 == pytest.approx(1)
    assert scores.objects == 1


def test_a_sample_is_a_truth() -> None:
    plain = truths_of("a", [A], [0])
    sample = Sample(Path("a.jpg"), "a", 640, 480, plain.boxes, plain.labels, plain.difficult, plain.crowd)
    assert evaluate([sample], [Detections("a", [A], [1.0], [0])], ["cat"]).map50 == pytest.approx(1)


def test_ids_and_labels_that_cannot_be() -> None:
    truth = truths_of("a", [A], [0])
    with pytest.raises(ValueError, match="twice"):
        evaluate([truth, truth], [], ["cat"])
    with pytest.raises(ValueError, match="without truth: 'b'"):
        evaluate([truth], [Detections("b", [A], [1.0], [0])], ["cat"])
    with pytest.raises(ValueError, match="of 1 classes"):
        evaluate([truth], [Detections("a", [A], [1.0], [1])], ["cat"])


boxes = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 9)] * 2).map(
    lambda b: [float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3])]
)


@st.composite
def one_image(draw: st.DrawFn) -> ImageBoxes:
    truths, found = draw(st.lists(boxes, max_size=5)), draw(st.lists(boxes, max_size=8))
    n, m = len(truths), len(found)
    label = st.integers(0, 1)
    return ImageBoxes(
        np.array(truths).reshape(-1, 4),
        np.array(draw(st.lists(label, min_size=n, max_size=n)), np.int64),
        np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), np.bool_),
        np.array(found).reshape(-1, 4),
        np.array(draw(st.lists(label, min_size=m, max_size=m)), np.int64),
        np.array(draw(st.lists(st.sampled_from([0.1, 0.5, 0.6, 0.9]), min_size=m, max_size=m)), np.float64),
    )


def one_by_one(images: list[ImageBoxes], label: int, threshold: float) -> tuple[list[str], int]:
    """The development kit's loop as it stands there, one detection after the other."""
    pool = [
        (-image.scores[k], i, k)
        for i, image in enumerate(images)
        for k in range(len(image.boxes))
        if image.labels[k] == label
    ]
    taken: set[tuple[int, int]] = set()
    verdicts = []
    for _, i, k in sorted(pool):
        image, box = images[i], images[i].boxes[k]
        best, best_j = -1.0, -1
        for j, truth in enumerate(image.truths):
            if image.truth_labels[j] != label:
                continue
            w = max(0.0, min(box[2], truth[2]) - max(box[0], truth[0]))
            h = max(0.0, min(box[3], truth[3]) - max(box[1], truth[1]))
            both = (box[2] - box[0]) * (box[3] - box[1]) + (truth[2] - truth[0]) * (truth[3] - truth[1])
            overlap = w * h / (both - w * h)
            if overlap > best:
                best, best_j = overlap, j
        if best < threshold:
            verdicts.append("wrong")
        elif image.ignored[best_j]:
            verdicts.append("ignored")
        elif (i, best_j) in taken:
            verdicts.append("wrong")
        else:
            taken.add((i, best_j))
            verdicts.append("right")
    positives = sum(int(((image.truth_labels == label) & ~image.ignored).sum()) for image in images)
    return verdicts, positives


@settings(deadline=None)
@given(st.lists(one_image(), min_size=1, max_size=4), st.sampled_from([0.1, 0.5, 0.75]))
def test_all_at_once_equals_one_by_one(images: list[ImageBoxes], threshold: float) -> None:
    for label, curve in enumerate(voc_curves(images, 2, threshold)):
        verdicts, positives = one_by_one(images, label, threshold)
        assert curve.positives == positives
        hits = misses = 0
        for k, verdict in enumerate(verdicts):
            hits += verdict == "right"
            misses += verdict == "wrong"
            if hits + misses:
                assert curve.precision[k] == hits / (hits + misses)
            if positives:
                assert curve.recall[k] == hits / positives
                assert 0 <= area_under(curve) <= 1
                assert 0 <= eleven_points(curve) <= 1


BAD_TRUTHS: list[tuple[Any, str]] = [
    ([], "is not a COCO truth file; it holds images"),
    ({"images": [], "categories": []}, "'annotations' is missing"),
    ({"annotations": [], "categories": []}, "'images' is missing"),
    (
        {"images": [{"id": "x"}], "annotations": [], "categories": []},
        r"images\[0\]\.id = \"x\" is not a whole",
    ),
    ({"images": [{"id": 1}, {"id": 1}], "annotations": [], "categories": []}, "stands twice"),
]
GOOD: dict[str, Any] = {
    "images": [{"id": 1}],
    "categories": [{"id": 3, "name": "cat"}],
    "annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 30, 40]}],
}
GOOD_ROW = {"image_id": 1, "category_id": 3, "bbox": [1, 2, 30, 40], "score": 0.5}
BAD_RESULTS: list[tuple[Any, str]] = [
    ({}, r"is not a COCO results file; it is a list of"),
    ([7], r"\[0\] is 7, not an object"),
    ([{**GOOD_ROW, "image_id": 9}], r"\[0\]\.image_id = 9 is none of the truth's images"),
    ([GOOD_ROW, {**GOOD_ROW, "category_id": 0}], r"\[1\]\.category_id = 0 is none .*they are 3"),
    ([{**GOOD_ROW, "bbox": [1, 2, 3]}], r"\[0\]\.bbox = \[1, 2, 3\] is not \[x, y, width, height\]"),
    ([{**GOOD_ROW, "bbox": [9, 9, -3, 4]}], "negative size"),
    ([{**GOOD_ROW, "score": float("nan")}], r"\[0\]\.score = NaN is not a finite number"),
    ([{**GOOD_ROW, "score": None}], r"\[0\]\.score is missing"),
]


@pytest.mark.parametrize(("truth", "message"), BAD_TRUTHS)
def test_a_bad_truth_file_is_named_with_its_key(tmp_path: Path, truth: Any, message: str) -> None:
    files = tmp_path / "truth.json", tmp_path / "results.json"
    files[0].write_text(json.dumps(truth))
    files[1].write_text("[]")
    with pytest.raises(UserError, match=f"truth.json: .*{message}") as caught:
        evaluate_coco_files(*files)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("results", "message"), BAD_RESULTS)
def test_a_bad_results_file_is_named_with_its_key(tmp_path: Path, results: Any, message: str) -> None:
    files = tmp_path / "truth.json", tmp_path / "results.json"
    files[0].write_text(json.dumps(GOOD))
    files[1].write_text(json.dumps(results))
    with pytest.raises(UserError, match=f"results.json: .*{message}") as caught:
        evaluate_coco_files(*files)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_json(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    results.write_text("[]")
    with pytest.raises(UserError, match=r"none.json: no such file"):
        evaluate_coco_files(tmp_path / "none.json", results)
    (tmp_path / "text.json").write_bytes(b"\xff\xfe text")
    with pytest.raises(UserError, match=r"text.json: is not JSON"):
        evaluate_coco_files(tmp_path / "text.json", results)
    with pytest.raises(UserError, match="cannot be read"):
        evaluate_coco_files(tmp_path, results)


def test_files_without_detections_and_two_categories_of_one_name(tmp_path: Path) -> None:
    truth, results = tmp_path / "truth.json", tmp_path / "results.json"
    truth.write_text(json.dumps({**GOOD, "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "cat"}]}))
    results.write_text("[]")
    scores = evaluate_coco_files(truth, results)
    assert scores.map50 == 0
    assert list(scores.per_class) == ["cat 3", "cat 5"]


@pytest.mark.slow
def test_five_thousand_images() -> None:
    """VOC 2007 test's size: prints the time; noise below the truths in score must not touch AP."""
    rng = np.random.default_rng(0)
    truths, found = [], []
    for k in range(5000):
        corner = rng.uniform(0, 300, (3, 2))
        gts = np.concatenate((corner, corner + rng.uniform(20, 150, (3, 2))), axis=1).astype(np.float32)
        labels = rng.integers(0, 20, 3)
        truths.append(truths_of(str(k), gts.tolist(), labels.tolist()))
        noise = rng.uniform(0, 200, (40, 2))
        noise = np.concatenate((noise, noise + 8), axis=1)
        found.append(
            Detections(
                str(k),
                np.concatenate((gts, noise)),
                np.concatenate((np.full(3, 0.9), rng.uniform(0, 0.5, 40))),
                np.concatenate((labels, rng.integers(0, 20, 40))),
            )
        )
    clock = time.perf_counter()
    scores = evaluate(truths, found, [f"class {k}" for k in range(20)])
    print(f"\n5,000 images, 215,000 detections: {time.perf_counter() - clock:.1f} s")
    assert scores.map50_95 == pytest.approx(1)
    assert scores.voc_map50 == pytest.approx(1)
