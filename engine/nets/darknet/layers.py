"""Darknet's layers as modules. Each takes the outputs that its plan ``reads``, in that order."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import spec as specs
from .activations import activation
from .plan import Layer, Shape

EPSILON = 1e-6
"""Added to a variance. Darknet's forks differ (1e-6 to the root of it, 1e-5 to itself); this is OpenCV's,
and between them it matters only where a channel has died out."""


class Convolution(nn.Module):
    """Convolution, then batch norm or a bias, then the activation."""

    def __init__(self, spec: specs.Convolution) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            spec.inside,
            spec.filters,
            spec.size,
            spec.stride,
            spec.padding * spec.dilation,
            spec.dilation,
            spec.groups,
            bias=not spec.normalised,
        )
        self.norm = nn.BatchNorm2d(spec.filters, eps=EPSILON) if spec.normalised else None
        self.activation = activation(spec.activation)
        nn.init.kaiming_normal_(self.conv.weight)  # as Darknet begins: variance 2 / fan-in
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, features: Tensor) -> Tensor:
        features = self.conv(features)
        if self.norm is not None:
            features = self.norm(features)
        out: Tensor = self.activation(features)
        return out


class MaxPool(nn.Module):
    """``padding`` values of minus infinity in all, the smaller half left and above.

    So 2 x 2 at stride 1 looks right and down and keeps the size.
    """

    def __init__(self, spec: specs.MaxPool, inside: Shape, outside: Shape) -> None:
        super().__init__()
        self.size, self.stride = spec.size, spec.stride
        before = spec.padding // 2
        reach = [(out - 1) * step + spec.size for out, step in zip(outside[1:], spec.stride, strict=True)]
        below, right = (max(0, far - before - side) for far, side in zip(reach, inside[1:], strict=True))
        self.margin = (before, right, before, below)
        # torch pads both sides alike, and by half a window at most
        self.even = before == right == below and 2 * before <= spec.size

    def forward(self, features: Tensor) -> Tensor:
        if self.even:
            return F.max_pool2d(features, self.size, self.stride, self.margin[0])
        padded = F.pad(features, self.margin, value=-torch.inf)
        return F.max_pool2d(padded, self.size, self.stride)


class AveragePool(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3), keepdim=True)


class Route(nn.Module):
    """The layers named, one behind the other; with ``groups``, that part of each layer's channels."""

    def __init__(self, spec: specs.Route) -> None:
        super().__init__()
        self.groups, self.group = spec.groups, spec.group

    def forward(self, *features: Tensor) -> Tensor:
        parts = [each.chunk(self.groups, 1)[self.group] for each in features] if self.groups > 1 else features
        return parts[0] if len(parts) == 1 else torch.cat(tuple(parts), 1)


class Shortcut(nn.Module):
    """The layer before plus others, of which only the channels that both have are added.

    A larger picture is sampled every so many values, a smaller one added to every so many.
    """

    def __init__(self, spec: specs.Shortcut) -> None:
        super().__init__()
        self.activation = activation(spec.activation)

    def forward(self, own: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            own = self._add(own, other)
        # a fresh tensor always: an activation may work in place
        out: Tensor = self.activation(own)
        return out

    @staticmethod
    def _add(own: Tensor, other: Tensor) -> Tensor:
        if own.shape == other.shape:
            return own + other
        stride = max(1, other.shape[2] // own.shape[2])
        sample = max(1, own.shape[2] // other.shape[2])
        common = min(own.shape[1], other.shape[1])
        out = own.clone()
        out[:, :common, ::sample, ::sample] += other[:, :common, ::stride, ::stride]
        return out


class Reorg(nn.Module):
    """Space to channels in Darknet's own order.

    Darknet reads ``[C, H, W]`` as if it were ``[C / s^2, H s, W s]``, moves each s x s block of that into
    channels, and reads the ``[C, H, W]`` that comes of it as ``[C s^2, H / s, W / s]``.
    """

    def __init__(self, spec: specs.Reorg) -> None:
        super().__init__()
        self.stride = spec.stride

    def forward(self, features: Tensor) -> Tensor:
        batch, channels, height, width = features.shape
        s = self.stride
        blocks = features.reshape(batch, channels // s**2, height, s, width, s)
        moved = blocks.permute(0, 3, 5, 1, 2, 4)
        return moved.reshape(batch, channels * s**2, height // s, width // s)


class Upsample(nn.Module):
    def __init__(self, spec: specs.Upsample) -> None:
        super().__init__()
        self.stride = float(spec.stride)

    def forward(self, features: Tensor) -> Tensor:
        return F.interpolate(features, scale_factor=self.stride, mode="nearest")


class Scale(nn.Module):
    def __init__(self, spec: specs.Scale) -> None:
        super().__init__()
        self.activation = activation(spec.activation)

    def forward(self, factors: Tensor, features: Tensor) -> Tensor:
        out: Tensor = self.activation(features * factors)
        return out


class Detect(nn.Module):
    """Darknet's ``[B, A (x y w h conf class*), H, W]`` -> canonical ``[B, H, W, A, 5 + C]``, conf first."""

    def __init__(self, spec: specs.Detect) -> None:
        super().__init__()
        self.anchors, self.channels = len(spec.anchors), 5 + spec.classes

    def forward(self, features: Tensor) -> Tensor:
        out = features.permute(0, 2, 3, 1)
        out = out.reshape(*out.shape[:3], self.anchors, self.channels)
        return torch.cat((out[..., 4:5], out[..., :4], out[..., 5:]), -1)


def make_layer(layer: Layer) -> nn.Module:
    match layer.spec:
        case specs.Convolution() as spec:
            return Convolution(spec)
        case specs.MaxPool() as spec:
            return MaxPool(spec, layer.inside, layer.outside)
        case specs.AveragePool():
            return AveragePool()
        case specs.Route() as spec:
            return Route(spec)
        case specs.Shortcut() as spec:
            return Shortcut(spec)
        case specs.Reorg() as spec:
            return Reorg(spec)
        case specs.Upsample() as spec:
            return Upsample(spec)
        case specs.Scale() as spec:
            return Scale(spec)
        case specs.Dropout(probability):
            return nn.Dropout(probability)
        case specs.Detect() as spec:
            return Detect(spec)
        case specs.Unchanged() | specs.Ending():
            return nn.Identity()
