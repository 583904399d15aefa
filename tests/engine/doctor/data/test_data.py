"""What a check says about the data: kinds with counts, anchors that meet nothing, images in two splits."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch

from engine.config import load_config
from engine.data.sample import Dataset, Sample
from engine.doctor.check import check
from engine.doctor.data.boxes import contest
from engine.doctor.findings import Report
from engine.layout import Head
from tests.tiny_voc import write_config


def examined(path: Path, *overrides: str) -> Report:
    return check(load_config(path, overrides), source=path)


def test_sound_data_have_no_error(tmp_path: Path) -> None:
    report = examined(write_config(tmp_path))
    assert report.ok, report.findings
    assert {probe.name for probe in report.probes} >= {"data.labels", "data.anchors", "data.splits"}


def test_zero_area_boxes_are_counted(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    for xml in sorted((tmp_path / "voc/Annotations").glob("*.xml"))[:3]:
        extra = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>5</xmax><ymax>9</ymax></bndbox>"
        text = xml.read_text().replace(
            "</annotation>", f"<object><name>red</name>{extra}</object></annotation>"
        )
        xml.write_text(text)
    found = [f for f in examined(path).findings if f.function == "data"]
    assert any("3 x zero-area box" in f.message and f.severity == "warning" for f in found)


def test_anchors_in_pixels_are_the_configs_fault(tmp_path: Path) -> None:
    report = examined(write_config(tmp_path), "model.anchors=[[24.0, 24.0], [32.0, 28.0]]")
    first = report.findings[0]
    assert (first.severity, first.function, first.channels) == ("error", "config", ("w", "h"))
    assert "pixels" in first.message


def test_images_in_two_splits_and_absent_classes_are_warned_about(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    lists = tmp_path / "voc/ImageSets/Main"
    (lists / "val.txt").write_text((lists / "train.txt").read_text().splitlines()[0] + "\n")
    report = examined(path, 'data.classes=["red", "blue", "green"]')
    messages = [f.message for f in report.findings if f.severity == "warning"]
    assert report.ok
    assert any("1 images stand in train and in val" in message for message in messages)
    assert any("1 of 3 classes have no object" in message for message in messages)


def test_the_json_has_the_contracts_keys(tmp_path: Path) -> None:
    value = examined(write_config(tmp_path), "model.anchors=[[24.0, 24.0]]").to_json()
    assert set(value) == {"ok", "seconds", "probes", "findings"}
    assert value["ok"] is False
    assert set(value["probes"][0]) == {"name", "function", "status"}
    keys = "severity probe function tensor channels file line cell expected got message fix"
    assert set(value["findings"][0]) == set(keys.split())


def the(report: Report, probe: str) -> list[tuple[str, str]]:
    assert all(f.function == "data" for f in report.findings if f.probe == probe)
    return [(f.severity, f.message) for f in report.findings if f.probe == probe]


def test_a_picture_under_another_name_in_val_is_seen(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    pictures = tmp_path / "voc/JPEGImages"
    (pictures / "013.jpg").write_bytes((pictures / "002.jpg").read_bytes())
    [(severity, message)] = the(examined(path), "data.repeats")
    assert severity == "warning"
    assert message.startswith("1 pictures of val are pictures of train")


def test_a_cut_off_picture_is_an_error(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    picture = tmp_path / "voc/JPEGImages/004.jpg"
    picture.write_bytes(picture.read_bytes()[:-200])
    report = examined(path)
    assert not report.ok
    assert the(report, "data.pictures")[0][0] == "error"
    assert report.findings[0].file == str(picture)


def test_labels_of_the_picture_as_stored_do_not_fit_the_upright_one(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    for picture in (tmp_path / "voc/JPEGImages").glob("*.jpg"):
        data = picture.read_bytes()
        picture.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    report = examined(path)
    assert the(report, "data.exif")[0][0] == "error"
    assert report.findings[0].probe == "data.exif"


def test_objects_marked_twice_are_counted(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    xml = tmp_path / "voc/Annotations/001.xml"
    text = xml.read_text()
    one = text[text.index("<object>") : text.index("</object>") + len("</object>")]
    xml.write_text(text.replace("</annotation>", one + "</annotation>"))
    assert the(examined(path), "data.doubles") == [("warning", "train: 1 objects are marked twice")]


def test_slots_wanted_by_two_truths_are_counted_once_an_object() -> None:
    def sample(boxes: list[list[float]]) -> Sample:
        count = len(boxes)
        none = np.zeros(count, np.bool_)
        array = np.array(boxes, np.float32).reshape(-1, 4)
        return Sample(Path("a.jpg"), "a", 128, 64, array, np.zeros(count, np.int64), none, none)

    head = Head(2, 4, 32, torch.tensor([[0.5, 0.5], [2.0, 1.0]]), 1)
    same_slot = [[2, 2, 18, 18], [8, 8, 26, 24]]
    wide, other_cell = [0, 2, 60, 32], [40, 40, 56, 56]
    samples = (sample([*same_slot, wide, other_cell]), sample([same_slot[0]]), sample([]))
    found = contest(Dataset("train", ("thing",), samples, ()), [head], stretch=False)
    assert (found.contested, found.truths, found.lost) == (2, 5, 1)
