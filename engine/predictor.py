"""A trained network in use: weights to detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .blueprint import Blueprint, declared_anchors
from .config import Config, config_from
from .data.letterbox import letterbox
from .data.sample import Image
from .device import Compute, choose_compute
from .errors import UserError
from .nets.darknet.beside import class_names, is_darknets, names_refused, need_cfg
from .nets.darknet.cfg import read_cfg
from .nets.darknet.heads import class_count
from .nets.darknet.plan import make_plan
from .nets.onnx import OnnxNetwork, is_onnx
from .nets.weights import load_exactly, read_description
from .runs.folder import RunFolder
from .yolo.detect import MOST, clipped, undo_letterbox
from .yolo.detector import Detector, Pred
from .yolo.plugin import UserFunctions, blaming, load_functions
from .yolo.views import PLAIN, View, merged, views_of

DETECT_CONF, DETECT_IOU = 0.25, 0.45


@dataclass(frozen=True)
class Predictor:
    """A network with its detector's functions on a device."""

    model: nn.Module
    detector: Detector
    blueprint: Blueprint
    compute: Compute
    source: str
    """Where the weights came from, for a line on the screen."""
    views: tuple[View, ...] = PLAIN
    """How each picture is laid; more than one: test-time augmentation."""
    notes: tuple[str, ...] = ()
    """What the user should know of how it was read, a line each."""
    strict: bool = False
    """Whether predictions that are not finite are an error; a training that diverges is judged by others."""

    @property
    def classes(self) -> tuple[str, ...]:
        return self.blueprint.classes

    def detect(
        self, images: Sequence[Image], conf: float = DETECT_CONF, iou: float = DETECT_IOU
    ) -> list[NDArray[np.float32]]:
        """BGR images of any size -> an ``[M, 6]`` each: x1, y1, x2, y2 in pixels, score, class."""
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        return self.detect_prepared([self.prepare(image) for image in images], sizes, conf, iou)

    def prepare(self, image: Image) -> Image:
        """A BGR image of any size -> the network's input, RGB uint8 ``[H, W, 3]``."""
        boxed, _ = letterbox(image, self.blueprint.input_wh, self.blueprint.stretched)
        return cv2.cvtColor(boxed, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]

    def detect_prepared(
        self, inputs: Sequence[Image], sizes: Sequence[tuple[int, int]], conf: float, iou: float
    ) -> list[NDArray[np.float32]]:
        """As ``detect``, of what ``prepare`` made; ``sizes``: the originals' (height, width)."""
        # channels last in memory as they come from OpenCV: the network's own format on every device
        batch = torch.from_numpy(np.stack(inputs)).permute(0, 3, 1, 2)
        found = self.detect_inputs(batch, sizes, conf, iou, one_class=True)
        return [each.float().cpu().numpy() for each in found]

    @torch.no_grad()
    def detect_inputs(
        self,
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        conf: float,
        iou: float,
        one_class: bool = False,
    ) -> list[Tensor]:
        """uint8 RGB inputs ``[B, 3, H, W]``, already letterboxed, and the originals' (height, width).

        ``one_class``: of each slot its strongest alone, for eyes; a score wants them all. Raises
        ``UserError`` where a function of the user's raises."""
        with blaming(self.detector.user):
            return self._detect_inputs(images, sizes, conf, iou, one_class)

    def _detect_inputs(
        self, images: Tensor, sizes: Sequence[tuple[int, int]], conf: float, iou: float, one_class: bool
    ) -> list[Tensor]:
        images = images.to(self.compute.device)
        if len(self.views) == 1:
            return self._found(self.detector, images, sizes, conf, iou, one_class)
        found = [self._looked(view, images, conf / len(self.views), iou, one_class) for view in self.views]
        merge = partial(merged, iou=iou, conf=conf, most=MOST)
        return [
            _on_original(merge(looks), self.detector, size)
            for looks, size in zip(zip(*found, strict=True), sizes, strict=True)
        ]

    def _found(
        self,
        detector: Detector,
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        conf: float,
        iou: float,
        one_class: bool,
    ) -> list[Tensor]:
        pred, fused = self._predict(images), self.blueprint.fused
        return detector.detect(pred, sizes, conf=conf, iou=iou, fused=fused, one_class=one_class)

    def _predict(self, images: Tensor) -> Pred:
        inputs = images.contiguous(memory_format=self.compute.memory_format)
        with self.compute.autocasting():
            pred: Pred = self.model(inputs.float().div_(255))
        if self.strict and not all(bool(each.isfinite().all()) for each in self.detector.as_list(pred)):
            raise UserError(
                "its network predicts NaN or infinity",
                where=self.source,
                fix="its training diverged, or the weights are damaged",
            )
        return pred

    def _looked(self, view: View, images: Tensor, conf: float, iou: float, one_class: bool) -> list[Tensor]:
        """What is found from one view, in pixels of the input as it came."""
        width, height = self.blueprint.input_wh
        across, down = view.size((width, height))
        # as if the input were the picture: only so does a mirrored letterbox lie exactly where it was
        detector, sizes = self.detector.at((across, down)), [(down, across)] * len(images)
        rows = self._found(detector, view.of(images), sizes, conf, iou, one_class)
        return [torch.cat((view.back(each[:, :4], width, height), each[:, 4:]), dim=1) for each in rows]

    def looking_all_ways(self) -> Predictor:
        """With test-time augmentation: every way to lay a picture that the training has drawn. Raises
        ``UserError`` where that is only one."""
        blueprint = self.blueprint
        names = [name for name in blueprint.symmetries if name != "transpose" or self._can_transpose()]
        if not names and "transform" in blueprint.own:
            raise UserError(
                f"its training pictures were drawn by transform of {blueprint.code}: nobody knows how",
                where=f"--tta {self.source}",
                fix="leave out --tta",
            )
        if not names:
            raise UserError(
                "names no flip_x, flip_y or transpose that its training pictures were drawn with",
                where=f"--tta {self.source}",
                fix="leave out --tta, or train with [augment] flip_x",
            )
        return replace(self, views=views_of(names))

    def _can_transpose(self) -> bool:
        """An input as high as it is wide, or a network of ours, which takes one of any shape."""
        width, height = self.blueprint.input_wh
        fixed = isinstance(self.model, OnnxNetwork) or self.detector.user.get("build_model") is not None
        return width == height or not fixed


def _on_original(rows: Tensor, detector: Detector, size: tuple[int, int]) -> Tensor:
    """Rows in pixels of the input -> of the original picture of ``size`` (height, width)."""
    head = detector.heads[0]
    scale = rows.new_tensor([head.input_w, head.input_h] * 2)
    boxes = undo_letterbox(rows[:, :4] / scale, head, size, detector.stretch)
    return clipped(torch.cat((boxes, rows[:, 4:]), dim=1), size)


def load_predictor(
    weights: str | None, code: Path | None = None, device: str = "auto", config: Config | None = None
) -> Predictor:
    """From a run, a weights file, or (None) the newest run below ``runs/``, else the bundled demo weights.

    Darknet's weights do not say what network they belong to: ``config`` does, if it is of Darknet's, else
    the cfg beside them. Raises ``UserError`` where there are none, or they do not fit.
    """
    path = find_weights(weights)
    if is_onnx(path):
        return _onnx_predictor(path, code, device)
    notes: tuple[str, ...] = ()
    if is_darknets(path):
        blueprint, notes = _darknets_blueprint(path, config)
    else:
        blueprint = Blueprint.from_json(read_description(path), path)
    user = load_functions(code or "")
    compute = choose_compute(device).for_scores()
    if "build_model" in blueprint.own and user.get("build_model") is None:
        raise UserError(
            f"its network was built by build_model of {blueprint.code}",
            where=path,
            fix="give that file with --code",
        )
    model = blueprint.network(user)
    load_exactly(model, path)
    predictor = make_predictor(model, blueprint, user, compute, str(path))
    return replace(predictor, notes=(*notes, *_without(blueprint, user, path)), strict=True)


def _without(blueprint: Blueprint, user: UserFunctions, path: Path) -> list[str]:
    """What is said where the functions that a network was trained for are not those that read it."""
    missing = [name for name in ("decode", "detect") if name in blueprint.own and user.get(name) is None]
    if not missing:
        return []
    theirs = f"{' and '.join(missing)} of {blueprint.code}"
    return [f"{path}: trained with {theirs}, and the reference's used now: give that file with --code"]


def _onnx_predictor(path: Path, code: Path | None, device: str) -> Predictor:
    """The file is the network: of the user's functions, those that come after it are taken."""
    model = OnnxNetwork(path)
    blueprint = Blueprint.from_json(model.description, path)
    layout = blueprint.layout.build()
    sizes = [tuple(n for n in layout.pred_shape(-1, head) if n != -1) for head in blueprint.heads()]
    model.expect(sizes, blueprint.input_wh, path)
    compute = choose_compute("cpu" if device == "auto" else device, "fp32")
    user = load_functions(code or "")
    predictor = make_predictor(model, blueprint, user, compute, str(path))
    return replace(predictor, notes=tuple(_without(blueprint, user, path)), strict=True)


def _darknets_blueprint(path: Path, config: Config | None) -> tuple[Blueprint, tuple[str, ...]]:
    """And what is to be said of its class names."""
    given = config if config is not None and config.model.name == "darknet" else None
    config = given or config_from({"model": {"name": "darknet", "cfg": str(need_cfg(path))}}, path)
    anchors = declared_anchors(config.model)
    if anchors is None:
        raise UserError(
            "are to be fitted, and Darknet's weights do not keep them", where="model.anchors", fix="name them"
        )
    count = class_count(make_plan(read_cfg(Path(config.model.cfg))))
    refused = "" if given and given.data.classes else names_refused(path, count)
    blueprint = Blueprint.of(config, tuple(config.data.classes or class_names(path, count)), anchors)
    return blueprint, (refused,) if refused else ()


def make_predictor(
    model: nn.Module, blueprint: Blueprint, user: UserFunctions, compute: Compute, source: str = ""
) -> Predictor:
    model = model.to(compute.device, memory_format=compute.memory_format).eval()  # type: ignore[call-overload]
    return Predictor(model, blueprint.detector(user).to(compute.device), blueprint, compute, source)


def find_weights(weights: str | None) -> Path:
    """The weights file that a RUN or FILE means; see ``load_predictor``."""
    if weights is None:
        from .runs.store import newest  # SQLite and all that reads a run: not for weights that are named

        run = newest("runs", with_weights=True)
        if run is not None and run.weights is not None:
            return run.weights
        return demo_weights()
    path = Path(weights).expanduser()
    if path.is_dir():
        run = RunFolder.open(path)
        if run.weights is None:
            raise UserError("has no weights", where=path, fix="it needs a checkpoint: wait, or resume it")
        return run.weights
    return path


def demo_weights() -> Path:
    """The weights that come with the program, trained by configs/demo.toml."""
    here = Path(__file__).resolve().parent
    for folder in (here / "assets", here.parent / "assets"):
        if (folder / "demo.safetensors").is_file():
            return folder / "demo.safetensors"
    raise UserError("there is no run below runs/ and no demo weights", fix="train one, or give --weights")
