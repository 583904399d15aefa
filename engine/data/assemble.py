"""From draws to a packed batch: the part of loading that may run in a process of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import AugmentConfig
from ..errors import UserError
from ..letterbox import Letterbox
from .canvases import Canvases
from .draws import BatchDraw, Draw, draw_rng
from .fitted import DecodedImages
from .images import UnreadableImage, read_image
from .letterbox import grey_around, resized
from .plan import Plan, Planner
from .sample import Dataset, Floats, Image, Ints, Problem
from .sizes import Size

Encode = Callable[[list[Tensor], list[Tensor], Size], Any]
"""Boxes and labels, an entry an image, and the input's size -> targets."""
Transform = Callable[[Image, Floats], tuple[Image, Floats]]


@dataclass(eq=False)
class Packed:
    """A batch as it travels between processes: few tensors (each costs a file handle), the rest numpy."""

    images: Tensor
    boxes: Floats
    labels: Ints
    counts: NDArray[np.int64]
    paths: list[str]
    image_ids: list[str]
    letterboxes: list[Letterbox]
    indices: list[int]
    targets: Any
    skipped: list[Problem]

    def pin_memory(self) -> Packed:
        """Called by the DataLoader where batches go to a GPU."""
        self.images = self.images.pin_memory()
        self.targets = _pinned(self.targets)
        return self


@dataclass(frozen=True, eq=False)
class _Loaded:
    """One image drawn onto its canvas, boxes in input pixels."""

    index: int
    boxes: Floats
    labels: Ints
    place: Letterbox


Load = Callable[[Image], _Loaded]
"""Draws an image onto a canvas of any content, RGB, all of it. Raises ``UnreadableImage``."""
Prepare = Callable[[Draw, Size], Load]


class Assembler:
    """Loads, augments and packs; picklable, without state but the cache. ``largest``: of the inputs there
    will be. How large one is, its canvas says.

    ``threads``: where the pictures of a batch are loaded side by side; None: one after the other. It does not
    travel between processes.
    """

    threads: ThreadPoolExecutor | None = None

    def __init__(
        self,
        dataset: Dataset,
        largest: Size,
        augment: AugmentConfig | None,
        seed: int,
        encode: Encode | None,
        transform: Transform | None,
        cache: Literal["auto", "ram", "none"],
        use_difficult: bool,
        shared: bool,
        stretch: bool = False,
    ) -> None:
        self._dataset = dataset
        self._stretch = stretch
        self._seed = seed
        self._encode = encode
        self._transform = transform
        # the user's transform wants the picture itself, at its own size
        self._decoded = DecodedImages(
            dataset.samples, largest, "none" if transform else cache, shared, stretch
        )
        self._planner = Planner(dataset.samples, self._decoded, augment, seed, use_difficult)
        self._canvases = Canvases()

    @property
    def cached(self) -> bool:
        return self._decoded.kept

    def augmented(self, batch: BatchDraw) -> Packed:
        return self._pack(batch, self._transformed if self._transform else self._planned)

    def plain(self, batch: BatchDraw) -> Packed:
        return self._pack(batch, self._planned_plain)

    def _planned(self, draw: Draw, input_wh: Size) -> Load:
        return partial(self._painted, self._planner.augmented(draw, input_wh))

    def _planned_plain(self, draw: Draw, input_wh: Size) -> Load:
        return partial(self._painted, self._planner.plain(draw, input_wh))

    def _transformed(self, draw: Draw, input_wh: Size) -> Load:
        return partial(self._one_transformed, draw)

    def _pack(self, batch: BatchDraw, prepare: Prepare) -> Packed:
        draws = batch.draws
        loads = [prepare(draw, batch.input_wh) for draw in draws]
        images = self._canvases.take(len(draws), batch.input_wh)
        canvases = images.numpy()

        def attempt(place: int) -> _Loaded | UnreadableImage:
            try:
                return loads[place](canvases[place])
            except UnreadableImage as error:
                return error

        # the user's function draws from the global generators: one at a time
        alone = self.threads is None or self._transform is not None
        places = range(len(draws))
        tried = list(map(attempt, places) if alone else self.threads.map(attempt, places))  # type: ignore[union-attr]
        loaded = [item for item in tried if isinstance(item, _Loaded)]
        skipped = [
            Problem("unreadable image", str(error.path), error.reason, "error")
            for error in tried
            if isinstance(error, UnreadableImage)
        ]
        if not loaded:
            loaded = [self._next_readable(draws[-1], prepare, canvases[0])]
            images = images[:1]
        elif skipped:
            images = images[[place for place in places if isinstance(tried[place], _Loaded)]]
        boxes = [_relative(item.boxes, batch.input_wh) for item in loaded]
        labels = [item.labels for item in loaded]
        targets = None
        if self._encode is not None:
            targets = self._encode(
                list(map(torch.from_numpy, boxes)), list(map(torch.from_numpy, labels)), batch.input_wh
            )
        samples = [self._dataset.samples[item.index] for item in loaded]
        return Packed(
            images.permute(0, 3, 1, 2),
            np.concatenate(boxes),
            np.concatenate(labels),
            np.array([len(item) for item in boxes], np.int64),
            [str(sample.path) for sample in samples],
            [sample.image_id for sample in samples],
            [item.place for item in loaded],
            [item.index for item in loaded],
            targets,
            skipped,
        )

    def _next_readable(self, draw: Draw, prepare: Prepare, canvas: Image) -> _Loaded:
        """An empty batch would be no step: the next image of the dataset takes its place."""
        count = len(self._dataset)
        for step in range(1, count):
            other = Draw(draw.epoch, (draw.index + step) % count, draw.mosaic)
            try:
                return prepare(other, _size(canvas))(canvas)
            except UnreadableImage:
                continue
        raise UserError(
            f"no image of split {self._dataset.name!r} can be read", fix="see `yolotui data check`"
        )

    def _painted(self, plan: Plan, canvas: Image, unreadable: frozenset[int] = frozenset()) -> _Loaded:
        """``unreadable``: what has been found so in making this image. In a mosaic the next picture takes
        its place; only the draw's own counts as skipped."""
        own = plan.draw.index
        for index, tile in plan.tiles:
            try:
                image = self._decoded.load(index)
            except UnreadableImage:
                if index == own:
                    raise
                unreadable |= {index}
                plan = self._planner.augmented(plan.draw, plan.input_wh, unreadable)
                return self._painted(plan, canvas, unreadable)
            tile.paint(image, canvas)
        return _Loaded(own, plan.boxes, plan.labels, plan.place)

    def _one_transformed(self, draw: Draw, canvas: Image) -> _Loaded:
        assert self._transform is not None
        sample = self._dataset.samples[draw.index]
        boxes, labels = self._planner.truths[draw.index]
        image = read_image(sample.path)
        seed = int(draw_rng(self._seed, draw).integers(2**32))
        with _global_seeds(seed):
            result = self._transform(image, boxes.copy())
        image, boxes = _checked(result, len(labels))
        place = Letterbox.fit(_size(image), _size(canvas), self._stretch)
        _frame(image, place, canvas)
        boxes = place.boxes_to_input(
            np.clip(boxes, 0, [image.shape[1], image.shape[0]] * 2).astype(np.float32)
        )
        keep = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
        return _Loaded(draw.index, boxes[keep], labels[keep], place)


def _size(image: Image) -> Size:
    return image.shape[1], image.shape[0]


def _relative(boxes: Floats, input_wh: Size) -> Floats:
    """Input pixels x1, y1, x2, y2 -> cx, cy, w, h in 0..1 of the input."""
    size = np.array(input_wh, np.float32)
    low, high = boxes[:, :2] / size, boxes[:, 2:] / size
    return np.concatenate(((low + high) / 2, high - low), axis=1).astype(np.float32)


def _frame(image: Image, place: Letterbox, canvas: Image) -> None:
    """The whole picture, BGR, into its letterbox, grey around it: a canvas, RGB."""
    right, bottom = place.left + place.new_w, place.top + place.new_h
    grey_around(canvas, place.left, place.top, right, bottom)
    inner = canvas[place.top : bottom, place.left : right]
    cv2.cvtColor(resized(image, place.new_w, place.new_h, place.stretch), cv2.COLOR_BGR2RGB, dst=inner)


def _checked(result: object, boxes: int) -> tuple[Image, Floats]:
    """The user's transform keeps its contract, or the user is told how not."""
    if not isinstance(result, Sequence) or len(result) != 2:
        raise UserError("returned no pair", where="transform", fix="return image, boxes")
    image, changed = np.asarray(result[0]), np.asarray(result[1], np.float32)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        got = f"{image.dtype} {list(image.shape)}"
        raise UserError(f"returned an image {got}", where="transform", fix="return uint8 [H, W, 3], BGR")
    if changed.size != boxes * 4:
        raise UserError(
            f"returned boxes {list(changed.shape)} for {boxes} boxes",
            where="transform",
            fix="keep number and order; a box that leaves the picture comes back with no area",
        )
    return np.ascontiguousarray(image), changed.reshape(-1, 4)


@contextmanager
def _global_seeds(seed: int) -> Iterator[None]:
    """A user's function draws from the global generators: seeded for it, and put back for everybody else."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _pinned(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_pinned(item) for item in value)
    return value.pin_memory() if hasattr(value, "pin_memory") else value
