"""What a check says about the data: kinds with counts, anchors that meet nothing, images in two splits."""

from __future__ import annotations

from pathlib import Path

from engine.config import load_config
from engine.doctor.check import check
from engine.doctor.findings import Report
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
