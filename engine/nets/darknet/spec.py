"""What a layer of each kind is: the numbers that its section gives, checked."""

from __future__ import annotations

from dataclasses import dataclass

ACTIVATIONS = (
    "linear", "leaky", "relu", "relu6", "logistic", "mish", "swish", "hard_mish", "tanh", "elu", "selu",
)  # fmt: skip


@dataclass(frozen=True)
class Convolution:
    filters: int
    inside: int
    size: int
    stride: tuple[int, int]
    """Down and across."""
    padding: int
    dilation: int
    groups: int
    normalised: bool
    activation: str
    flipped: bool

    @property
    def kernel_values(self) -> int:
        return self.filters * (self.inside // self.groups) * self.size**2

    @property
    def stored(self) -> int:
        """Values in a weights file: biases, where normalised scales, means and variances, the kernels."""
        return self.filters * (4 if self.normalised else 1) + self.kernel_values

    @property
    def parameters(self) -> int:
        """Those that are trained: without means and variances."""
        return self.filters * (2 if self.normalised else 1) + self.kernel_values


@dataclass(frozen=True)
class MaxPool:
    size: int
    stride: tuple[int, int]
    padding: int
    """Of both sides together."""


@dataclass(frozen=True)
class AveragePool:
    """Over the whole picture."""


@dataclass(frozen=True)
class Route:
    groups: int
    group: int


@dataclass(frozen=True)
class Shortcut:
    activation: str


@dataclass(frozen=True)
class Reorg:
    stride: int


@dataclass(frozen=True)
class Upsample:
    stride: int


@dataclass(frozen=True)
class Scale:
    """``scale_channels`` (a factor a channel) and ``sam`` (a factor a value): they times layer ``from``."""

    activation: str


@dataclass(frozen=True)
class Dropout:
    probability: float


@dataclass(frozen=True)
class Unchanged:
    """``empty``."""


@dataclass(frozen=True)
class Ending:
    """``softmax`` and ``cost`` behind a head, where only Darknet's own training looks at them."""


@dataclass(frozen=True)
class Detect:
    """``region`` or ``yolo``. ``anchors`` in grid units (region) or input pixels (yolo)."""

    kind: str
    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale_xy: float
    new_coords: bool


Spec = (
    Convolution
    | MaxPool
    | AveragePool
    | Route
    | Shortcut
    | Reorg
    | Upsample
    | Scale
    | Dropout
    | Unchanged
    | Ending
    | Detect
)
