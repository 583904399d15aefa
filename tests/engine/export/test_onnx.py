"""A network as ONNX: the same logits and detections from onnxruntime, and a file that tells all by itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.blueprint import Blueprint
from engine.config import Config, load_config
from engine.data.images import read_image
from engine.errors import UserError
from engine.nets import onnx as nets_onnx
from engine.nets.weights import save_weights
from engine.predictor import Predictor, demo_weights, load_predictor
from engine.scoring import evaluate_split

pytest.importorskip("onnxscript", reason="needs the extra onnx")
ort = pytest.importorskip("onnxruntime", reason="needs the extra onnx")

from engine.export.formats import export  # noqa: E402
from engine.export.onnx import export_onnx  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import tiny_voc  # noqa: E402

pytestmark = pytest.mark.slow

TWO_HEADS = {
    "model": {
        "name": "compact", "width": 4, "input_size": [96, 64], "strides": [8, 16],
        "anchors": [[[1, 2], [3, 1]], [[2, 2], [4, 3]]],
    },
    "layout": {"order": "b (a c) y x", "pred": ["x", "y", "w", "h", "conf", "class*"], "decode": "yolov5"},
    "loss": {"classes": "bce"},
}  # fmt: skip


def fresh(path: Path, config: Config, classes: tuple[str, ...], anchors: object) -> Path:
    """Random weights of a config's network, with batch norms that have seen something."""
    torch.manual_seed(3)
    blueprint = Blueprint.of(config, classes, anchors)  # type: ignore[arg-type]
    network = blueprint.network().train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(4, 3, *reversed(blueprint.input_wh)))
    save_weights(path, network.state_dict(), blueprint.to_json())
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Predictor, Path]]:
    """Networks and their ONNX files: the demo's, and one of two heads in a layout of its own."""
    folder = tmp_path_factory.mktemp("onnx")
    config = Config.model_validate(TWO_HEADS)
    anchors = (((1.0, 2.0), (3.0, 1.0)), ((2.0, 2.0), (4.0, 3.0)))
    weights = {
        "demo": demo_weights(),
        "two heads": fresh(folder / "two.safetensors", config, ("red", "blue"), anchors),
    }
    made = {}
    for name, path in weights.items():
        predictor = load_predictor(str(path), device="cpu")
        made[name] = predictor, folder / f"{path.stem}.onnx"
        export_onnx(*made[name])
    return made


@pytest.mark.parametrize("name", ["demo", "two heads"])
def test_the_same_logits_and_detections_on_real_pictures(
    exported: dict[str, tuple[Predictor, Path]], name: str, shared_data: Path
) -> None:
    ours, path = exported[name]
    theirs = load_predictor(str(path))
    conf = 0.1 if name == "demo" else 0.0005  # the other has learnt nothing
    images = [read_image(each) for each in sorted((shared_data / "darknet" / "images").glob("*.jpg"))[:3]]
    inputs = np.stack([ours.prepare(image) for image in images])
    batch = torch.from_numpy(inputs).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        pairs = list(zip(ours.detector.as_list(ours.model(batch)), _run(path, batch), strict=True))
    assert len(pairs) == len(ours.detector.heads)
    for wanted, got in pairs:
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted.numpy(), atol=1e-4, rtol=1e-4)
    for a, b in zip(ours.detect(images, conf), theirs.detect(images, conf), strict=True):
        assert len(a)
        assert len(a) == len(b)
        np.testing.assert_allclose(a[:, :4], b[:, :4], atol=0.05)
        np.testing.assert_allclose(a[:, 4], b[:, 4], atol=1e-4)


def _run(path: Path, batch: torch.Tensor) -> list[np.ndarray]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"images": batch.contiguous().numpy()}))


def test_darknets_weights_are_exported_as_they_lie(tmp_path: Path, shared_data: Path) -> None:
    weights = shared_data / "darknet" / "models" / "MobileNetV2-YOLO-Fastest-voc.weights"
    said = export(weights, "onnx", tmp_path / "fast.onnx")
    assert str(weights) in said[0]
    ours, theirs = (load_predictor(str(path), device="cpu") for path in (weights, tmp_path / "fast.onnx"))
    image = read_image(shared_data / "darknet" / "images" / "dog.jpg")
    (a,), (b,) = ours.detect([image]), theirs.detect([image])
    assert len(a) == len(b) > 0
    np.testing.assert_allclose(a[:, :4], b[:, :4], atol=0.1)
    np.testing.assert_allclose(a[:, 4], b[:, 4], atol=1e-3)
    session = ort.InferenceSession(str(tmp_path / "fast.onnx"), providers=["CPUExecutionProvider"])
    assert (
        session.get_modelmeta()
        .custom_metadata_map["input"]
        .endswith("[batch, 3, 320, 320], stretched, bilinear")
    )


def test_what_cannot_be_exported_is_said_in_one_line(
    exported: dict[str, tuple[Predictor, Path]], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="weights alone have no history to write as csv"):
        export(demo_weights(), "csv", tmp_path / "out")
    with pytest.raises(UserError, match="is an ONNX file already"):
        export(exported["demo"][1], "onnx", tmp_path / "again.onnx")
    with pytest.raises(UserError, match=r"gone\.weights"):
        export(tmp_path / "gone.weights", "onnx", tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


def test_any_batch_size(exported: dict[str, tuple[Predictor, Path]]) -> None:
    ours, path = exported["two heads"]
    for count in (1, 5):
        shapes = [each.shape for each in _run(path, torch.rand(count, 3, 64, 96))]
        assert shapes == [ours.detector.layout.pred_shape(count, head) for head in ours.detector.heads]


def test_the_file_alone_suffices_to_decode(exported: dict[str, tuple[Predictor, Path]]) -> None:
    """By hand, from its metadata, with nothing of this program: one slot's box and score."""
    ours, path = exported["two heads"]
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == ["red", "blue"]
    assert facts["decode"] == "yolov5"
    assert facts["order"] == "b (a c) y x"
    assert facts["score"] == "sigmoid(conf) * sigmoid"
    assert "RGB 0..1 [batch, 3, 64, 96], letterboxed" in facts["input"]
    channels = json.loads(facts["channels"])
    assert channels == ["x", "y", "w", "h", "conf", "class0", "class1"]
    anchors, strides = json.loads(facts["anchors"]), json.loads(facts["strides"])
    batch = torch.rand(1, 3, 64, 96)
    pred = session.run(None, {"images": batch.numpy()})[1]
    anchor, row, column = 1, 2, 3
    slot = dict(zip(channels, pred[0, anchor * 7 : anchor * 7 + 7, row, column], strict=True))
    sigmoid = {name: 1 / (1 + np.exp(-value)) for name, value in slot.items()}
    x = (column + 2 * sigmoid["x"] - 0.5) * strides[1] / 96
    w = anchors[1][anchor][0] * (2 * sigmoid["w"]) ** 2 * strides[1] / 96
    head = ours.detector.heads[1]
    box = ours.detector.decode_canonical(torch.from_numpy(pred), head)[0, row, column, anchor]
    assert box[0].item() == pytest.approx(x, abs=1e-5)
    assert box[2].item() == pytest.approx(w, abs=1e-5)


def test_eval_takes_it(tmp_path: Path) -> None:
    config = load_config(tiny_voc.write_config(tmp_path))
    anchors = (((2.0, 2.0), (4.0, 3.0)),)
    weights = fresh(tmp_path / "w.safetensors", config, ("red", "blue"), anchors)
    export_onnx(load_predictor(str(weights), device="cpu"), tmp_path / "w.onnx")
    ours = evaluate_split(config, str(weights)).scores.to_json()
    theirs = evaluate_split(config, str(tmp_path / "w.onnx")).scores.to_json()
    assert theirs["map50"] == pytest.approx(ours["map50"], abs=1e-6)
    assert theirs["objects"] == ours["objects"] > 0


def test_files_from_elsewhere_are_refused_in_one_line(
    exported: dict[str, tuple[Predictor, Path]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import onnx

    with pytest.raises(UserError, match="no such weights file"):
        load_predictor(str(tmp_path / "gone.onnx"))
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(UserError, match="is no ONNX file"):
        load_predictor(str(tmp_path / "text.onnx"))
    model = onnx.load(exported["demo"][1])
    facts = {each.key: each for each in model.metadata_props}
    facts["yolotui"].value = facts["yolotui"].value.replace('"width": ', '"wide": ')
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UserError, match="cannot build"):
        load_predictor(str(tmp_path / "other.onnx"))
    theirs = onnx.load(exported["two heads"][1])
    del model.metadata_props[:]
    model.metadata_props.extend(theirs.metadata_props)
    onnx.save(model, tmp_path / "mixed.onnx")
    with pytest.raises(UserError, match="do not fit its own description"):
        load_predictor(str(tmp_path / "mixed.onnx"))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(UserError, match="does not say how its outputs are to be read"):
        load_predictor(str(tmp_path / "bare.onnx"))
    assert capfd.readouterr() == ("", "")


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nets_onnx.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "x.onnx").touch()
    with pytest.raises(UserError, match=r"onnxruntime.*yolotui\[onnx\]"):
        load_predictor(str(tmp_path / "x.onnx"))
    with pytest.raises(UserError, match=r"needs onnx;.*yolotui\[onnx\]"):
        export_onnx(load_predictor(str(demo_weights())), tmp_path / "y.onnx")
