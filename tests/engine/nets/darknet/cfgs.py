"""Small cfgs, and weights files for them, written here byte by byte from Darknet's own description."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from engine.nets.darknet.cfg import parse_cfg
from engine.nets.darknet.plan import Plan, make_plan

NET = "[net]\nwidth=64\nheight=96\nchannels=3\n"

TINY = (
    NET
    + """
[convolutional]
batch_normalize=1
filters=8
size=3
stride=4
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=16
size=3
stride=4
pad=1
activation=mish

[convolutional]
filters=21
size=1
activation=linear

[yolo]
mask=1,2,3
anchors=4,5, 8,9, 20,30, 40,50
num=4
classes=2
scale_x_y=1.2
ignore_thresh=.7

[route]
layers=0

[convolutional]
filters=7
size=1
stride=2
activation=linear

[yolo]
mask=0
anchors=4,5, 8,9, 20,30, 40,50
num=4
classes=2
"""
)
"""Heads at strides 16 and 8, written the coarser first, as Darknet does."""


def tiny_plan() -> Plan:
    return make_plan(parse_cfg(TINY, "tiny.cfg"))


def darknet_bytes(values: np.ndarray, version: tuple[int, int, int] = (0, 2, 5), seen: int = 640) -> bytes:
    """A whole weights file; before version 0.2 ``seen`` has 32 bits."""
    wide = version[0] * 10 + version[1] >= 2
    return struct.pack("<3i" + ("Q" if wide else "I"), *version, seen) + values.astype("<f4").tobytes()


def tiny_values(seed: int = 0) -> np.ndarray:
    """Positive throughout, so that variances are."""
    return np.random.default_rng(seed).uniform(0.1, 0.5, tiny_plan().stored).astype(np.float32)


def write_tiny(folder: Path, text: str = TINY, values: np.ndarray | None = None) -> Path:
    """``tiny.cfg`` and ``tiny.weights``; returns the latter."""
    (folder / "tiny.cfg").write_text(text)
    weights = folder / "tiny.weights"
    weights.write_bytes(darknet_bytes(tiny_values() if values is None else values))
    return weights
