from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest

from engine.config import Config, DataConfig, ModelConfig
from engine.data.audit import audit


def config(root: Path, classes: list[str], train: str = "train", val: str = "", **model: object) -> Config:
    data = DataConfig(root=str(root), classes=classes, train=train, val=val)
    return Config(data=data, model=ModelConfig(**{"input_size": [64, 64], **model}))


def test_bccds_known_defects(shared_data: Path) -> None:
    done: list[tuple[int, int]] = []
    found = audit(
        config(shared_data / "bccd", ["RBC", "WBC", "Platelets"], "trainval", "test", input_size=[320, 256]),
        progress=lambda *at: done.append(at),
    )
    assert found.counts == {"double annotation": 7, "zero-area box": 2}
    assert found.ok
    assert [split.images for split in found.splits] == [292, 72]
    assert sum(split.objects for split in found.splits) == 4886
    classes = [sum(split.per_class[name] for split in found.splits) for name in ("RBC", "WBC", "Platelets")]
    assert classes == [4155 - 2, 372, 361]
    assert done[-1] == (364, 364)
    assert found.anchors.fitted
    assert found.anchors.recall > 0.98
    assert json.loads(json.dumps(found.to_json()))["splits"][1]["name"] == "test"


def test_everything_wrong_with_pictures_is_named(make_voc) -> None:
    root = make_voc({name: [("cat", (5, 5, 15, 15)), ("dog", (10, 8, 60, 40))] for name in "abcd"})
    pictures = root / "JPEGImages"
    (pictures / "a.jpg").write_bytes((pictures / "a.jpg").read_bytes()[:-40])
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 3, 0, 0)
    data = (pictures / "b.jpg").read_bytes()
    (pictures / "b.jpg").write_bytes(
        data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    )
    shutil.copy(pictures / "c.jpg", pictures / "d.jpg")
    (root / "ImageSets/Main/train.txt").write_text("a\nb\nc\n")
    (root / "ImageSets/Main/val.txt").write_text("d\n")
    found = audit(config(root, ["cat", "dog", "cow"], val="val", anchors=[[1, 1]]), strides=[16])
    assert found.counts == {
        "class without objects": 2,
        "unreadable image": 1,
        "EXIF rotation": 1,
        "image in two splits": 1,
    }
    assert not found.ok
    assert found.splits[0].exif_rotated == 1
    assert found.splits[0].per_class == {"cat": 3, "dog": 3, "cow": 0}
    assert found.splits[0].smaller_than_cell == 3
    # an anchor of 16x16 px: the cats of 11x11 at IoU 121/256, the dogs of 51x33 not
    assert found.anchors.pixels == ((16, 16),)
    assert found.anchors.recall == 0
    assert found.anchors.mean_iou == pytest.approx((121 / 256 + 256 / (51 * 33)) / 2, abs=1e-4)


def test_a_train_split_that_holds_the_val_split(make_voc) -> None:
    root = make_voc({"a": [("cat", (5, 5, 15, 15))], "b": [], "c": []})
    (root / "ImageSets/Main/val.txt").write_text("a\n")
    found = audit(config(root, ["cat"], val="val"))
    assert [(p.kind, Path(p.path).name) for p in found.problems] == [("image in two splits", "a.jpg")]
    assert found.splits[0].empty_images == 2


def test_a_split_without_objects(make_voc) -> None:
    found = audit(config(make_voc({"a": [], "b": []}), ["cat"]))
    assert found.anchors.pixels == ()
    assert found.counts == {"class without objects": 1}


def test_anchors_of_several_heads_are_scaled_by_their_strides(make_voc) -> None:
    root = make_voc({"a": [("cat", (1, 1, 16, 16)), ("cat", (1, 1, 32, 32))]})
    found = audit(config(root, ["cat"], anchors=[[[2, 2]], [[2, 2]]]), strides=[8, 16])
    assert found.anchors.pixels == ((16, 16), (32, 32))
    assert (found.anchors.recall, found.anchors.mean_iou) == (1, 1)
