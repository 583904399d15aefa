"""A network as an ONNX file that tells by itself how its outputs are to be read.

Input ``images``: float RGB ``[batch, 3, height, width]`` in 0..1, letterboxed or stretched. Outputs
``pred`` or ``pred0 pred1 ...``, finest grid first: the declared prediction tensors, as ``pred`` of the
Python functions. Decoding and NMS stay outside, where thresholds and the user's own functions are; what they
need (classes, anchors, layout, decode, input size) stands in the file's metadata.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..files import write_atomically
from ..nets.onnx import BLUEPRINT, IMAGES, MODULES, is_onnx, need_extra
from ..predictor import Predictor, load_predictor
from ..yolo.detect import AGREES

LARGEST = 2**31 - 1
"""Bytes: ONNX files are protobuf messages, which cannot be larger."""


def write_onnx(source: Path, out: Path, code: Path | None) -> list[str]:
    """Of a file of weights, or of a run: its ``best`` where it validated, else ``last``; -> what was written,
    a line each.

    ``code``: the user's file, where it holds ``build_model``. Raises ``UserError``.
    """
    if is_onnx(source):
        raise UserError("is an ONNX file already", where=source, fix="name a run or a file of its weights")
    predictor = load_predictor(str(source), code, device="cpu")
    export_onnx(predictor, out)
    width, height = predictor.blueprint.input_wh
    size = out.stat().st_size / 1e6
    outputs = ", ".join(
        f"{name} {_shape(predictor, index)}" for index, name in enumerate(output_names(predictor))
    )
    return [
        f"{out}  {size:.1f} MB, from {predictor.source}",
        f"in   {IMAGES} [batch, 3, {height}, {width}] float, RGB in 0..1",
        f"out  {outputs}",
        *predictor.notes,
    ]


def export_onnx(predictor: Predictor, out: Path) -> None:
    """Whole or not at all, any batch size. Raises ``UserError``."""
    need_extra(*MODULES)
    width, height = predictor.blueprint.input_wh
    names = output_names(predictor)
    # two images: of one the exporter would take the batch for a constant
    example = torch.zeros(2, 3, height, width)
    model = _Plain(predictor.model).eval()
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                input_names=[IMAGES],
                output_names=names,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        first = str(error.__cause__ or error).strip().splitlines()
        raise UserError(
            f"cannot be exported: {first[0] if first else type(error).__name__}",
            where=predictor.source,
            fix="is there Python control flow over tensors in build_model?",
        ) from None
    assert program is not None
    program.model.metadata_props.update(description(predictor))
    program.model.producer_name = "yolotui"
    data = program.model_proto.SerializeToString()
    if len(data) > LARGEST:
        raise UserError("is too large for an ONNX file (2 GB)", where=predictor.source)
    try:
        write_atomically(out, lambda temporary: temporary.write_bytes(data))
    except OSError as error:
        raise UserError(
            f"cannot be written: {error.strerror or error}", where=out, fix="name another --out"
        ) from None


def output_names(predictor: Predictor) -> list[str]:
    count = len(predictor.detector.heads)
    return ["pred"] if count == 1 else [f"pred{k}" for k in range(count)]


def description(predictor: Predictor) -> dict[str, str]:
    """The file's metadata: ``yolotui`` is read back by this program, the rest says it for everybody else."""
    blueprint = predictor.blueprint
    heads = predictor.detector.heads
    width, height = blueprint.input_wh
    placed = "stretched, bilinear" if blueprint.stretched else "letterboxed: centred, grey 114"
    means = f"; then the mean, by score, of those that overlap by {AGREES}" if blueprint.fused else ""
    facts: dict[str, Any] = {
        BLUEPRINT: blueprint.to_json(),
        "classes": list(blueprint.classes),
        "input": f"float32 RGB 0..1 [batch, 3, {height}, {width}], {placed}",
        "strides": [head.stride for head in heads],
        "anchors": [[list(anchor) for anchor in head] for head in blueprint.anchors],
        "anchors_unit": "grid cells, width and height",
        "order": blueprint.layout.order,
        "channels": predictor.detector.layout.pred_names(len(blueprint.classes)),
        "decode": blueprint.layout.decode,
        "scale_xy": [head.scale_xy for head in heads],
        "score": "sigmoid(conf) * " + ("softmax" if blueprint.loss.classes == "softmax" else "sigmoid"),
        "nms": f"outside, per class{means}",
    }
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in facts.items()
    }


class _Plain(nn.Module):
    """Predictions as a tuple of contiguous tensors, whatever container they come in."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        preds = self.model(images)
        return (preds,) if isinstance(preds, Tensor) else tuple(preds)


def _shape(predictor: Predictor, index: int) -> str:
    head = predictor.detector.heads[index]
    declared = predictor.detector.layout.pred_shape(1, head)
    return f"{list(declared)}".replace("[1,", "[batch,", 1)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """What the exporter says of itself and its own parts is nothing that a user could mend."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = log.level
    log.setLevel(logging.ERROR)  # "torchvision is not installed. Skipping ..."
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)
            yield
    finally:
        log.setLevel(level)
