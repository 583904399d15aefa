from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from engine.config import ModelConfig
from engine.errors import UserError
from engine.layout import Head, Layout
from engine.nets.registry import build_network, head_strides, network_entry
from engine.nets.weights import (
    load_exactly,
    load_what_fits,
    read_description,
    save_halved,
    save_weights,
)
from engine.nets.yolov2 import reorg

ANCHORS = torch.tensor([[1.0, 2.0], [3.0, 2.0], [4.0, 4.0]])


def heads(
    width: int, height: int, strides: tuple[int, ...], anchors: int = 3, classes: int = 5
) -> list[Head]:
    table = ANCHORS.repeat(2, 1)[:anchors]
    return [Head(height // s, width // s, s, table, classes) for s in strides]


@pytest.mark.parametrize("strides", [(8,), (16,), (8, 16), (8, 16, 32)])
def test_compact_has_the_grids_it_was_asked_for(strides: tuple[int, ...]) -> None:
    grids = heads(160, 96, strides)
    net = build_network(ModelConfig(name="compact", strides=list(strides)), grids)
    out = net(torch.rand(2, 3, 96, 160))
    preds = out if isinstance(out, list) else [out]
    assert [tuple(p.shape) for p in preds] == [(2, 96 // s, 160 // s, 3, 10) for s in strides]


def test_compact_begins_with_nothing_here() -> None:
    net = build_network(ModelConfig(name="compact"), heads(96, 64, (8,)))
    conf = net(torch.rand(1, 3, 64, 96))[..., 0].sigmoid()
    assert float(conf.detach().mean()) < 0.1


def test_compact_is_as_small_as_it_says() -> None:
    net = build_network(ModelConfig(name="compact"), heads(320, 256, (8,)))
    assert 1.2e6 < sum(p.numel() for p in net.parameters()) < 1.5e6


def test_yolov2_is_darknets() -> None:
    """As many trainable values and convolutions as yolov2-voc.cfg gives with 20 classes."""
    net = build_network(ModelConfig(name="yolov2"), heads(416, 416, (32,), anchors=5, classes=20))
    trainable = sum(p.numel() for p in net.parameters())
    assert trainable == 50_655_389
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 23
    assert convolutions[-1].out_channels == 125


def test_reorg_takes_two_by_two_blocks_into_channels() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4)
    out = reorg(image)
    assert out.shape == (1, 4, 2, 2)
    assert out[0, :, 0, 0].tolist() == [0, 1, 4, 5]


def test_a_patch_of_the_image_moves_its_own_cell() -> None:
    moved = torch.zeros(12, 20)
    for seed in range(8):
        torch.manual_seed(seed)
        net = build_network(ModelConfig(name="compact"), heads(160, 96, (8,))).eval()
        image = torch.rand(1, 3, 96, 160)
        changed = image.clone()
        changed[:, :, 32:40, 120:128] += 0.5
        with torch.no_grad():
            moved += (net(changed) - net(image)).abs().sum((0, 3, 4))
    row, column = divmod(int(moved.argmax()), moved.shape[1])
    assert abs(row - 4) <= 1
    assert abs(column - 15) <= 1


def test_predictions_come_out_in_the_declared_layout() -> None:
    grid = heads(96, 64, (8,))
    layout = Layout(order="b (a c) y x", pred=("x", "y", "w", "h", "conf", "class*"))
    torch.manual_seed(0)
    plain = build_network(ModelConfig(name="compact"), grid).eval()
    torch.manual_seed(0)
    declared = build_network(ModelConfig(name="compact"), grid, layout).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        out = declared(image)
        assert tuple(out.shape) == (1, 30, 8, 12)
        assert torch.equal(layout.read_pred(out, grid[0]), plain(image))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "yolo"}, "did you mean 'yolov2'"),
        ({"name": "yolov2", "input_size": 400}, "no multiple of 32.*try 384 or 416"),
        ({"name": "compact", "strides": [4]}, "no head of stride 4"),
        ({"name": "compact", "strides": [16, 8]}, r"\[16, 8\] does not go from the finest head"),
        ({"name": "compact", "input_size": [320, 244]}, "244 is no multiple of 8"),
    ],
)
def test_a_network_that_cannot_be_is_said_in_one_line(config: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        head_strides(ModelConfig.model_validate(config))


def test_every_network_of_the_registry_is_known_by_its_name() -> None:
    assert network_entry(ModelConfig(name="compact")).strides == (8,)


class TestWeights:
    def net(self, classes: int = 5, width: int = 8) -> nn.Module:
        return build_network(ModelConfig(name="compact", width=width), heads(96, 64, (8,), classes=classes))

    def test_round_trip_and_equal_bytes(self, tmp_path: Path) -> None:
        net = self.net()
        for name in ("a", "b"):
            save_weights(tmp_path / name, net.state_dict(), {"classes": ["x"]})
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
        assert read_description(tmp_path / "a") == {"classes": ["x"]}
        other = self.net()
        load_exactly(other, tmp_path / "a")
        assert all(torch.equal(p, q) for p, q in zip(net.parameters(), other.parameters(), strict=True))

    def test_another_networks_weights_are_refused_by_name(self, tmp_path: Path) -> None:
        save_weights(tmp_path / "w", self.net(width=12).state_dict(), {})
        with pytest.raises(UserError, match=r"belongs to another network.*expected"):
            load_exactly(self.net(), tmp_path / "w")

    def test_a_start_from_other_classes_copies_the_trunk(self, tmp_path: Path) -> None:
        save_weights(tmp_path / "w", self.net(classes=9).state_dict(), {})
        net = self.net()
        copied, missing = load_what_fits(net, tmp_path / "w")
        assert copied == sum("num_batches" not in name for name in net.state_dict()) - 2
        assert [name.rpartition(".")[2] for name in missing] == ["weight", "bias"]
        with pytest.raises(UserError, match="another network"):
            load_what_fits(self.net(width=12), tmp_path / "w")

    @pytest.mark.parametrize(
        "content", [b"", b"not a tensor file", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "]
    )
    def test_something_else_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "w").write_bytes(content)
        with pytest.raises(UserError):
            read_description(tmp_path / "w")
        with pytest.raises(UserError):
            load_what_fits(self.net(), tmp_path / "w")

    def test_a_start_from_no_weights_file_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"none\.safetensors: no such weights file; name a "):
            load_what_fits(self.net(), tmp_path / "none.safetensors")
        (tmp_path / "w.onnx").write_bytes(b"\x08\x07\x12\x07pytorch" * 20)
        for read in (load_what_fits, load_exactly):
            with pytest.raises(UserError, match=r"w\.onnx: is no safetensors file"):
                read(self.net(), tmp_path / "w.onnx")

    def test_halved_weights_load_into_the_same_network(self, tmp_path: Path) -> None:
        net = self.net()
        save_weights(tmp_path / "w", net.state_dict(), {"classes": ["x"]})
        save_halved(tmp_path / "w", tmp_path / "h")
        other = self.net()
        load_exactly(other, tmp_path / "h")
        assert (tmp_path / "h").stat().st_size < 0.6 * (tmp_path / "w").stat().st_size
        for p, q in zip(net.parameters(), other.parameters(), strict=True):
            assert q.dtype == torch.float32
            assert torch.allclose(p, q, atol=1e-3)
