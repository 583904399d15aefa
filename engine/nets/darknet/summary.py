"""A network's layers as Darknet prints them when it loads a cfg.

BFLOPs by AlexeyAB's Darknet: 2 a multiplication and addition of a convolution, 1 a value looked at by a
maxpool, 1 a value and source of a shortcut; the other layers count nothing. (pjreddie's Darknet prints
the convolutions alone, and no sum.)
"""

from __future__ import annotations

from typing import Any

from .plan import Layer, Plan, Shape
from .spec import AveragePool, Convolution, Detect, MaxPool, Reorg, Route, Shortcut, Upsample

TITLE = "   # layer    filters    size/step              input                output"
NAMES = {"convolutional": "conv", "maxpool": "max", "avgpool": "avg", "scale_channels": "scale"}


def bflops(layer: Layer) -> float:
    """Billions of floating-point operations for one image."""
    channels, height, width = layer.outside
    match layer.spec:
        case Convolution() as spec:
            return 2e-9 * spec.kernel_values * height * width
        case MaxPool(size):
            return 1e-9 * size * size * channels * height * width
        case Shortcut():
            return 1e-9 * channels * height * width * (len(layer.reads) - 1)
    return 0.0


def total_bflops(plan: Plan) -> float:
    return sum(bflops(layer) for layer in plan.layers)


def summary(plan: Plan) -> str:
    """One line: ``107 layers, 61,949,149 parameters, 65.879 BFLOPs at 416 x 416``."""
    _, height, width = plan.image
    return (
        f"{len(plan.layers)} layers, {plan.parameters:,} parameters, "
        f"{total_bflops(plan):.3f} BFLOPs at {width} x {height}"
    )


def layer_lines(plan: Plan) -> list[str]:
    """Title, a line a layer, and the sum."""
    return [TITLE, *(_line(layer) for layer in plan.layers), f"Total BFLOPS {total_bflops(plan):.3f}"]


def as_json(plan: Plan) -> dict[str, Any]:
    """The same as a document; shapes as ``[channels, height, width]``."""
    return {
        "layers": [
            {
                "layer": layer.index,
                "type": layer.section.name,
                "line": layer.section.line,
                "input": list(layer.inside),
                "output": list(layer.outside),
                "values": layer.stored,
                "bflops": bflops(layer),
            }
            for layer in plan.layers
        ],
        "parameters": plan.parameters,
        "values": plan.stored,
        "bflops": total_bflops(plan),
    }


def _line(layer: Layer) -> str:
    name = NAMES.get(layer.section.name, layer.section.name)
    middle, inside = "", f"{_sides(layer.inside)} ->"
    match layer.spec:
        case Convolution() as spec:
            filters = f"{spec.filters:5}" + (f"/{spec.groups:4}" if spec.groups > 1 else "")
            middle = f"{filters:<11}{_window(spec.size, spec.stride)}"
            middle += f"({spec.dilation})" if spec.dilation > 1 else ""
        case MaxPool(size, stride):
            middle = f"{'':11}{_window(size, stride)}"
        case Reorg(stride) | Upsample(stride):
            middle = f"{'':11}{stride:2}x"
        case Route(groups, group):
            middle = " ".join(str(k) for k in layer.reads) + (f"   {group}/{groups}" if groups > 1 else "")
            inside = f"{'':19}->"
        case Shortcut():
            middle = " ".join(str(k) for k in layer.reads[1:])
            inside = f"{'':19}->"
        case Detect(_, anchors, classes):
            middle = f"{len(anchors)} anchors, {classes} classes"
        case AveragePool():
            pass
    count = bflops(layer)
    cost = f" {count:5.3f} BF" if count else ""
    return f"{layer.index:4} {name:<8} {middle:<22} {inside} {_sides(layer.outside)}{cost}"


def _window(size: int, stride: tuple[int, int]) -> str:
    down, across = stride
    return f"{size:2} x{size:2}/{across:2}" + (f"x{down:2}" if down != across else "")


def _sides(shape: Shape) -> str:
    channels, height, width = shape
    return f"{width:4} x{height:4} x{channels:4}"
