"""A cfg with its shapes worked out: what each layer is, reads and gives, without a tensor.

Everything that follows (the network, the reading of weights, the summary) is made from a ``Plan``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ...errors import UserError
from .cfg import Cfg, Section
from .spec import (
    ACTIVATIONS,
    AveragePool,
    Convolution,
    Detect,
    Dropout,
    Ending,
    MaxPool,
    Reorg,
    Route,
    Scale,
    Shortcut,
    Spec,
    Unchanged,
    Upsample,
)

Shape = tuple[int, int, int]
"""Channels, height, width."""

MOST_SIDE = 65_536
"""Pixels of an input; anchors are no larger."""
MOST_STEP = 4096
"""A window, a stride, a margin."""
MOST_FILTERS = 500_000
MOST_VALUES = 2**31 - 1
"""Of a layer's picture or kernels: Darknet counts them in 32 bits, so a network that it has trained has no
more; torch's own words for them would be a traceback."""


@dataclass(frozen=True)
class Layer:
    """``reads``: the layers whose outputs go in, -1 for the image. ``inside``: the first of them. One that
    reads nothing is passed over."""

    index: int
    section: Section
    spec: Spec
    reads: tuple[int, ...]
    inside: Shape
    outside: Shape

    @property
    def stored(self) -> int:
        return self.spec.stored if isinstance(self.spec, Convolution) else 0

    @property
    def name(self) -> str:
        """For messages: ``layer 3 ([convolutional], line 40)``."""
        return f"layer {self.index} ([{self.section.name}], line {self.section.line})"


@dataclass(frozen=True)
class Plan:
    cfg: Cfg
    image: Shape
    layers: tuple[Layer, ...]

    @property
    def stored(self) -> int:
        """Values in a whole weights file."""
        return sum(layer.stored for layer in self.layers)

    @property
    def parameters(self) -> int:
        return sum(layer.spec.parameters for layer in self.layers if isinstance(layer.spec, Convolution))


def make_plan(cfg: Cfg, input_wh: tuple[int, int] | None = None) -> Plan:
    """``input_wh`` in the place of the cfg's own width and height.

    Raises ``UserError`` naming the line of the first layer that cannot be.
    """
    image = _image(cfg, input_wh)
    return Plan(cfg, image, tuple(_without_logistic(list(_planned(cfg, image)))))


def plan_for_values(cfg: Cfg, count: int) -> Plan:
    """The layers that hold the first ``count`` values of a weights file, up to the last of them.

    What follows them is not looked at: a backbone lies with the cfg of the classifier that it was cut from.
    Raises ``UserError`` where they cannot be.
    """
    image = _image(cfg, None)
    layers: list[Layer] = []
    for layer in _planned(cfg, image):
        layers.append(layer)
        count -= layer.stored
        if layer.stored and count <= 0:
            break
    else:
        if cfg.broken is not None:
            raise cfg.broken
    return Plan(cfg, image, tuple(layers))


def _image(cfg: Cfg, input_wh: tuple[int, int] | None) -> Shape:
    net = cfg.net
    channels = net.whole("channels", 3, least=1)
    if channels != 3:
        raise net.error(
            f"channels={channels}: only pictures of 3 channels are read", "channels", "write channels=3"
        )
    width, height = input_wh or (
        net.whole("width", least=1, most=MOST_SIDE),
        net.whole("height", least=1, most=MOST_SIDE),
    )
    if max(width, height) > MOST_SIDE:
        raise UserError(
            f"[{width}, {height}]: a side is more than {MOST_SIDE}",
            where="model.input_size",
            fix="choose a smaller one",
        )
    image = channels, height, width
    _check_count(net, f"an input of {_sides(image)}", math.prod(image), "choose a smaller one")
    return image


def _check_count(section: Section, what: str, count: int, fix: str) -> None:
    if count > MOST_VALUES:
        raise section.error(f"{what} has {count:,} values, more than {MOST_VALUES:,}", fix=fix)


def _planned(cfg: Cfg, image: Shape) -> Iterator[Layer]:
    layers: list[Layer] = []
    for section in cfg.layers:
        layers.append(_LAYERS[section.name](_Place(section, tuple(layers), image)))
        yield layers[-1]


def _without_logistic(layers: list[Layer]) -> list[Layer]:
    """Where a head has ``new_coords``, the convolution before it does the sigmoid that is ours to do."""
    plain = list(layers)
    for head in layers:
        if not isinstance(head.spec, Detect) or not head.spec.new_coords:
            continue
        before = layers[head.reads[0]]
        alone = all(before.index not in layer.reads for layer in layers if layer is not head)
        if not isinstance(before.spec, Convolution) or before.spec.activation != "logistic" or not alone:
            raise head.section.error(
                f"new_coords=1 wants {before.name} to be a convolution with activation=logistic, its alone",
                "new_coords",
            )
        plain[before.index] = replace(before, spec=replace(before.spec, activation="linear"))
    return plain


@dataclass(frozen=True)
class _Place:
    """Where a layer stands: what it may read."""

    section: Section
    before: tuple[Layer, ...]
    image: Shape

    @property
    def index(self) -> int:
        return len(self.before)

    @property
    def previous(self) -> Shape:
        return self.shape(self.index - 1)

    def shape(self, index: int, key: str = "") -> Shape:
        """``key``: the option that names the layer; without one it is the layer before."""
        if index < 0:
            return self.image
        read = self.before[index]
        if isinstance(read.spec, (Detect, Ending)):
            what = "a head" if isinstance(read.spec, Detect) else "whose output is Darknet's alone"
            other = self._nearest_readable(index)
            raise self.section.error(
                f"reads {read.name}, {what}",
                key,
                f"name {other.name} in its place"
                if key
                else f"put a [route] with layers={other.index} before it",
            )
        return read.outside

    def _nearest_readable(self, index: int) -> Layer:
        """What a head reads, or what stands before a layer that reads nothing."""
        layer = self.before[index]
        while isinstance(layer.spec, (Detect, Ending)):
            layer = self.before[layer.reads[0] if layer.reads else layer.index - 1]
        return layer

    def source_of_channels(self) -> Layer | None:
        """The convolution whose filters are the channels here, unless more than this branch reads it."""
        index, readers = self.index - 1, 0
        while index >= 0:
            layer = self.before[index]
            if sum(index in other.reads for other in self.before) > readers:
                return None
            if isinstance(layer.spec, Convolution):
                return layer
            if not _keeps_channels(layer):
                return None
            index, readers = layer.reads[0], 1
        return None

    def sources(self, key: str) -> tuple[int, ...]:
        """Absolute numbers of the layers named; negative ones count back from here."""
        given = self.section.wholes(key)
        absolute = tuple(index if index >= 0 else self.index + index for index in given)
        for written, index in zip(given, absolute, strict=True):
            if not 0 <= index < self.index:
                raise self.section.error(
                    f"{key}={written} is no layer before this one, layer {self.index}",
                    key,
                    "they count from 0, negative ones back from here" if self.index else "remove it",
                )
        return absolute

    def layer(self, spec: Spec, outside: Shape | None = None, reads: tuple[int, ...] | None = None) -> Layer:
        reads = (self.index - 1,) if reads is None else reads
        inside = self.shape(reads[0])
        outside = inside if outside is None else outside
        if min(outside) < 1:
            raise self.section.error(
                f"gives nothing: its window is larger than {_sides(inside)} with its padding",
                "size",
                "choose a smaller size or a larger input",
            )
        what = f"an output of {_sides(outside)}"
        _check_count(self.section, what, math.prod(outside), "choose fewer channels or a smaller input")
        return Layer(self.index, self.section, spec, reads, inside, outside)

    def perhaps_the_input(self) -> str:
        _, height, width = self.image
        if height % 32 == 0 and width % 32 == 0:
            return ""
        return f"an input of {width} x {height} may be why: choose multiples of 32"

    def activation(self, default: str) -> str:
        name = self.section.text("activation", default)
        if name not in ACTIVATIONS:
            raise self.section.error(
                f"activation={name} is not built here", "activation", f"built are {', '.join(ACTIVATIONS)}"
            )
        return name

    def strides(self) -> tuple[int, int]:
        stride = self.section.whole("stride", 1, least=1, most=MOST_STEP)
        return self._stride("stride_y", stride), self._stride("stride_x", stride)

    def _stride(self, key: str, default: int) -> int:
        """-1 is Darknet's own word for a stride of one direction that is not given."""
        if self.section.whole(key, -1) == -1:
            return default
        return self.section.whole(key, least=1, most=MOST_STEP)


def _convolutional(at: _Place) -> Layer:
    section = at.section
    inside, height, width = at.previous
    size = section.whole("size", 1, least=1, most=MOST_STEP)
    filters = _filters(section)
    groups = section.whole("groups", 1, least=1)
    if inside % groups or filters % groups:
        raise section.error(
            f"groups={groups} does not divide {inside} channels in, {filters} out",
            "groups",
            "choose one that divides both",
        )
    spec = Convolution(
        filters=filters,
        inside=inside,
        size=size,
        stride=at.strides(),
        padding=size // 2 if section.flag("pad") else section.whole("padding", 0, least=0, most=MOST_STEP),
        dilation=section.whole("dilation", 1, least=1, most=MOST_STEP) if size > 1 else 1,
        groups=groups,
        normalised=section.flag("batch_normalize") or section.flag("cbn"),
        activation=at.activation("logistic"),
        flipped=section.flag("flipped"),
    )
    # Darknet pads a dilated kernel by as much more
    reach, margin = spec.dilation * (size - 1) + 1, spec.padding * spec.dilation
    if max(reach, margin) > MOST_STEP:
        raise section.error(
            f"dilation={spec.dilation} makes a window of {reach} and a margin of {margin}, "
            f"more than {MOST_STEP}",
            "dilation",
            "choose a smaller one",
        )
    what = f"filters={filters} of {size} x {size} on {inside} channels"
    _check_count(section, what, spec.kernel_values, "choose fewer filters")
    rows = (height + 2 * margin - reach) // spec.stride[0] + 1
    columns = (width + 2 * margin - reach) // spec.stride[1] + 1
    return at.layer(spec, (filters, rows, columns))


def _filters(section: Section) -> int:
    filters = section.whole("filters", 1, least=1, most=MOST_FILTERS)
    loaded = section.whole("numload", 0)
    if loaded not in (0, filters):  # Darknet would read that many filters from a file, and compute no more
        raise section.error(
            f"numload={loaded} is not built here", "numload", f"only numload={filters}, all filters, is"
        )
    return filters


def _maxpool(at: _Place) -> Layer:
    channels, height, width = at.previous
    down, across = at.strides()
    size = at.section.whole("size", at.section.whole("stride", 1), least=1, most=MOST_STEP)
    padding = at.section.whole("padding", size - 1, least=0, most=MOST_STEP)
    rows, columns = (height + padding - size) // down + 1, (width + padding - size) // across + 1
    return at.layer(MaxPool(size, (down, across), padding), (channels, rows, columns))


def _avgpool(at: _Place) -> Layer:
    return at.layer(AveragePool(), (at.previous[0], 1, 1))


def _route(at: _Place) -> Layer:
    section = at.section
    reads = at.sources("layers")
    groups = section.whole("groups", 1, least=1)
    group = section.whole("group_id", 0, least=0)
    shapes = [at.shape(index, "layers") for index in reads]
    for index, shape in zip(reads, shapes, strict=True):
        if shape[1:] != shapes[0][1:]:
            raise section.error(
                f"joins {_sides(shapes[0])} (layer {reads[0]}) with {_sides(shape)} (layer {index})",
                "layers",
                at.perhaps_the_input(),
            )
        if shape[0] % groups:
            raise section.error(
                f"groups={groups} does not divide layer {index}'s {shape[0]} channels",
                "groups",
                "choose one that does",
            )
    if group >= groups:
        raise section.error(f"group_id={group} of {groups} groups", "group_id", "they count from 0")
    channels = sum(shape[0] // groups for shape in shapes)
    return at.layer(Route(groups, group), (channels, *shapes[0][1:]), reads)


def _shortcut(at: _Place) -> Layer:
    sources = at.sources("from")
    _, height, width = own = at.previous
    for index in sources:
        _, rows, columns = theirs = at.shape(index, "from")
        # one picture may be larger by a whole factor, the same in both directions, and then it is sampled
        larger = rows % height == 0 and columns % width == 0 and rows // height == columns // width
        smaller = height % rows == 0 and width % columns == 0 and height // rows == width // columns
        if not (larger or smaller) or (len(sources) > 1 and (rows, columns) != (height, width)):
            raise at.section.error(
                f"adds {_sides(theirs)} (layer {index}) to {_sides(own)}", "from", at.perhaps_the_input()
            )
    return at.layer(Shortcut(at.activation("linear")), reads=(at.index - 1, *sources))


def _reorg(at: _Place) -> Layer:
    stride = at.section.whole("stride", 1, least=1)
    channels, height, width = at.previous
    if height % stride or width % stride or channels % stride**2:
        raise at.section.error(
            f"stride={stride} does not divide {_sides(at.previous)}", "stride", "channels go by its square"
        )
    return at.layer(Reorg(stride), (channels * stride**2, height // stride, width // stride))


def _upsample(at: _Place) -> Layer:
    stride = at.section.whole("stride", 2, least=1, most=MOST_STEP)
    channels, height, width = at.previous
    return at.layer(Upsample(stride), (channels, height * stride, width * stride))


def _scale(at: _Place) -> Layer:
    (source, *more) = at.sources("from")
    theirs = at.shape(source, "from")
    wanted = (theirs[0], 1, 1) if at.section.name == "scale_channels" else theirs
    if more or at.previous != wanted:
        raise at.section.error(
            f"scales {_sides(theirs)} (layer {source}) by {_sides(at.previous)}, expected {_sides(wanted)}",
            "from",
        )
    return at.layer(Scale(at.activation("linear")), theirs, (at.index - 1, source))


def _dropout(at: _Place) -> Layer:
    probability = at.section.number("probability", 0.5)
    if not 0 <= probability < 1:
        raise at.section.error(f"probability={probability} is not in 0..1", "probability")
    return at.layer(Dropout(probability))


def _unchanged(at: _Place) -> Layer:
    return at.layer(Unchanged(), reads=(at.index - 1,))


def _softmax(at: _Place) -> Layer:
    if any(isinstance(layer.spec, Detect) for layer in at.before):
        return Layer(at.index, at.section, Ending(), (), at.image, at.image)
    raise at.section.error("makes a classifier of it", fix="this program trains detectors: end with a head")


def _region(at: _Place) -> Layer:
    count = at.section.whole("num", 1, least=1)
    return _head(at, _pairs(at, count), 1.0, new_coords=False)


def _yolo(at: _Place) -> Layer:
    section = at.section
    total = section.whole("num", 1, least=1)
    anchors = _pairs(at, total)
    mask = section.wholes("mask") if "mask" in section.options else tuple(range(total))
    wrong = [index for index in mask if not 0 <= index < len(anchors)]
    if wrong:
        raise section.error(f"mask names anchor {wrong[0]} of {len(anchors)}", "mask", "they count from 0")
    chosen = tuple(anchors[index] for index in mask)
    scale, new_coords = section.number("scale_x_y", 1.0), section.flag("new_coords")
    if scale < 1 or (new_coords and scale != 2):
        wanted = "new_coords=1 is built with scale_x_y=2" if new_coords else "it is at least 1"
        raise section.error(f"scale_x_y={scale:g}", "scale_x_y", wanted)
    return _head(at, chosen, 1.0 if new_coords else scale, new_coords)


def _head(at: _Place, anchors: tuple[tuple[float, float], ...], scale_xy: float, new_coords: bool) -> Layer:
    section = at.section
    classes = section.whole("classes", 20, least=1, most=MOST_FILTERS)
    channels, height, width = at.previous
    wanted = len(anchors) * (5 + classes)
    if channels != wanted:
        source = at.source_of_channels()
        fix = f"put a [convolutional] with filters={wanted} before it"
        if source is not None:
            fix = f"set filters={wanted} in [{source.section.name}], line {source.section.line}"
        raise section.error(
            f"wants {wanted} channels, {len(anchors)} x (5 + {classes} classes), and gets {channels}", fix=fix
        )
    _, input_height, input_width = at.image
    if input_width % width or input_height % height or input_width // width != input_height // height:
        raise section.error(
            f"a grid of {width} x {height} cells does not divide an input of {input_width} x {input_height}",
            fix="choose width and height in whole multiples of the coarsest stride, mostly 32",
        )
    return at.layer(Detect(section.name, anchors, classes, scale_xy, new_coords))


def _pairs(at: _Place, count: int) -> tuple[tuple[float, float], ...]:
    values = at.section.numbers("anchors")
    if len(values) < 2 * count:
        raise at.section.error(
            f"{len(values)} values in anchors, expected {2 * count} for num={count}", "anchors"
        )
    if min(values) <= 0:
        raise at.section.error(f"anchor side {min(values):g} is not positive", "anchors", "mend it")
    if max(values) > MOST_SIDE:
        raise at.section.error(
            f"anchor side {max(values):g} is more than {MOST_SIDE}", "anchors", "choose smaller ones"
        )
    return tuple((values[2 * k], values[2 * k + 1]) for k in range(count))


def _second_net(at: _Place) -> Layer:
    raise at.section.error("stands twice", fix="remove this one")


def _keeps_channels(layer: Layer) -> bool:
    """Whether it gives as many channels as the first layer that it reads, be they what they may."""
    if isinstance(layer.spec, Route):
        return len(layer.reads) == 1 and layer.spec.groups == 1
    return isinstance(layer.spec, (MaxPool, AveragePool, Upsample, Shortcut, Dropout, Unchanged))


def _sides(shape: Shape) -> str:
    """As Darknet prints shapes: width x height x channels."""
    channels, height, width = shape
    return f"{width} x {height} x {channels}"


_LAYERS: dict[str, Callable[[_Place], Layer]] = {
    "net": _second_net,
    "convolutional": _convolutional,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "route": _route,
    "shortcut": _shortcut,
    "reorg": _reorg,
    "upsample": _upsample,
    "scale_channels": _scale,
    "sam": _scale,
    "dropout": _dropout,
    "empty": _unchanged,
    "softmax": _softmax,
    "cost": _softmax,
    "region": _region,
    "yolo": _yolo,
}
