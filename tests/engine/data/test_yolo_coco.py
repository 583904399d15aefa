from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from engine.config import Config, DataConfig
from engine.data.audit import audit
from engine.data.opening import open_split, open_splits
from engine.data.sample import Dataset
from engine.data.voc import read_voc
from engine.data.yolo_txt import label_path
from engine.errors import UserError

NAMES = ["cat", "dog"]


@pytest.fixture
def voc(make_voc) -> Dataset:
    images = {
        "a": [("cat", (5, 5, 30, 25)), ("dog", (10, 20, 30, 40))],
        "b": [("dog", (1, 1, 64, 48))],
        "c": [],
    }
    return read_voc(make_voc(images), "train", NAMES)


def as_yolo(data: Dataset, root: Path) -> Path:
    for folder in ("images/train", "labels/train"):
        (root / folder).mkdir(parents=True)
    for sample in data.samples:
        shutil.copy(sample.path, root / "images" / "train")
        rows = [
            f"{label} {(x1 + x2) / 128:.6f} {(y1 + y2) / 96:.6f} {(x2 - x1) / 64:.6f} {(y2 - y1) / 48:.6f}"
            for label, (x1, y1, x2, y2) in zip(sample.labels, sample.boxes.tolist(), strict=True)
        ]
        if rows:
            (root / "labels" / "train" / f"{sample.image_id}.txt").write_text("\n".join(rows) + "\n")
    write_yaml(root, {"path": "/somebody/elses/folder", "train": "images/train", "names": NAMES, "nc": 2})
    return root


def write_yaml(root: Path, table: dict[str, object]) -> None:
    (root / "data.yaml").write_text(yaml.safe_dump(table))


def as_coco(data: Dataset, root: Path) -> Path:
    (root / "train").mkdir(parents=True)
    images, annotations = [], []
    for number, sample in enumerate(data.samples):
        shutil.copy(sample.path, root / "train")
        images.append({"id": 100 + number, "file_name": sample.path.name, "width": 64, "height": 48})
        for label, (x1, y1, x2, y2) in zip(sample.labels.tolist(), sample.boxes.tolist(), strict=True):
            # ids with a gap and in no order, as COCO's own
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": 100 + number,
                    "category_id": 3 if label == 0 else 17,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "iscrowd": 0,
                }
            )
    table = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 17, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    (root / "train.json").write_text(json.dumps(table))
    return root


def assert_same(one: Dataset, other: Dataset) -> None:
    assert one.classes == other.classes
    assert [sample.path.name for sample in one.samples] == [sample.path.name for sample in other.samples]
    for a, b in zip(one.samples, other.samples, strict=True):
        np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-3)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert (a.width, a.height, len(a.crowd), len(a.difficult)) == (
            b.width,
            b.height,
            len(b.labels),
            len(b.labels),
        )


@pytest.mark.parametrize("classes", [[], NAMES])
def test_three_formats_one_dataset(voc: Dataset, tmp_path: Path, classes: list[str]) -> None:
    yolo = DataConfig(format="yolo", root=str(as_yolo(voc, tmp_path / "yolo")), classes=classes)
    coco = DataConfig(format="coco", root=str(as_coco(voc, tmp_path / "coco")), classes=classes)
    for config in (yolo, coco):
        data = open_split(config, "train")
        assert_same(data, voc)
        assert not data.problems


def test_pictures_without_label_files(voc: Dataset, tmp_path: Path) -> None:
    """One is background; where none has one, the labels lie elsewhere."""
    root = as_yolo(voc, tmp_path / "yolo")
    data = DataConfig(format="yolo", root=str(root), train="train", val="")
    files = sorted((root / "labels" / "train").glob("*.txt"))
    files[0].unlink()
    found = audit(Config(data=data))
    assert (found.counts["without a label file"], found.ok) == (1, True)
    for each in files[1:]:
        each.unlink()
    found = audit(Config(data=data))
    assert (found.counts["no label files"], found.ok) == (1, False)
    (problem,) = open_split(data, "train").problems
    assert problem.path == str(files[0])


def test_a_bad_yolo_row_is_a_problem_of_that_row(voc: Dataset, tmp_path: Path) -> None:
    root = as_yolo(voc, tmp_path / "yolo")
    rows = [
        "0 0.5 0.5 0.2 0.2",
        "1 0.5 x 0.2 0.2",
        "2 .5 .5 .2 .2",
        "0 .5 .5 .2",
        "1 320 240 50 50",
        "0 nan .5 .2 .2",
    ]
    rows += ["1 0.1 0.1 0.9 0.1 0.9 0.5", "1 .5 .5 0 .2", "1 0.9 0.5 0.4 0.2"]
    (root / "labels/train/a.txt").write_text("\n".join(rows))
    data = open_split(DataConfig(format="yolo", root=str(root)), "train")
    assert [problem.kind for problem in data.problems] == [
        "bad label row",
        "class id out of range",
        "bad label row",
        "label not in 0..1",
        "bad label row",
        "zero-area box",
        "box clipped",
    ]
    assert "line 2: 1 0.5 x" in data.problems[0].detail
    expected = [[25.6, 19.2, 38.4, 28.8], [6.4, 4.8, 57.6, 24], [44.8, 19.2, 64, 28.8]]
    np.testing.assert_allclose(data.samples[0].boxes, expected, atol=1e-4)


def test_yolo_lists_names_as_dict_and_missing_images(voc: Dataset, tmp_path: Path) -> None:
    root = as_yolo(voc, tmp_path / "yolo")
    (root / "val.txt").write_text("./images/train/b.jpg\n./images/train/gone.jpg\n\n")
    table = {"train": ["images/train"], "val": "val.txt", "names": {1: "dog", 0: "cat"}}
    write_yaml(root, table)
    data = open_split(DataConfig(format="yolo", root=str(root / "data.yaml")), "val")
    assert (data.classes, len(data), data.objects) == (("cat", "dog"), 1, 1)
    assert [problem.kind for problem in data.problems] == ["missing image"]
    assert len(open_split(DataConfig(format="yolo", root=str(root)), "train+val")) == 3


def test_label_path_swaps_the_last_images_folder() -> None:
    assert label_path(Path("/images/x/images/train/a.b.jpg")) == Path("/images/x/labels/train/a.b.txt")
    assert label_path(Path("/data/a.png")) == Path("/data/a.txt")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"names": None, "nc": None}, "has no names"),
        ({"nc": 3}, "nc is 3"),
        ({"names": {0: "cat", 2: "dog"}}, "do not count"),
        ({"names": ["cat", "cat"]}, "'cat' stands twice"),
        ({"train": None}, "no split 'train'"),
        ({"train": "elsewhere"}, "neither a folder nor a list"),
    ],
)
def test_yolo_mistakes_name_the_file(
    voc: Dataset, tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    root = as_yolo(voc, tmp_path / "yolo")
    write_yaml(root, {"train": "images/train", "names": NAMES, **change})
    with pytest.raises(UserError, match=complaint) as caught:
        open_split(DataConfig(format="yolo", root=str(root)), "train")
    assert "data.yaml" in caught.value.where


def test_yolo_classes_must_be_the_files(voc: Dataset, tmp_path: Path) -> None:
    config = DataConfig(format="yolo", root=str(as_yolo(voc, tmp_path / "yolo")), classes=["dog", "cat"])
    with pytest.raises(UserError, match=r"data\.classes"):
        open_split(config, "train")
    with pytest.raises(UserError, match=r"data\.yaml"):
        open_split(DataConfig(format="yolo", root=str(tmp_path)), "train")


def test_coco_crowds_sizes_and_missing_images(voc: Dataset, tmp_path: Path) -> None:
    root = as_coco(voc, tmp_path / "coco")
    table = json.loads((root / "train.json").read_text())
    table["annotations"][0]["iscrowd"] = 1
    table["annotations"][1]["bbox"] = [1, 2]
    table["annotations"][2]["category_id"] = 99
    table["images"][1]["width"] = 640
    table["images"].append({"id": 7, "file_name": "gone.jpg", "width": 64, "height": 48})
    (root / "train.json").write_text(json.dumps(table))
    data = open_split(DataConfig(format="coco", root=str(root)), "train")
    assert sorted(problem.kind for problem in data.problems) == [
        "class id out of range",
        "missing image",
        "object without a box",
        "wrong size",
    ]
    assert data.samples[0].crowd.tolist() == [True]
    assert data.samples[1].width == 64


def test_coco_classes_choose_and_order(voc: Dataset, tmp_path: Path) -> None:
    root = as_coco(voc, tmp_path / "coco")
    data = open_split(DataConfig(format="coco", root=str(root), classes=["dog"]), "train.json")
    assert (data.classes, data.objects) == (("dog",), 2)
    assert [(each.kind, each.severity) for each in data.problems] == [("category left out", "info")]
    with pytest.raises(UserError, match="'cow' is none of its categories; there are cat, dog"):
        open_split(DataConfig(format="coco", root=str(root), classes=["cow"]), "train")
    with pytest.raises(UserError, match="no split 'val'; there are train"):
        open_split(DataConfig(format="coco", root=str(root)), "val")
    (root / "val.json").write_text("[]")
    with pytest.raises(UserError, match="images is not a list"):
        open_split(DataConfig(format="coco", root=str(root)), "val")


def test_coco_layout_with_annotations_folder(voc: Dataset, tmp_path: Path) -> None:
    root = as_coco(voc, tmp_path / "coco")
    (root / "annotations").mkdir()
    (root / "images").mkdir()
    (root / "train.json").rename(root / "annotations" / "instances_train.json")
    (root / "train").rename(root / "images" / "train")
    assert_same(open_split(DataConfig(format="coco", root=str(root)), "instances_train"), voc)


def test_the_real_coco_file_reads(shared_data: Path, tmp_path: Path) -> None:
    """Pictures are not part of it: grey ones of the stated sizes stand in."""
    source = shared_data / "cases" / "coco-fakebbox100" / "instances_val2014_100.json"
    table = json.loads(source.read_text())
    shutil.copy(source, tmp_path / "val.json")
    for entry in table["images"]:
        picture = np.full((entry["height"], entry["width"], 3), 114, np.uint8)
        cv2.imwrite(str(tmp_path / entry["file_name"]), picture)
    data = open_split(DataConfig(format="coco", root=str(tmp_path)), "val")
    assert len(data) == len(table["images"])
    assert data.objects == len(table["annotations"])
    assert sum(int(sample.crowd.sum()) for sample in data.samples) == sum(
        truth["iscrowd"] for truth in table["annotations"]
    )
    assert not [problem for problem in data.problems if problem.kind != "box clipped"]


def with_split(root: Path, name: str, **parts: object) -> None:
    """``train.json`` under another name, with other categories, annotations or images."""
    table = json.loads((root / "train.json").read_text())
    (root / f"{name}.json").write_text(json.dumps({**table, **parts}))
    shutil.copytree(root / "train", root / name)


def coco_rows(root: Path, name: str = "train") -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads((root / f"{name}.json").read_text())["annotations"]
    return rows


def test_a_coco_val_is_read_with_the_classes_of_train(voc: Dataset, tmp_path: Path) -> None:
    """Its categories have other ids, in another order: the names tell."""
    root = as_coco(voc, tmp_path / "coco")
    other = {3: 9, 17: 2}
    rows = [{**row, "category_id": other[int(str(row["category_id"]))]} for row in coco_rows(root)]
    with_split(root, "val", annotations=rows, categories=[{"id": 9, "name": "cat"}, {"id": 2, "name": "dog"}])
    train, val = open_splits(DataConfig(format="coco", root=str(root), train="train", val="val"))
    assert_same(val, train)
    assert not val.problems


@pytest.mark.parametrize(("classes", "severity"), [([], "error"), (NAMES, "info")])
def test_a_category_of_another_split_alone_is_left_out_and_said(
    voc: Dataset, tmp_path: Path, classes: list[str], severity: str
) -> None:
    root = as_coco(voc, tmp_path / "coco")
    first, *rest = coco_rows(root)
    names = [(3, "cat"), (17, "dog"), (5, "cow"), (6, "elk")]
    categories = [{"id": key, "name": name} for key, name in names]
    with_split(root, "val", annotations=[{**first, "category_id": 5}, *rest], categories=categories)
    config = DataConfig(format="coco", root=str(root), train="train", val="val", classes=classes)
    train, val = open_splits(config)
    assert (val.classes, val.objects) == (train.classes, train.objects - 1)
    (problem,) = val.problems
    assert (problem.kind, problem.severity) == ("category left out", severity)
    assert problem.detail.startswith("cow, elk: ")
    assert problem.detail.endswith("left out: 1")


def test_another_split_may_lack_a_class_but_not_all(voc: Dataset, tmp_path: Path) -> None:
    root = as_coco(voc, tmp_path / "coco")
    rows = [row for row in coco_rows(root) if row["category_id"] == 17]
    with_split(root, "val", annotations=rows, categories=[{"id": 17, "name": "dog"}])
    data = DataConfig(format="coco", root=str(root), train="train", val="val")
    assert [split.objects for split in open_splits(data)] == [3, 2]
    assert audit(Config(data=data)).counts["class without objects"] == 1
    with pytest.raises(UserError, match="'cow' is none of its categories; there are dog"):
        open_split(data, "val", trained=["cow", "elk"])


def test_joined_coco_files_train_the_categories_of_all(voc: Dataset, tmp_path: Path) -> None:
    root = as_coco(voc, tmp_path / "coco")
    with_split(root, "cows", annotations=[], categories=[{"id": 3, "name": "cow"}])
    data = open_split(DataConfig(format="coco", root=str(root)), "train+cows+train.json")
    assert (data.classes, len(data), data.objects) == (("cat", "dog", "cow"), 6, 3)


def test_coco_images_of_one_id(voc: Dataset, tmp_path: Path) -> None:
    """In one file nobody knows whose an annotation is; files joined number their images by themselves."""
    root = as_coco(voc, tmp_path / "coco")
    with_split(root, "more")
    joined = open_split(DataConfig(format="coco", root=str(root)), "train+more")
    assert [sample.image_id for sample in joined.samples] == ["100", "101", "102", "100#2", "101#2", "102#2"]
    np.testing.assert_array_equal(joined.samples[4].boxes, joined.samples[1].boxes)
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 7, "file_name": "b.jpg"}]
    with_split(root, "twice", images=images)
    with pytest.raises(UserError, match=r"image id 7 stands twice, for a\.jpg and for b\.jpg"):
        open_split(DataConfig(format="coco", root=str(root)), "twice")


def test_coco_annotations_of_no_image_are_counted(voc: Dataset, tmp_path: Path) -> None:
    root = as_coco(voc, tmp_path / "coco")
    rows = coco_rows(root)
    with_split(
        root, "val", annotations=[*rows, {**rows[0], "id": 8, "image_id": 9}, {**rows[0], "image_id": 5}]
    )
    data = open_split(DataConfig(format="coco", root=str(root)), "val")
    assert data.objects == 3
    (problem,) = data.problems
    assert (problem.kind, problem.severity) == ("annotations of no image", "error")
    assert problem.detail == "2 left out, the first is annotation 8 with image_id 9"


def test_pictures_of_one_name_in_several_folders_have_ids_of_their_own(voc: Dataset, tmp_path: Path) -> None:
    root = as_yolo(voc, tmp_path / "yolo")
    shutil.copytree(root / "images/train", root / "images/train/sub")
    data = open_split(DataConfig(format="yolo", root=str(root)), "train")
    assert len({sample.image_id for sample in data.samples}) == len(data) == 6


def test_a_byte_order_mark_is_no_part_of_a_file(voc: Dataset, tmp_path: Path) -> None:
    """Editors of Windows begin UTF-8 with one."""
    root = as_yolo(voc, tmp_path / "yolo")
    (root / "list.txt").write_text("images/train/a.jpg\n")
    write_yaml(root, {"train": "list.txt", "names": NAMES})
    coco = as_coco(voc, tmp_path / "coco")
    for path in (root / "list.txt", root / "data.yaml", root / "labels/train/a.txt", coco / "train.json"):
        path.write_text(path.read_text(), encoding="utf-8-sig")
    data = open_split(DataConfig(format="yolo", root=str(root)), "train")
    assert (len(data), data.objects, data.problems) == (1, 2, ())
    assert_same(open_split(DataConfig(format="coco", root=str(coco)), "train"), voc)
