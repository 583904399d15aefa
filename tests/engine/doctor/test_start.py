"""``check`` refuses in the trainer's own words what no training could begin with."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.config import load_config
from engine.doctor.check import check
from engine.errors import UserError
from engine.nets.weights import save_weights
from engine.training.setup import put_together

from .healthy import Design, errors, examine
from .plain import NETWORK, PLAIN

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import tiny_voc

CFG = """[net]
width=64
height=64
[convolutional]
filters=8
size=3
stride=8
pad=1
activation=leaky
[convolutional]
filters=7
activation=linear
[yolo]
anchors=8,9
classes=2
"""
VALUES = 8 + 8 * 27 + 7 + 7 * 8
DARKNET = 'name = "darknet"\ncfg = "x.cfg"\n'
COMPACT = 'name = "compact"\ninput_size = 64\nanchors = [[1.0, 1.2]]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Darknet's two files."""
    (tmp_path / "x.cfg").write_text(CFG)
    body = np.full(VALUES, 0.5, "<f4").tobytes()
    (tmp_path / "x.weights").write_bytes(struct.pack("<3iQ", 0, 2, 5, 0) + body)
    return tmp_path


def written(folder: Path, model: str, classes: str = '"red", "blue"') -> Path:
    path = folder / "c.toml"
    path.write_text(f"[data]\nclasses = [{classes}]\n[model]\n{model}")
    return path


@pytest.mark.parametrize(
    ("model", "classes", "message"),
    [
        (DARKNET + 'weights = "nope.weights"\n', '"a", "b"', r"nope\.weights: no such weights file"),
        (DARKNET, '"a", "b", "c"', r"x\.cfg:15: \[yolo\] has 2 classes, the data set 3"),
        (DARKNET + "anchors = [[1, 1], [2, 2]]\n", '"a", "b"', r"x\.cfg:13: \[yolo\] has 1 anchors"),
        ('name = "yolov2"\nweights = "x.weights"\n', '"a", "b"', "the network is none of Darknet's"),
        (COMPACT + 'weights = "nope.safetensors"\n', '"a", "b"', r"nope\.safetensors: no such weights file"),
    ],
)
def test_what_training_refuses_is_refused_in_its_words(
    folder: Path, model: str, classes: str, message: str
) -> None:
    path = written(folder, model, classes)
    with pytest.raises(UserError, match=message):
        check(load_config(path), source=path)


def test_training_says_the_same(folder: Path) -> None:
    path = written(folder, COMPACT + 'weights = "nope.safetensors"\n')
    tiny_voc.draw(folder / "voc")
    config = load_config(path, [f"data.root={folder / 'voc'}", "data.train=train"])
    said = []
    for refuse in (lambda: check(config, source=path), lambda: put_together(config)):
        with pytest.raises(UserError) as caught:
            refuse()
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("model", [DARKNET + 'weights = "x.weights"\n', DARKNET, COMPACT])
def test_what_can_begin_is_examined(folder: Path, model: str) -> None:
    path = written(folder, model)
    report = check(load_config(path), source=path)
    assert report.ok, errors(report)


def test_the_users_own_network_is_read_into_too(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", {}, {})
    design = Design(model={"weights": str(tmp_path / "w.safetensors")})
    with pytest.raises(UserError, match="belongs to another network: 0 of"):
        examine(tmp_path, PLAIN + NETWORK, design)
    broken = NETWORK.replace(
        "def build_model(head, classes):", "def build_model(head, classes):\n    1 / 0", 1
    )
    report = examine(tmp_path, PLAIN + broken, design)
    assert not report.ok
