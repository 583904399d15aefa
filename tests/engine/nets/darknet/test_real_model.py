"""A network that Darknet trained, against what OpenCV makes of the same files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.boxes import pairwise_iou
from engine.data.images import read_image
from engine.predictor import Predictor, load_predictor

NAME = "MobileNetV2-YOLO-Fastest-voc"


@pytest.fixture(scope="module")
def darknet_data(shared_data: Path) -> Path:
    return shared_data / "darknet"


@pytest.fixture(scope="module")
def predictor(darknet_data: Path) -> Predictor:
    torch.set_num_threads(1)
    return load_predictor(str(darknet_data / "models" / f"{NAME}.weights"))


@torch.no_grad()
def test_raw_logits_are_opencvs(darknet_data: Path, predictor: Predictor) -> None:
    with np.load(darknet_data / "refs" / f"{NAME}.dog.npz") as refs:
        found = predictor.model(torch.from_numpy(refs["input"]))
        for pred, key in zip(found, ("permute_79", "permute_69"), strict=True):
            wanted = refs[key].reshape(pred.shape)  # x y w h conf class*
            wanted = np.concatenate((wanted[..., 4:5], wanted[..., :4], wanted[..., 5:]), -1)
            assert np.abs(pred.numpy() - wanted).max() < 1e-3


@torch.no_grad()
def test_boxes_and_scores_are_opencvs(darknet_data: Path, predictor: Predictor) -> None:
    """All 1500 slots of the dog: cx, cy, w, h, objectness, class scores (0 below OpenCV's threshold)."""
    with np.load(darknet_data / "refs" / f"{NAME}.dog.npz") as refs:
        found = predictor.model(torch.from_numpy(refs["input"]))
        for pred, head, key in zip(found, predictor.detector.heads, ("yolo_79", "yolo_69"), strict=True):
            boxes = predictor.detector.decode(pred, head).reshape(-1, 4)
            scores = (pred[..., :1].sigmoid() * pred[..., 5:].sigmoid()).reshape(-1, 20).numpy()
            wanted = refs[key]
            assert np.abs(boxes.numpy() - wanted[:, :4]).max() < 1e-3
            kept = wanted[:, 5:] > 0
            assert np.abs(scores - wanted[:, 5:])[kept].max(initial=0) < 1e-3


@pytest.mark.parametrize("name", ["bus.jpg", "dog.jpg", "horses.jpg", "person.jpg"])
def test_detections_are_opencvs(darknet_data: Path, predictor: Predictor, name: str) -> None:
    """From the picture itself to its boxes, as a user gets them; OpenCV's are not clipped."""
    wanted = json.loads((darknet_data / "refs/opencv_detections.json").read_text())["detections"][name]
    width, height = wanted["size"]
    (found,) = predictor.detect([read_image(darknet_data / "images" / name)], conf=0.25, iou=0.45)
    assert len(found) == len(wanted["detections"])
    for row, other in zip(found, sorted(wanted["detections"], key=lambda each: -each["score"]), strict=True):
        box = torch.tensor([other["xyxy"]]).clamp(min=0).minimum(torch.tensor([width, height] * 2))
        assert float(pairwise_iou(torch.from_numpy(row[None, :4]), box)) > 0.98
        assert int(row[5]) == other["class_id"]
        assert predictor.classes[int(row[5])] == other["cls"]
        assert float(row[4]) == pytest.approx(other["score"], abs=0.01)
