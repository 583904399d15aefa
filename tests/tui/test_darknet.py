"""``yolotui darknet``: the table, the document, and what a wrong file gives."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from engine.errors import UserError
from tui.commands.darknet import darknet

CFG = """[net]
width=64
height=32
[convolutional]
batch_normalize=1
filters=4
size=3
stride=8
pad=1
activation=leaky
[convolutional]
filters=7
size=1
activation=linear
[yolo]
anchors=4,5
classes=2
"""
VALUES = 4 * 4 + 4 * 27 + 7 + 28


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A cfg and weights that are its own."""
    (tmp_path / "x.cfg").write_text(CFG)
    body = np.full(VALUES, 0.5, "<f4").tobytes()
    (tmp_path / "x.weights").write_bytes(struct.pack("<3iQ", 0, 2, 5, 6400) + body)
    return tmp_path / "x.cfg", tmp_path / "x.weights"


def test_the_table_and_what_the_weights_hold(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert darknet(*files, False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:4]] == ["conv", "conv", "yolo"]
    assert lines[-2].startswith("3 layers, 151 parameters, 0.000 BFLOPs at 64 x 32")
    assert lines[-1].endswith("version 0.2.5, 6,400 images seen, 159 values, for every layer")


def test_the_document(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    cfg, weights = files
    weights.write_bytes(weights.read_bytes()[: 20 + 4 * 124])
    assert darknet(cfg, weights, True) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["weights"]["rest"] == 1
    assert document["weights"]["values"] == 124
    assert document["layers"][0]["output"] == [4, 4, 8]
    assert document["bflops"] == pytest.approx(2e-9 * (108 + 28) * 32)


def test_other_weights_are_refused(files: tuple[Path, Path]) -> None:
    cfg, weights = files
    weights.write_bytes(weights.read_bytes() + bytes(8))
    with pytest.raises(UserError, match=r"goes on after layer 1 .*2 values are left"):
        darknet(cfg, weights, False)
