"""The keys of a config: each is documented beside its owner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from ..layout import PRED, TARGET, DecodeName, Layout


def _as_path(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


PathString = Annotated[str, BeforeValidator(_as_path), Field(json_schema_extra={"path": True})]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class DataConfig(Section):
    """Where the images and labels are."""

    format: Literal["voc", "yolo", "coco", "demo"] = "voc"
    root: PathString = ""
    """The data set's folder (``demo``: where it is drawn; empty: the user's cache)."""
    train: str = "trainval"
    """VOC: a split's name, several joined by ``+``; YOLO: a key of data.yaml; COCO: a json in ``root``."""
    val: str = ""
    """As ``train``; empty: no validation and no AP."""
    classes: list[str] = []
    """Names in the order of their ids. YOLO and COCO may leave it empty and take the file's own."""
    first_pixel: Literal[0, 1] = 1
    """VOC: the index that the annotations give to the first pixel. 1 is VOC's own convention."""
    use_difficult: bool = False
    """VOC: whether ``difficult`` objects are trained on. They are never counted against a detector."""
    cache: Literal["auto", "ram", "none"] = "auto"
    """Images kept decoded in memory, no larger than the input needs; auto: where a quarter of the free memory
    holds them; ram: refused where they do not fit."""

    @field_validator("classes")
    @classmethod
    def _unique(cls, value: list[str]) -> list[str]:
        twice = {name for name in value if value.count(name) > 1}
        if twice:
            raise ValueError(f"{sorted(twice)[0]!r} stands twice")
        return value


Anchors = list[Annotated[list[Positive], Field(min_length=2, max_length=2)]]


class ModelConfig(Section):
    name: str = "yolov2"
    """A network of the registry: yolov2, compact, darknet."""
    cfg: PathString = ""
    """darknet: the .cfg file to build. What it says of input_size, anchors, strides, scale_xy, decode and
    loss holds where this file is silent. Empty: the cfg beside ``weights``."""
    input_size: int | Annotated[list[int], Field(min_length=2, max_length=2)] = 416
    """A number or [width, height], in pixels; multiples of the network's largest stride."""
    anchors: Anchors | list[Anchors] | Literal["kmeans"] = "kmeans"
    """[w, h] in grid units of their head (with several heads: a list a head), or "kmeans"."""
    anchor_count: Annotated[int, Field(ge=1, le=32)] = 5
    """Anchors a head, where ``anchors = "kmeans"``."""
    strides: list[int] = []
    """Heads of a network that offers a choice (compact: any of 8, 16, 32); empty: its own."""
    scale_xy: list[Annotated[float, Field(ge=1)]] = []
    """A number a head: the sigmoid of x and y is stretched by it about its middle, so that a centre can
    lie on its cell's border (YOLOv4; decode ``yolov2``); empty: 1."""
    width: Annotated[int, Field(ge=4, le=256)] = 24
    """Channels of the compact network's stem; its stages hold 2, 4 and 8 times as many."""
    resize: Literal["letterbox", "stretch"] = "letterbox"
    """How pictures come into the input. letterbox: at their shape, grey around. stretch: each side for
    itself, bilinear, as AlexeyAB's Darknet and OpenCV do; a Darknet network's cfg says which."""
    assign: Literal["best", "multi"] = "best"
    """best: cell of the centre, anchor of best w/h IoU (YOLOv2). multi: also the two nearest cells,
    and every anchor whose w/h ratio to the truth is below ``assign_ratio``; a detection's
    box is then the mean of the slots that agree on it."""
    assign_ratio: Annotated[float, Field(gt=1)] = 4.0
    weights: PathString = ""
    """A .safetensors file, Darknet's .weights or a run to start from; empty: random."""

    @field_validator("input_size")
    @classmethod
    def _sizes(cls, value: int | list[int]) -> int | list[int]:
        if min([value] if isinstance(value, int) else value) < 32:
            raise ValueError("an input side is at least 32 pixels")
        return value

    @property
    def stretched(self) -> bool:
        return self.resize == "stretch"

    @property
    def input_wh(self) -> tuple[int, int]:
        if isinstance(self.input_size, int):
            return self.input_size, self.input_size
        return self.input_size[0], self.input_size[1]


class TrainConfig(Section):
    epochs: Annotated[int, Field(ge=1)] = 160
    minutes: NotNegative = 0
    """A wish: turned into a number of steps once, from the measured speed; ``epochs`` is the most there are.
    0: ``epochs`` alone decides."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    lr: Positive = 1e-3
    warmup_epochs: NotNegative = 1.0
    warmup: Literal["linear", "power4"] = "linear"
    """power4 is Darknet's burn-in: lr * (step / warm-up steps) ^ 4."""
    schedule: Literal["constant", "cosine", "step"] = "constant"
    lr_end: Fraction = 0.02
    """cosine: the last rate, as a share of ``lr``."""
    milestones: list[Fraction] = [0.375, 0.5625]
    """step: the shares of the run at which the rate drops (YOLOv2's 60 and 90 of 160 epochs)."""
    gamma: Positive = 0.1
    """step: the factor of each drop."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: Fraction = 0.9
    """sgd: momentum; adamw: beta1."""
    beta2: Fraction = 0.999
    weight_decay: NotNegative = 5e-4
    """On weights of convolutions only, as in Darknet: never on norms and biases."""
    clip: NotNegative = 0
    """Largest gradient norm; 0: no clipping. The norm is kept either way."""
    ema: Fraction = 0
    """Decay of the averaged weights, ramped up from 0; 0: none."""
    ema_share: Annotated[float, Field(ge=0, lt=1)] = 0
    """In the place of ``ema``: the share of the run's steps that the average reaches back over, however many
    ``minutes`` makes of them."""
    seed: int = 0
    workers: Annotated[int, Field(ge=-1)] = -1
    """Processes that load images; -1: none on the CPU, up to 8 beside a GPU."""
    batch_norm: Literal["sync", "local"] = "sync"
    """Several GPUs: whether batch norm takes its statistics over all of them or each over its own images. On
    the CPU always each over its own."""
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 on a GPU or CPU with units for it, else fp16 on a GPU and fp32 on the CPU."""
    eval_every: Annotated[int, Field(ge=0)] = 1
    """Epochs between validations; the last epoch is always validated. 0: only the last."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Validations in a row without a better mAP50-95 on ``data.val`` after which the run ends; 0: never."""
    log_seconds: Positive = 10.0
    """Headless: the interval between two lines."""

    @model_validator(mode="after")
    def _one_average(self) -> TrainConfig:
        if self.ema and self.ema_share:
            raise ValueError("ema and ema_share say the same in two ways: keep one")
        return self


class AugmentConfig(Section):
    """Random changes of training images, each drawn anew from (seed, epoch, image)."""

    flip_x: Fraction = 0.0
    """Share of images mirrored left to right."""
    flip_y: Fraction = 0.0
    transpose: Fraction = 0.0
    """Share of images whose rows become columns: for pictures without an up (microscopes, from the air). With
    both flips at 0.5, all eight ways to lay a picture."""
    scale: NotNegative = 0.0
    """Zoom by e^u, u uniform in -scale..scale."""
    translate: Fraction = 0.0
    """Shift by up to this share of each side."""
    hue: Fraction = 0.0
    """Turn of the colours by up to this share of their circle."""
    saturation: NotNegative = 0.0
    """Factor on the distance from grey, between 1 / (1 + s) and 1 + s."""
    exposure: NotNegative = 0.0
    """Factor between 1 / (1 + e) and 1 + e."""
    gain: NotNegative = 0.0
    """Factor a colour channel, up to +-gain."""
    brightness: NotNegative = 0.0
    """One factor for the image, up to +-brightness."""
    mosaic: Fraction = 0.0
    """Share of images made of crops of four, at the objects' own scale."""
    multi_scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Every 10 batches another input size, from 1 - m to 1 + m times the declared one, in multiples of the
    coarsest head's stride; 0: none. YOLOv2: about 0.25."""
    mosaic_off: Fraction = 0.15
    """The last share of the run that goes without mosaic, and at the declared size."""
    min_visible: Fraction = 0.25
    """A box cut to less than this share of its area is dropped."""


class LayoutConfig(Section):
    order: str = "b y x a c"
    pred: list[str] = list(PRED)
    target: list[str] = list(TARGET)
    target_xy: Literal["image", "grid", "cell"] = "image"
    target_wh: Literal["image", "grid", "log-anchor"] = "image"
    decode: DecodeName = "yolov2"

    @model_validator(mode="after")
    def _makes_a_layout(self) -> LayoutConfig:
        self.build()
        return self

    def build(self) -> Layout:
        return Layout(
            self.order, tuple(self.pred), tuple(self.target), self.target_xy, self.target_wh, self.decode
        )


Term = Literal["lcls", "lbox", "lobj", "liou"]


class LossConfig(Section):
    """The loss profile: what the terms are made of. DESIGN's contract for ``check`` too."""

    objectness: Literal["iou", "one"] = "iou"
    """What conf is trained towards on positives: the live IoU or 1."""
    confidence: Literal["mse", "bce"] = "mse"
    box: Literal["mse", "smooth-l1", "iou", "giou", "diou", "ciou"] = "mse"
    classes: Literal["softmax", "bce"] = "softmax"
    reduction: Literal["batch", "positives", "mean"] = "batch"
    """sum / batch size | sum / positives | mean."""
    ignore_iou: Fraction = 0.6
    """Negatives above this IoU with any truth give no loss; 0 switches it off."""
    prior_pull: Annotated[int, Field(ge=0)] = 0
    """Boxes are pulled to their priors while fewer images than this were seen (YOLOv2: 12800)."""
    total: list[Term] = ["lcls", "lbox", "lobj"]
    box_scale: NotNegative = 1.0
    object_scale: NotNegative = 5.0
    noobject_scale: NotNegative = 1.0
    class_scale: NotNegative = 1.0

    @field_validator("total")
    @classmethod
    def _some_terms(cls, value: list[str]) -> list[str]:
        if not value or len(set(value)) != len(value):
            raise ValueError("names at least one term, each once")
        return value


class CaptureConfig(Section):
    """Whole head tensors of steps, for the inspector: a ring in memory, snapshots on disk."""

    ring_mb: Positive = 256
    """Memory for the ring, in MiB: the oldest steps give way."""
    ring_steps: Annotated[int, Field(ge=1)] = 64
    every: Annotated[int, Field(ge=0)] = 0
    """Steps between two that enter the ring; 0: none, until the inspector is open."""
    snapshot_every: Annotated[int, Field(ge=0)] = 0
    """Steps between two snapshots on disk; 0: none on a schedule. The run's last step becomes one always."""
    spike: NotNegative = 8
    """A term this many times its recent median is kept as a snapshot, once an epoch; 0: never."""


class CodeConfig(Section):
    file: PathString = ""
    """A Python file whose functions replace the reference's."""


class Config(Section):
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    augment: AugmentConfig = AugmentConfig()
    layout: LayoutConfig = LayoutConfig()
    loss: LossConfig = LossConfig()
    capture: CaptureConfig = CaptureConfig()
    code: CodeConfig = CodeConfig()

    @model_validator(mode="before")
    @classmethod
    def _ask_the_cfg(cls, values: Any) -> Any:
        """What a Darknet cfg says stands in the place of our defaults."""
        model = values.get("model") if isinstance(values, dict) else None
        if isinstance(model, dict) and model.get("name") == "darknet":
            from ..nets.darknet.settings import with_settings

            return with_settings(values)
        return values
