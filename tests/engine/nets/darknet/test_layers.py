"""Layers against Darknet's own loops, written again in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from engine.nets.darknet import spec as specs
from engine.nets.darknet.activations import activation
from engine.nets.darknet.cfg import parse_cfg
from engine.nets.darknet.layers import Detect, MaxPool, Reorg, Route, Scale, Shortcut
from engine.nets.darknet.network import Darknet
from engine.nets.darknet.plan import make_plan

from .cfgs import NET, TINY, tiny_plan


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reorg_loops(x: np.ndarray, stride: int) -> np.ndarray:
    """``reorg_cpu`` with forward = 0: flat indices into a tensor read with other sides."""
    c, h, w = x.shape
    flat, out = x.reshape(-1), np.zeros(x.size, x.dtype)
    out_c = c // stride**2
    for k in range(c):
        c2, offset = k % out_c, k // out_c
        for j in range(h):
            for i in range(w):
                w2, h2 = i * stride + offset % stride, j * stride + offset // stride
                out[i + w * (j + h * k)] = flat[w2 + w * stride * (h2 + h * stride * c2)]
    return out.reshape(c * stride**2, h // stride, w // stride)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=25)
def test_reorg_has_darknets_order(stride: int, channels: int, rows: int, columns: int) -> None:
    x = noise(2, channels * stride**2, rows * stride, columns * stride)
    got = Reorg(specs.Reorg(stride))(x)
    for image, own in zip(x.numpy(), got.numpy(), strict=True):
        assert np.array_equal(own, reorg_loops(image, stride))


def maxpool_loops(x: np.ndarray, size: int, stride: int, padding: int) -> np.ndarray:
    c, h, w = x.shape
    rows, columns = (h + padding - size) // stride + 1, (w + padding - size) // stride + 1
    out = np.full((c, rows, columns), -np.inf, x.dtype)
    offset = -(padding // 2)
    for i in range(rows):
        for j in range(columns):
            for n in range(size):
                for m in range(size):
                    y, z = offset + i * stride + n, offset + j * stride + m
                    if 0 <= y < h and 0 <= z < w:
                        out[:, i, j] = np.maximum(out[:, i, j], x[:, y, z])
    return out


@given(st.integers(1, 5), st.integers(1, 3), st.integers(4, 9), st.integers(4, 9), st.booleans())
@settings(max_examples=40)
def test_maxpool_pads_as_darknet_does(size: int, stride: int, height: int, width: int, plain: bool) -> None:
    option = "padding=0\n" if plain and size <= min(height, width) else ""
    text = NET.replace("64", str(width)).replace("96", str(height))
    plan = make_plan(parse_cfg(f"{text}[max]\nsize={size}\nstride={stride}\n{option}"))
    spec = plan.layers[0].spec
    assert isinstance(spec, specs.MaxPool)
    x = noise(1, 3, height, width)
    got = MaxPool(spec, plan.layers[0].inside, plan.layers[0].outside)(x)
    assert tuple(got.shape[1:]) == plan.layers[0].outside
    assert np.array_equal(
        got[0].numpy(), maxpool_loops(x[0].numpy(), size, stride, 0 if option else size - 1)
    )


def shortcut_loops(own: np.ndarray, add: np.ndarray) -> np.ndarray:
    """``shortcut_cpu``: the common channels, sampled where one picture is larger."""
    (c1, h1, w1), (c2, h2, w2) = add.shape, own.shape
    stride, sample = max(1, w1 // w2), max(1, w2 // w1)
    out = own.copy()
    for k in range(min(c1, c2)):
        for j in range(min(h1, h2)):
            for i in range(min(w1, w2)):
                out[k, j * sample, i * sample] += add[k, j * stride, i * stride]
    return out


@pytest.mark.parametrize("own", [(3, 4, 6), (5, 4, 6), (2, 2, 3)])
@pytest.mark.parametrize("add", [(3, 4, 6), (4, 2, 3), (3, 8, 12)])
def test_shortcut_adds_what_both_have(own: tuple[int, int, int], add: tuple[int, int, int]) -> None:
    x, y = noise(1, *own), noise(1, *add, seed=1)
    kept = x.clone(), y.clone()
    got = Shortcut(specs.Shortcut("leaky"))(x, y)[0].numpy()
    wanted = shortcut_loops(x[0].numpy(), y[0].numpy())
    assert np.allclose(got, np.where(wanted > 0, wanted, 0.1 * wanted), atol=1e-6)
    assert torch.equal(x, kept[0]), "other layers may read it too"
    assert torch.equal(y, kept[1])


def test_route_takes_a_group_of_each() -> None:
    x, y = noise(1, 6, 2, 2), noise(1, 4, 2, 2, seed=1)
    got = Route(specs.Route(2, 1))(x, y)
    assert torch.equal(got, torch.cat((x[:, 3:], y[:, 2:]), 1))


def test_scale_channels_multiplies() -> None:
    factors, x = noise(2, 3, 1, 1), noise(2, 3, 4, 4, seed=1)
    assert torch.equal(Scale(specs.Scale("linear"))(factors, x), x * factors)


def test_a_heads_channels_are_put_in_our_order() -> None:
    """Channel c of anchor a is Darknet's number 7 a + c: x y w h conf class class."""
    x = torch.arange(14.0).view(1, 14, 1, 1).expand(1, 14, 2, 3)
    out = Detect(specs.Detect("yolo", ((1, 1), (2, 2)), 2, 1.0, False))(x)
    assert tuple(out.shape) == (1, 2, 3, 2, 7)
    assert out[0, 1, 2].tolist() == [[4, 0, 1, 2, 3, 5, 6], [11, 7, 8, 9, 10, 12, 13]]


FORMULAS = {
    "linear": lambda x: x,
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "hard_mish": lambda x: np.where(x > 0, x, np.where(x > -2, x * x / 2 + x, 0)),
    "tanh": np.tanh,
    "elu": lambda x: np.where(x >= 0, x, np.expm1(x)),
    "selu": lambda x: np.where(x >= 0, 1.0507 * x, 1.0507 * 1.6732 * np.expm1(x)),
}


@pytest.mark.parametrize("name", specs.ACTIVATIONS)
def test_activations_by_their_formulas(name: str) -> None:
    x = torch.linspace(-9, 9, 181)
    wanted = FORMULAS[name](x.double().numpy())
    assert np.allclose(activation(name)(x.clone()).numpy(), wanted, atol=2e-4)


def test_outputs_that_nobody_reads_again_are_let_go() -> None:
    network = Darknet(tiny_plan())
    released = [k for each in network._done for k in each]
    assert sorted(released) == [-1, 0, 1, 2, 4, 5], "all but the heads'"


def test_a_fresh_network_keeps_the_scale_of_its_signal() -> None:
    torch.manual_seed(0)
    plain = "[conv]\nfilters=64\nsize=3\npad=1\nactivation=relu\n"
    head = "[conv]\nfilters=6\nactivation=linear\n[yolo]\nanchors=1,2\nclasses=1\n"
    network = Darknet(make_plan(parse_cfg(NET + plain * 8 + head)))
    (out,) = network(noise(1, 3, 96, 64))
    assert 0.2 < float(out.detach().std()) < 5
    assert all(bool((m.bias == 0).all()) for m in network.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("ending", ["[softmax]\n", "[cost]\n", "[softmax]\n[cost]\n"])
@pytest.mark.parametrize("between", [True, False])
def test_what_only_darknets_training_looks_at_is_passed_over(ending: str, between: bool) -> None:
    """At the end, and behind the first of two heads."""
    plain = Darknet(tiny_plan())
    text = TINY.replace("[route]", ending + "[route]") if between else TINY + ending
    network = Darknet(make_plan(parse_cfg(text)))
    own = dict(zip(network.state_dict(), plain.state_dict().values(), strict=True))
    network.load_state_dict(own)
    images = noise(1, 3, 96, 64)
    for ours, theirs in zip(network.eval()(images), plain.eval()(images), strict=True):
        assert torch.equal(ours, theirs)
