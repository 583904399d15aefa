"""Every byte of a weights file is accounted for, or the layer is named where file and cfg part."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.errors import UserError
from engine.nets.darknet.cfg import parse_cfg
from engine.nets.darknet.network import Darknet
from engine.nets.darknet.plan import make_plan
from engine.nets.darknet.weights_file import read_weights, write_weights

from .cfgs import TINY, darknet_bytes, tiny_plan, tiny_values, write_tiny

PLAN = tiny_plan()
SIZES = [layer.stored for layer in PLAN.layers if layer.stored]
"""216 + 4 x 8, 1152 + 4 x 16, 336 + 21, 56 + 7 values."""


def test_values_lie_where_darknet_puts_them(tmp_path: Path) -> None:
    values = tiny_values()
    stored = read_weights(write_tiny(tmp_path), PLAN, whole=True)
    assert (stored.header.version, stored.header.seen, stored.rest) == ((0, 2, 5), 640, None)
    assert SIZES == [248, 1216, 357, 63]
    names = ("norm.bias", "norm.weight", "norm.running_mean", "norm.running_var", "conv.weight")
    first = [stored.tensors[f"layers.0.{name}"] for name in names]
    assert np.array_equal(np.concatenate([each.numpy().ravel() for each in first]), values[:248])
    assert torch.equal(stored.tensors["layers.2.conv.bias"], torch.tensor(values[1464:1485]))
    assert set(stored.tensors) == set(Darknet(PLAN).state_dict())


@pytest.mark.parametrize(
    ("version", "size"), [((0, 1, 0), 16), ((0, 2, 0), 20), ((0, 2, 5), 20), ((1, 0, 0), 20)]
)
def test_both_widths_of_seen(tmp_path: Path, version: tuple[int, int, int], size: int) -> None:
    path = tmp_path / "w.weights"
    path.write_bytes(darknet_bytes(tiny_values(), version, seen=32_013_312))
    header = read_weights(path, PLAN, whole=True).header
    assert (header.version, header.seen, header.size) == (version, 32_013_312, size)


def layer_at(place: int) -> tuple[int, int]:
    """Which convolution a value belongs to, and where it begins."""
    start = 0
    for k, size in enumerate(SIZES):
        if place < start + size:
            return k, start
        start += size
    raise IndexError(place)


CONVOLUTIONS = [layer.index for layer in PLAN.layers if layer.stored]


@given(st.integers(0, 4 * sum(SIZES) + 19))
@example(20)
@example(20 + 4 * 248)
@example(20 + 4 * (248 + 1216))
@example(20 + 4 * (248 + 1216 + 357))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_cut_anywhere_is_refused_or_a_part(tmp_path: Path, length: int) -> None:
    path = tmp_path / "cut.weights"
    path.write_bytes(darknet_bytes(tiny_values())[:length])
    if length < 20:
        with pytest.raises(UserError, match="its header does not make sense"):
            read_weights(path, PLAN)
        return
    count, odd = divmod(length - 20, 4)
    cut, start = layer_at(count)
    if odd:
        wanted = "ends inside a number"
    elif count == start:
        wanted = rf"is a part of a network: it ends before layer {CONVOLUTIONS[cut]} "
        if count:
            assert read_weights(path, PLAN).rest is PLAN.layers[CONVOLUTIONS[cut]]
    else:
        wanted = rf"ends inside layer {CONVOLUTIONS[cut]} .*{count - start:,} of its {SIZES[cut]:,} values"
    with pytest.raises(UserError, match=wanted):
        read_weights(path, PLAN, whole=True)


@given(st.integers(1, 40))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_that_goes_on_is_refused(tmp_path: Path, more: int) -> None:
    path = tmp_path / "long.weights"
    path.write_bytes(darknet_bytes(tiny_values()) + bytes(more))
    wanted = "ends inside a number" if more % 4 else rf"goes on after layer 5 .*{more // 4} values are left"
    with pytest.raises(UserError, match=wanted):
        read_weights(path, PLAN)


@given(st.integers(0, sum(SIZES) - 1))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_value_that_cannot_be_names_its_layer(tmp_path: Path, place: int) -> None:
    """A flipped exponent makes infinity; the sign of a variance makes it impossible."""
    values = tiny_values()
    values[place] = np.inf
    path = write_tiny(tmp_path, values=values)
    layer, start = layer_at(place)
    with pytest.raises(UserError, match=f"not finite in layer {CONVOLUTIONS[layer]} "):
        read_weights(path, PLAN)
    values[place] = -0.3
    path = write_tiny(tmp_path, values=values)
    filters = {0: 8, 1: 16}.get(layer, 0)
    if 3 * filters <= place - start < 4 * filters:
        with pytest.raises(UserError, match=f"negative variance in layer {CONVOLUTIONS[layer]} "):
            read_weights(path, PLAN)
    else:
        read_weights(path, PLAN)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff\xe0" * 20, struct.pack("<4i", 1, -1, 0, 0), bytes(12)])
def test_what_is_no_weights_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.weights").write_bytes(data)
    with pytest.raises(UserError, match=r"no Darknet weights file.*; name a \.weights file"):
        read_weights(tmp_path / "x.weights", PLAN)
    with pytest.raises(UserError, match="no such weights file"):
        read_weights(tmp_path / "none.weights", PLAN)
    with pytest.raises(UserError, match=r"cannot be read: Is a directory; name a \.weights file"):
        read_weights(tmp_path, PLAN)


@pytest.mark.parametrize("flipped", [False, True])
def test_what_is_written_is_read(tmp_path: Path, flipped: bool) -> None:
    text = TINY.replace("filters=16", "filters=16\nflipped=1") if flipped else TINY
    plan = make_plan(parse_cfg(text))
    own = Darknet(plan).state_dict()
    write_weights(tmp_path / "a.weights", plan, own, seen=2**40)
    stored = read_weights(tmp_path / "a.weights", plan, whole=True)
    assert stored.header.seen == 2**40
    assert all(torch.equal(tensor, own[name]) for name, tensor in stored.tensors.items())
    assert len(stored.tensors) == len(own)
    write_weights(tmp_path / "b.weights", plan, stored.tensors, seen=2**40)
    assert (tmp_path / "a.weights").read_bytes() == (tmp_path / "b.weights").read_bytes()
    if flipped:
        straight = read_weights(tmp_path / "a.weights", PLAN)
        kernels = straight.tensors["layers.1.conv.weight"]
        turned = kernels.reshape(-1, 16).T.reshape(kernels.shape)
        assert torch.equal(turned, own["layers.1.conv.weight"])
