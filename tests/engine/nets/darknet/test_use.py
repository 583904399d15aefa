"""Darknet networks in this program's own ways: config, training, checkpoints, detection, other classes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.blueprint import Blueprint, declared_anchors
from engine.config import Config, dump_config, load_config
from engine.data.letterbox import GREY
from engine.errors import UserError
from engine.nets.darknet.beside import cfg_beside, names_beside
from engine.nets.darknet.heads import settings_of
from engine.nets.darknet.settings import SPOKEN_OF
from engine.nets.registry import build_network
from engine.nets.weights import load_exactly, load_what_fits
from engine.predictor import load_predictor
from engine.runs.store import RunFolder, RunReader
from engine.training.session import Training
from engine.yolo.decode import decode_boxes

from .cfgs import TINY, darknet_bytes, tiny_plan, tiny_values, write_tiny

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
import tiny_voc

CLASSES = ("red", "blue")


def tiny_config(folder: Path, more: str = "") -> Path:
    path = folder / "tiny.toml"
    path.write_text('[model]\nname = "darknet"\ncfg = "tiny.cfg"\n' + more)
    return path


def blueprint(folder: Path, more: str = "", classes: tuple[str, ...] = CLASSES) -> Blueprint:
    config = load_config(tiny_config(folder, more))
    anchors = declared_anchors(config.model)
    assert anchors is not None
    return Blueprint.of(config, classes, anchors)


def test_the_cfg_speaks_where_the_config_is_silent(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    config = load_config(tiny_config(tmp_path, "[loss]\nignore_iou = 0.25\n"))
    assert config.model.input_wh == (64, 96)
    assert config.model.strides == [8, 16]
    assert config.model.scale_xy == [1, 1.2]
    assert (config.loss.classes, config.loss.confidence, config.loss.ignore_iou) == ("bce", "bce", 0.25)
    assert Path(config.model.cfg) == tmp_path / "tiny.cfg"


def test_pictures_are_stretched_unless_the_cfg_or_the_config_says_otherwise(tmp_path: Path) -> None:
    weights = write_tiny(tmp_path)
    assert blueprint(tmp_path).detector().stretch
    assert not blueprint(tmp_path, 'resize = "letterbox"\n').stretched
    image = np.random.default_rng(0).integers(0, 255, (40, 200, 3), np.uint8)
    stretched = cv2.resize(image, (64, 96))[..., ::-1]
    np.testing.assert_array_equal(load_predictor(str(weights)).prepare(image), stretched)
    write_tiny(tmp_path, TINY.replace("[net]", "[net]\nletter_box=1"))
    assert not blueprint(tmp_path).stretched
    assert (load_predictor(str(weights)).prepare(image)[0] == GREY).all()


def test_the_cfg_speaks_key_by_key(tmp_path: Path) -> None:
    """Grids and sizes that a config states leave decode and loss to the cfg."""
    write_tiny(tmp_path)
    asked = load_config(tiny_config(tmp_path))
    model = {key: getattr(asked.model, key) for key in ("input_size", "strides", "anchors", "scale_xy")}
    text = "".join(f"{key} = {value}\n" for key, value in model.items())
    stated = load_config(tiny_config(tmp_path, text))
    assert (stated.model, stated.loss, stated.layout) == (asked.model, asked.loss, asked.layout)
    assert stated.loss.classes == "bce"
    (tmp_path / "tiny.names").write_text("red\nblue\n")
    assert load_config(tiny_config(tmp_path, text)).data.classes == list(CLASSES)


def test_all_that_a_cfg_says_is_known_to_be_its_to_say() -> None:
    said = settings_of(tiny_plan())
    said["model"].pop("anchor_count")  # only for anchors that are fitted
    assert {name: set(keys) for name, keys in said.items()} == {
        name: set(keys) for name, keys in SPOKEN_OF.items() if name != "data"
    }


def test_a_resolved_config_needs_the_cfg_no_more(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    config = load_config(tiny_config(tmp_path))
    (tmp_path / "run.toml").write_text(dump_config(config))
    (tmp_path / "tiny.cfg").unlink()
    assert load_config(tmp_path / "run.toml") == config


def test_the_cfg_beside_the_weights_will_do(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    path = tmp_path / "c.toml"
    path.write_text('[model]\nname = "darknet"\nweights = "tiny.weights"\n')
    assert load_config(path).model.strides == [8, 16]
    (tmp_path / "tiny.weights").rename(tmp_path / "tiny.backup")
    path.write_text('[model]\nname = "darknet"\nweights = "tiny.backup"\n')
    assert load_config(path).model.strides == [8, 16]
    (tmp_path / "tiny.cfg").unlink()
    with pytest.raises(UserError, match=r"tiny\.backup: has no cfg beside it.*put tiny\.cfg there"):
        load_config(path)
    (tmp_path / "tiny.backup").unlink()
    with pytest.raises(UserError, match=r"tiny\.backup: no such weights file"):
        load_config(path)
    (tmp_path / "tiny53.cfg").write_text(TINY.split("[yolo]")[0] + "[softmax]\n")
    for weights in ("", 'weights = "tiny53.conv.2"\n'):
        path.write_text('[model]\nname = "darknet"\n' + weights)
        with pytest.raises(UserError, match=r"model\.cfg: names no cfg"):
            load_config(path)


def test_heads_decode_as_their_cfg_says(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    fine, coarse = blueprint(tmp_path).heads()
    pred = torch.zeros(1, coarse.grid_h, coarse.grid_w, 3, 7)
    pred[..., 1] = 2.0
    box = decode_boxes(pred, coarse)[0, 1, 2, 1]
    reach = 1.2 / (1 + np.exp(-2.0)) - 0.1
    assert box.tolist() == pytest.approx([(2 + reach) / 4, 1.5 / 6, 20 / 64, 30 / 96]), (
        "centre stretched by scale_x_y, sizes those of the anchor in pixels"
    )
    assert fine.scale_xy == 1


def test_the_weights_give_the_same_network_by_either_way(tmp_path: Path) -> None:
    weights = write_tiny(tmp_path)
    predictor = load_predictor(str(weights))
    assert predictor.classes == ("class0", "class1")
    (tmp_path / "tiny.names").write_text("red\nblue\n")
    assert load_predictor(str(weights)).classes == CLASSES
    model = blueprint(tmp_path).network()
    load_exactly(model, weights)
    own, other = model.state_dict(), predictor.model.state_dict()
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)


def test_an_input_smaller_than_ours_is_said_with_the_cfgs_line(tmp_path: Path) -> None:
    weights = write_tiny(tmp_path, TINY.replace("width=64", "width=16").replace("height=96", "height=48"))
    with pytest.raises(UserError, match=r"tiny\.cfg:2: \[net\] width=16 is less than 32"):
        load_predictor(str(weights))
    assert load_config(tiny_config(tmp_path, "input_size = 64\n")).model.input_size == 64
    with pytest.raises(UserError, match=r"tiny\.toml: model\.input_size = 16: an input side is at least 32"):
        load_config(tiny_config(tmp_path, "input_size = 16\n"))


def test_more_anchors_than_are_ever_fitted_are_used(tmp_path: Path) -> None:
    text = TINY.split("[route]")[0].replace("filters=21", f"filters={7 * 40}")
    pairs = ", ".join(f"{k + 1},{2 * k + 1}" for k in range(40))
    text = text.replace("mask=1,2,3\n", "").replace("num=4", "num=40")
    text = text.replace("anchors=4,5, 8,9, 20,30, 40,50", f"anchors={pairs}")
    weights = write_tiny(tmp_path, text, np.full(1464 + 280 * 17, 0.2))
    (head,) = load_predictor(str(weights)).blueprint.heads()
    assert head.anchor_count == 40


def test_a_part_initialises_what_it_covers(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    (tmp_path / "tiny.conv.2").write_bytes(darknet_bytes(tiny_values()[: 248 + 1216]))
    torch.manual_seed(0)
    model = blueprint(tmp_path).network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    copied, missing = load_what_fits(model, tmp_path / "tiny.conv.2")
    assert (copied, missing[0]) == (10, "network.layers.2.conv.weight")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == (name in missing or "num_batches" in name)
    assert not any("num_batches" in name for name in missing)
    with pytest.raises(UserError, match=r"is a part of a network: it ends before layer 2 "):
        load_exactly(model, tmp_path / "tiny.conv.2")


def test_a_network_with_other_classes_starts_from_the_old_ones_body(tmp_path: Path) -> None:
    """The old cfg lies beside the weights and says how to read them."""
    weights = write_tiny(tmp_path)
    more = TINY.replace("classes=2", "classes=5").replace("filters=21", "filters=30")
    (tmp_path / "five.cfg").write_text(more.replace("filters=7", "filters=10"))
    config = load_config(tiny_config(tmp_path), [f"model.cfg={tmp_path / 'five.cfg'}"])
    model = Blueprint.of(config, tuple("abcde"), declared_anchors(config.model) or ()).network()
    copied, missing = load_what_fits(model, weights)
    assert copied == 10
    assert [name.removeprefix("network.layers.") for name in missing] == [
        "2.conv.weight", "2.conv.bias", "5.conv.weight", "5.conv.bias",
    ]  # fmt: skip


def test_a_backbone_of_which_nothing_fits_is_another_networks(tmp_path: Path) -> None:
    """The counts of its norms, which no weights file holds, are no weights that fit."""
    write_tiny(tmp_path)
    wide = TINY.replace("filters=8", "filters=9").replace("filters=16", "filters=17")
    (tmp_path / "wide.cfg").write_text(wide)
    values = 9 * (4 + 27) + 17 * (4 + 9 * 9)
    (tmp_path / "wide.conv.2").write_bytes(darknet_bytes(np.full(values, 0.5)))
    with pytest.raises(UserError, match=r"wide\.conv\.2: belongs to another network: 0 of 14 tensors fit"):
        load_what_fits(blueprint(tmp_path).network(), tmp_path / "wide.conv.2")


AFTER = {
    "classifier": "[avgpool]\n[softmax]\ngroups=1\n[cost]\ntype=sse\n",
    "not built": "[connected]\noutput=10\n",
    "not known": "[maxpool]\nsize=2\nnew_option=1\n[convolutional]\nfilters=2\n",
}


@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
def test_a_backbone_is_read_by_the_cfg_of_a_classifier(tmp_path: Path, after: str) -> None:
    """As Darknet's folder has it: ``tiny53.conv.2`` above ``cfg/tiny53.cfg``, which ends in no head."""
    write_tiny(tmp_path)
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg" / "tiny53.cfg").write_text(TINY.split("[convolutional]\nfilters=21")[0] + after)
    backbone = tmp_path / "tiny53.conv.2"
    backbone.write_bytes(darknet_bytes(tiny_values()[: 248 + 1216]))
    model = blueprint(tmp_path).network()
    missing = load_what_fits(model, backbone)[1]
    assert missing[0] == "network.layers.2.conv.weight"
    kernels = model.state_dict()["network.layers.1.conv.weight"].numpy().ravel()
    assert np.array_equal(kernels, tiny_values()[248 + 64 : 248 + 1216])
    backbone.write_bytes(darknet_bytes(tiny_values()[: 248 + 1216 + 1]))
    wanted = {"classifier": "makes a classifier", "not built": "connected", "not known": "new_option"}
    with pytest.raises(UserError, match=next(wanted[name] for name in AFTER if AFTER[name] == after)):
        load_what_fits(model, backbone)


def test_another_count_of_classes_is_said_with_the_lines_to_change(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    with pytest.raises(
        UserError, match=r"has 2 classes, the data set 3; set classes=3.*filters=8 before \(line"
    ):
        blueprint(tmp_path, classes=("a", "b", "c")).network()


def test_weights_of_darknets_for_a_network_of_ours_are_refused(tmp_path: Path) -> None:
    weights = write_tiny(tmp_path)
    config = Config.model_validate({"model": {"name": "compact"}})
    heads = Blueprint.of(config, CLASSES, (((1.0, 1.0),),)).heads()
    with pytest.raises(UserError, match=r'set model\.name = "darknet"'):
        load_what_fits(build_network(config.model, heads), weights)


@pytest.mark.parametrize(
    "name", ["tiny.weights", "tiny_best.weights", "tiny_final.weights", "tiny_12000.weights", "tiny.backup"]
)
def test_darknets_names_of_stages_lead_to_the_cfg(tmp_path: Path, name: str) -> None:
    write_tiny(tmp_path)
    (tmp_path / "backup").mkdir()
    assert cfg_beside(tmp_path / name) == tmp_path / "tiny.cfg"
    assert cfg_beside(tmp_path / "backup" / name) is None
    (tmp_path / "cfg").mkdir()
    shutil.copy(tmp_path / "tiny.cfg", tmp_path / "cfg" / "tiny.cfg")
    assert cfg_beside(tmp_path / "backup" / name) == tmp_path / "cfg" / "tiny.cfg"


def test_names_are_not_guessed_between_two(tmp_path: Path) -> None:
    weights = write_tiny(tmp_path)
    (tmp_path / "a.names").write_text("red\nblue\n")
    (tmp_path / "b.names").write_text("one\ntwo\nthree\n")
    assert names_beside(weights, 2) == ["red", "blue"]
    assert names_beside(weights, 4) is None
    (tmp_path / "b.names").write_text("cat\ndog\n")
    assert names_beside(weights, 2) is None


def test_names_are_read_in_the_encodings_that_are_about(tmp_path: Path) -> None:
    weights = write_tiny(tmp_path)
    for data in ("\ufeffröd\r\nblå\r\n".encode(), "röd\nblå".encode("latin-1")):
        (tmp_path / "tiny.names").write_bytes(data)
        assert names_beside(weights, 2) == ["röd", "blå"]
        assert load_predictor(str(weights)).notes == ()


@pytest.mark.parametrize(
    ("text", "why"), [("red\nred\n", "'red' stands twice"), ("red\n", "holds 1 names, the network has 2")]
)
@pytest.mark.parametrize("name", ["tiny.weights", "tiny_best.weights"])
def test_a_names_file_that_is_not_taken_is_said(tmp_path: Path, text: str, why: str, name: str) -> None:
    weights = write_tiny(tmp_path).rename(tmp_path / name)
    assert load_predictor(str(weights)).notes == ()
    (tmp_path / "tiny.names").write_text(text)
    predictor = load_predictor(str(weights))
    assert predictor.classes == ("class0", "class1")
    (note,) = predictor.notes
    assert note.startswith(f"{tmp_path / 'tiny.names'}: not taken: ")
    assert why in note
    (tmp_path / "other.names").write_text("cat\ndog\n")
    predictor = load_predictor(str(weights))
    assert (predictor.classes, predictor.notes) == (("cat", "dog"), (note,))


def test_training_goes_on_from_the_weights_and_keeps_the_cfg(tmp_path: Path) -> None:
    """Loss falls; the checkpoint needs neither cfg nor weights file any more."""
    torch.set_num_threads(1)
    tiny_voc.draw(tmp_path / "voc")
    write_tiny(tmp_path)
    more = """weights = "tiny.weights"
[data]
root = "voc"
train = "train"
classes = ["red", "blue"]
[train]
epochs = 8
batch_size = 4
lr = 0.005
optimizer = "adamw"
warmup_epochs = 0
workers = 0
eval_every = 0
"""
    config = tiny_config(tmp_path, more)
    Training(load_config(config), tmp_path / "run", source=config, code=None, resume=False).run()
    with RunReader(RunFolder.open(tmp_path / "run")) as reader:
        total = reader.series("total").mean
        notes = [entry.text for entry in reader.log()]
    assert total[-3:].mean() < 0.7 * total[:3].mean()
    assert any("tiny.weights: 14 tensors copied, 0 fresh" in note for note in notes)
    (tmp_path / "tiny.cfg").unlink()
    (tmp_path / "tiny.weights").unlink()
    predictor = load_predictor(str(tmp_path / "run"))
    assert predictor.classes == CLASSES
    (found,) = predictor.detect([np.full((96, 64, 3), 90, np.uint8)], conf=0.0)
    assert found.shape[1] == 6
