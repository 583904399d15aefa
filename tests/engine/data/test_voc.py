from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.config import DataConfig
from engine.data.opening import open_split
from engine.data.voc import read_annotation, read_voc
from engine.errors import UserError

BCCD = ["RBC", "WBC", "Platelets"]
VOC = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable"),
    *("dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
]


@pytest.fixture
def alekdr(shared_data: Path) -> Path:
    return shared_data / "cases" / "alekdr-voc-xml"


def test_peers_valid_files_parse(alekdr: Path) -> None:
    for path in (alekdr / "valid_annotations").glob("*.xml"):
        assert len(read_annotation(path).boxes), path
    floats = read_annotation(alekdr / "valid_annotations" / "bool_attributes.xml", first_pixel=0)
    np.testing.assert_allclose(floats.boxes[0], (743.53, 99.46, 797.5, 207.56))
    assert any(read_annotation(alekdr / "valid_annotations" / "000103.xml").difficult)


def test_peers_invalid_files_are_refused(alekdr: Path) -> None:
    paths = [*(alekdr / "invalid_annotations").glob("*.xml"), *(alekdr / "invalid_objects").glob("*.xml")]
    assert len(paths) == 4
    for path in paths:
        with pytest.raises(UserError) as caught:
            read_annotation(path)
        assert path.name in caught.value.where
        assert caught.value.fix


def test_conversion_equals_labelimg_to_six_decimals(alekdr: Path) -> None:
    folder = alekdr / "yolo_data"
    classes = (folder / "classes.txt").read_text().split()
    paths = sorted(folder.glob("*.xml"))
    assert len(paths) == 12
    for path in paths:
        truth = read_annotation(path, first_pixel=0)
        rows = [line.split() for line in path.with_suffix(".txt").read_text().splitlines()]
        assert [classes[int(row[0])] for row in rows] == list(truth.names)
        size = np.array([truth.width, truth.height])
        low, high = truth.boxes[:, :2] / size, truth.boxes[:, 2:] / size
        ours = np.concatenate(((low + high) / 2, high - low), axis=1)
        np.testing.assert_allclose(ours, np.array(rows, float)[:, 1:], atol=6e-7)


def test_bccd_whole(shared_data: Path) -> None:
    config = DataConfig(root=str(shared_data / "bccd"), classes=BCCD)
    everything = open_split(config, "trainval+test")
    assert (len(everything), everything.objects) == (364, 4888 - 2)
    assert [problem.kind for problem in everything.problems] == ["zero-area box"] * 2
    assert {Path(problem.path).stem for problem in everything.problems} == {
        "BloodImage_00338",
        "BloodImage_00343",
    }
    sizes = [len(open_split(config, split)) for split in ("train", "val", "test", "trainval", "train+val")]
    assert sizes == [205, 87, 72, 292, 292]


def test_voc_mini_whole(shared_data: Path) -> None:
    data = read_voc(shared_data / "voc-mini", "trainval", VOC)
    assert len(data) == 115
    assert not data.problems
    assert sum(int(sample.difficult.sum()) for sample in data.samples) == 42
    odd_order = next(sample for sample in data.samples if sample.image_id == "2010_004175")
    np.testing.assert_array_equal(odd_order.boxes, [[0, 38, 248, 300]])


def test_first_pixel(make_voc) -> None:
    root = make_voc({"a": [("cat", (1, 1, 64, 48)), ("cat", (30.5, 40, 10, 20))]})
    counted_from_1 = read_voc(root, "train", ["cat"], first_pixel=1)
    np.testing.assert_array_equal(counted_from_1.samples[0].boxes, [[0, 0, 64, 48], [9, 19, 30.5, 40]])
    counted_from_0 = read_voc(root, "train", ["cat"], first_pixel=0)
    np.testing.assert_array_equal(counted_from_0.samples[0].boxes, [[1, 1, 64, 48], [10, 20, 30.5, 40]])


def test_boxes_are_dropped_or_cut_with_a_line_each(make_voc) -> None:
    root = make_voc(
        {
            "a": [
                ("cat", (5, 5, 5, 5)),
                ("dog", (70, 10, 90, 20)),
                ("cat", (0, 10, 80, 20)),
                ("dog", (3, 3, 9, 9)),
            ],
            "empty": [],
        }
    )
    data = read_voc(root, "train", ["cat", "dog"])
    assert [problem.kind for problem in data.problems] == [
        "zero-area box",
        "box outside the image",
        "box clipped",
    ]
    assert "data.first_pixel = 0" in data.problems[2].detail
    np.testing.assert_array_equal(data.samples[0].boxes, [[0, 9, 64, 20], [2, 2, 9, 9]])
    assert data.samples[0].labels.tolist() == [0, 1]
    assert data.samples[1].boxes.shape == (0, 4)


def test_objects_without_name_or_box_are_skipped_with_a_line(make_voc) -> None:
    root = make_voc({"a": [("cat", (5, 5, 9, 9))]})
    xml = root / "Annotations" / "a.xml"
    bad = "<object><name>cat</name></object><object><bndbox><xmin>1</xmin></bndbox></object></annotation>"
    xml.write_text(xml.read_text().replace("</annotation>", bad))
    data = read_voc(root, "train", ["cat"])
    assert [p.kind for p in data.problems] == ["object without a box", "object without a name"]
    assert data.objects == 1


def test_missing_files_drop_the_image_and_keep_the_split(make_voc) -> None:
    root = make_voc({name: [("cat", (5, 5, 9, 9))] for name in "abc"})
    (root / "JPEGImages" / "a.jpg").unlink()
    (root / "Annotations" / "b.xml").unlink()
    data = read_voc(root, "train", ["cat"])
    assert [sample.image_id for sample in data.samples] == ["c"]
    assert [problem.kind for problem in data.problems] == ["missing image", "missing annotation"]


def test_the_pictures_own_size_counts(make_voc) -> None:
    root = make_voc({"a": [("cat", (5, 5, 60, 40))]})
    xml = root / "Annotations" / "a.xml"
    xml.write_text(xml.read_text().replace("<width>64<", "<width>32<"))
    data = read_voc(root, "train", ["cat"])
    assert [problem.kind for problem in data.problems] == ["wrong size"]
    assert (data.samples[0].width, data.samples[0].height) == (64, 48)
    np.testing.assert_array_equal(data.samples[0].boxes, [[4, 4, 60, 40]])


def test_split_lines_of_per_class_lists_and_doubles(make_voc) -> None:
    root = make_voc({"a": [], "b": []})
    (root / "ImageSets" / "Main" / "cat_train.txt").write_text("b -1\n\na  1\nb.jpg 0\n")
    assert [s.image_id for s in read_voc(root, "cat_train+train", ["cat"]).samples] == ["b", "a"]


BOMB = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>
<annotation><size><width>64</width><height>48</height></size><filename>&b;</filename></annotation>"""
OUTSIDE = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>
<annotation><filename>&a;</filename></annotation>"""


@pytest.mark.parametrize("text", [BOMB, OUTSIDE])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "bomb.xml"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(UserError, match="entities"):
        read_annotation(path)


@pytest.mark.parametrize("content", [b"", b"<annotation>", b"\xff\xfe\x00", b"<annotation/>"])
def test_broken_xml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.xml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.xml"):
        read_annotation(path)


def test_user_mistakes_name_file_and_remedy(make_voc) -> None:
    root = make_voc({"a": [("catt", (5, 5, 9, 9))]})
    config = DataConfig(root=str(root), classes=["cat", "dog"])
    with pytest.raises(UserError, match=r"a\.xml: class 'catt' .*data\.classes.*nearest there is 'cat'"):
        open_split(config, "train")
    with pytest.raises(UserError, match=r"tain\.txt: no split 'tain'; there are train"):
        open_split(config, "tain")
    with pytest.raises(UserError, match=r"data\.classes is empty; .*catt"):
        open_split(DataConfig(root=str(root)), "train")
    with pytest.raises(UserError, match="Annotations"):
        open_split(DataConfig(root=str(root / "JPEGImages"), classes=["cat"]), "train")
    with pytest.raises(UserError, match="no such folder"):
        open_split(DataConfig(root=str(root / "nowhere"), classes=["cat"]), "train")
    with pytest.raises(UserError, match=r"data\.root"):
        open_split(DataConfig(classes=["cat"]), "train")
    (root / "JPEGImages" / "a.jpg").unlink()
    (root / "Annotations" / "a.xml").unlink()
    with pytest.raises(UserError, match="no images; first problem: missing annotation"):
        open_split(config, "train")
