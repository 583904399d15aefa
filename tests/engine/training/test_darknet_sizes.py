"""A Darknet network on batches of other sizes: as the cfg's ``random=1`` has it, or refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from engine.config import load_config
from engine.errors import UserError
from engine.runs.snapshots import load
from engine.training.session import Training

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import tiny_voc

CFG = """
[net]
width=96
height=64
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
stride=4
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=8
size=3
stride={stride}
pad=1
activation=leaky

[upsample]
stride={stride}

[route]
layers=-1,0

[convolutional]
filters=14
size=1
activation=linear

[yolo]
mask=0,1
anchors=10,12, 30,24
num=2
classes=2
"""
"""One head at stride 4; the upsampled branch fits it where the sides are multiples of 4 * stride."""
CONFIG = """
[data]
root = "voc"
train = "train"
classes = ["red", "blue"]
[model]
name = "darknet"
cfg = "own.cfg"
[train]
epochs = 4
[augment]
multi_scale = 0.5
[capture]
snapshot_every = 1
"""


def make(folder: Path, stride: int) -> Training:
    torch.set_num_threads(1)
    tiny_voc.draw(folder / "voc")
    (folder / "own.cfg").write_text(CFG.format(stride=stride))
    (folder / "own.toml").write_text(CONFIG)
    source = folder / "own.toml"
    return Training(load_config(source), folder / "run", source=source, code=None, resume=False)


def test_it_is_trained_on_them(tmp_path: Path) -> None:
    ended = make(tmp_path, 1).run()
    assert ended.status == "finished", ended.message
    snapshot = load(next((tmp_path / "run/snapshots").glob("*")))
    (head,) = snapshot.heads
    assert (head.input_w, head.input_h) != (96, 64)
    assert snapshot.tensor("images").shape[2:] == (head.input_h, head.input_w)


def test_layers_that_do_not_meet_at_another_size_are_said_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.name: the network cannot take an input of .*; set augment"):
        make(tmp_path, 2)
