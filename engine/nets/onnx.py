"""An ONNX file as a network: run by onnxruntime, read by what its metadata says."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError

SUFFIX = ".onnx"
RUNTIME, MODULES = "onnxruntime", ("onnx", "onnxscript")
"""What running a file needs, and what writing one needs."""
IMAGES = "images"
"""The input's name."""
BLUEPRINT = "yolotui"
"""The metadata's key of the network's description, as in our weights files."""


def is_onnx(path: Path) -> bool:
    return path.suffix.lower() == SUFFIX


def need_extra(*modules: str) -> None:
    """Raises ``UserError`` saying what to install where one of them is not there."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise UserError(f"ONNX needs {module}", fix="pip install 'yolotui[onnx]'")


class OnnxNetwork(nn.Module):
    """Images ``[B, 3, H, W]`` in 0..1 -> the declared prediction, a list of them with several heads.

    On a GPU where onnxruntime's own build can, else on the CPU. Raises ``UserError`` for a file that is no
    ONNX, or none of ours.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        need_extra(RUNTIME)
        import onnxruntime as ort

        if not path.is_file():
            raise UserError("no such weights file", where=path, fix="name an .onnx file")
        options = ort.SessionOptions()
        options.log_severity_level = 4  # it would write to stderr what is said here in one line
        options.intra_op_num_threads = torch.get_num_threads()
        providers = [
            each
            for each in ("CUDAExecutionProvider", "CPUExecutionProvider")
            if each in ort.get_available_providers()
        ]
        try:
            self.session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # a class of its own for every way to fail, all from C++
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"is no ONNX file that can be run ({first})", where=path) from None
        self.description = _description(self.session, path)
        self.outputs = [output.name for output in self.session.get_outputs()]

    def expect(self, batchless: Sequence[tuple[int, ...]], input_wh: tuple[int, int], path: Path) -> None:
        """Raises ``UserError`` where inputs or outputs are not what the description promises.

        ``batchless``: each head's declared shape without its batch.
        """
        width, height = input_wh
        inputs = [(each.name, tuple(each.shape[1:])) for each in self.session.get_inputs()]
        outputs = [_whole(each.shape) for each in self.session.get_outputs()]
        if inputs != [(IMAGES, (3, height, width))] or outputs != list(batchless):
            raise UserError(
                "has inputs or outputs that do not fit its own description",
                where=path,
                fix="export it anew with: yolotui export RUN --format onnx",
            )

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        arrays = self.session.run(self.outputs, {IMAGES: images.float().contiguous().cpu().numpy()})
        preds = [torch.from_numpy(array).to(images.device) for array in arrays]
        return preds[0] if len(preds) == 1 else preds


def _whole(shape: Sequence[object]) -> tuple[int, ...]:
    """The sizes that are fixed: the batch is not."""
    return tuple(size for size in shape if isinstance(size, int))


def _description(session: Any, path: Path) -> dict[str, Any]:
    metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
    try:
        description = json.loads(metadata[BLUEPRINT])
    except (KeyError, ValueError):
        description = None
    if not isinstance(description, dict):
        raise UserError(
            "does not say how its outputs are to be read",
            where=path,
            fix="use one that `yolotui export RUN --format onnx` wrote",
        )
    return description
