"""Batches for training and evaluation, loaded while the caller waits or in processes of their own."""

from __future__ import annotations

import math
import multiprocessing
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..config import AugmentConfig
from ..cores import core_count
from ..errors import UserError
from ..letterbox import Letterbox
from .assemble import Assembler, Encode, Packed, Transform
from .draws import BatchDraw, Draw, epoch_draws, part_is_empty, part_of, step_draws
from .sample import Dataset, Problem
from .sizes import InputSizes, Size

__all__ = ["Batch", "BatchLoader", "Draw", "Encode", "Transform", "epoch_draws"]


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step works on.

    ``images`` ``[B, 3, H, W]`` uint8 RGB, channels last in memory. ``boxes``: an image's ``[N, 4]`` float32
    cx, cy, w, h, 0..1 of the input, and ``labels`` its ``[N]`` int64: what is trained on, so without crowds,
    and with ``difficult`` objects only where asked for. They stay on the CPU; ``images`` and ``targets``
    follow ``to``.
    """

    images: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    paths: list[str]
    image_ids: list[str]
    letterboxes: list[Letterbox]
    """Where each picture lies in the input; of no meaning for an augmented one."""
    indices: list[int]
    """The images' places in the dataset."""
    targets: Any
    """What ``encode`` made of boxes and labels."""
    skipped: list[Problem]
    """Images left out because they could not be read."""

    @property
    def objects(self) -> int:
        return sum(len(boxes) for boxes in self.boxes)

    @property
    def input_wh(self) -> Size:
        """Width and height of the images: with ``augment.multi_scale`` each batch has its own."""
        return self.images.shape[3], self.images.shape[2]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        images = self.images.to(device, non_blocking=non_blocking)
        return replace(self, images=images, targets=_moved(self.targets, device, non_blocking))


class BatchLoader:
    """Batches of a dataset.

    ``encode`` turns an image list's boxes and labels into targets (in the loading process), for an input of
    the batch's size. ``transform`` is the user's own augmentation, ``(image HxWx3 BGR, boxes [N, 4] pixel
    corners) -> the same``, and takes the place of ours. With ``workers`` > 0 both are sent to processes, so
    they must be picklable; where one is not, loading stays in the calling thread and ``note`` says so.

    The order and every sample are pure functions of (seed, epoch, index): neither the number of workers, nor
    the cache, nor the step at which an iteration starts changes a bit. With several ``ranks``, ``batch_size``
    is of all of them together and each loads its slice of every batch (of the ordered ones: every so many-th
    image). ``stride``: of the coarsest head; inputs of other sizes than the declared one are multiples of it.
    ``stretch``: pictures fill the input, each side scaled for itself.
    """

    def __init__(
        self,
        dataset: Dataset,
        input_wh: Size,
        batch_size: int,
        *,
        stride: int = 32,
        augment: AugmentConfig | None = None,
        seed: int = 0,
        encode: Encode | None = None,
        workers: int = 0,
        transform: Transform | None = None,
        cache: Literal["auto", "ram", "none"] = "none",
        use_difficult: bool = False,
        pin_memory: bool = False,
        rank: int = 0,
        ranks: int = 1,
        stretch: bool = False,
    ) -> None:
        if not len(dataset):
            raise UserError(f"split {dataset.name!r} has no images", fix="see `yolotui data check`")
        self.note = ""
        if workers and not _picklable(encode, transform):
            self.note = (
                "the user's functions cannot be sent to loading processes: loading in the training thread"
            )
            workers = 0
        self._images = len(dataset)
        self._batch_size = batch_size
        self._seed = seed
        self._workers = workers
        self._pin = pin_memory
        self._rank, self._ranks = rank, ranks
        self.sizes = InputSizes(input_wh, augment.multi_scale if augment else 0.0, stride, seed)
        self._assembler = Assembler(
            dataset,
            self.sizes.largest,
            augment,
            seed,
            encode,
            transform,
            cache,
            use_difficult,
            shared=workers > 0,
            stretch=stretch,
        )
        cores = core_count()
        if workers == 0 and cores > 1:
            # OpenCV works outside the interpreter's lock: the cores that wait for the batch load it
            self._assembler.threads = ThreadPoolExecutor(min(cores, batch_size, 8), "load")
        self._open: list[Iterator[Any]] = []

    @property
    def steps_per_epoch(self) -> int:
        return -(-self._images // self._batch_size)

    @property
    def cached(self) -> bool:
        return self._assembler.cached

    def train_batches(
        self, first_step: int, total_steps: int, mosaic_off: float = 0.0, *, declared: bool = False
    ) -> Iterator[Batch]:
        """Batches of the 0-based steps ``first_step .. total_steps - 1``, one stream across epochs.

        Step s is number ``s % steps_per_epoch`` of epoch ``s // steps_per_epoch``; mosaics and other sizes
        than the declared one are on for steps before ``(1 - mosaic_off) * total_steps``. ``declared``: that
        size alone.
        """
        draws = step_draws(self._seed, self._images, self._batch_size, first_step, total_steps, mosaic_off)
        vary = range(first_step, 0 if declared else math.ceil((1 - mosaic_off) * total_steps))
        parts = (
            BatchDraw(
                part_of(batch, self._rank, self._ranks),
                self.sizes.at(step) if step in vary else self.sizes.declared,
            )
            for step, batch in enumerate(draws, first_step)
        )
        return self._batches(parts, augmented=True)

    def images_of(self, step: int) -> int:
        """Images of a 0-based step, over all ranks."""
        return min(self._batch_size, self._images - step % self.steps_per_epoch * self._batch_size)

    def is_idle(self, step: int) -> bool:
        """Whether a step has no image for this rank: then it loads one that another rank has too."""
        return part_is_empty(self.images_of(step), self._rank, self._ranks)

    def ordered_batches(self) -> Iterator[Batch]:
        """Every image once in the dataset's order, letterboxed only. A batch none of whose images can be read
        holds another in their place, which is none of its ``ordered_places``."""
        draws = (
            BatchDraw([Draw(0, index, False) for index in places], self.sizes.declared)
            for places in self.ordered_places()
        )
        return self._batches(draws, augmented=False)

    def ordered_places(self) -> list[range]:
        """The images that each of ``ordered_batches`` is asked for, as places in the dataset."""
        size = max(1, self._batch_size // self._ranks)
        mine = range(self._rank, self._images, self._ranks)
        return [mine[start : start + size] for start in range(0, len(mine), size)]

    def close(self) -> None:
        """End the loading processes of every iteration still open, and the threads."""
        threads, self._assembler.threads = self._assembler.threads, None
        if threads is not None:
            threads.shutdown(wait=False)
        for iterator in self._open:
            shut = getattr(iterator, "_shutdown_workers", None)
            if shut is not None:
                shut()
        self._open.clear()

    def _batches(self, draws: Iterable[BatchDraw], augmented: bool) -> Iterator[Batch]:
        assemble = self._assembler.augmented if augmented else self._assembler.plain
        if self._workers == 0:
            for batch in draws:
                yield _unpack(assemble(batch))
            return
        loader: DataLoader[Any] = DataLoader(
            _Items(assemble),  # type: ignore[arg-type]
            batch_sampler=draws,  # type: ignore[arg-type]
            collate_fn=_as_is,  # type: ignore[arg-type]
            num_workers=self._workers,
            prefetch_factor=4,
            multiprocessing_context=_context(),
            worker_init_fn=_start_worker,
            pin_memory=self._pin,
            # one of its own: else starting an iteration would draw from the training's generator
            generator=torch.Generator(),
        )
        iterator = iter(loader)
        self._open.append(iterator)
        try:
            for packed in iterator:
                if isinstance(packed, UserError):
                    raise packed
                yield _unpack(packed)
        finally:
            if iterator in self._open:
                self._open.remove(iterator)
                iterator._shutdown_workers()  # type: ignore[attr-defined]


@dataclass(frozen=True)
class _Items:
    """What the DataLoader fetches from: a whole batch at a time."""

    assemble: Callable[[BatchDraw], Packed]

    def __getitems__(self, batch: BatchDraw) -> Packed | UserError:
        try:
            return self.assemble(batch)
        except UserError as error:  # the DataLoader would wrap it in a traceback
            return error

    def __len__(self) -> int:
        return 1


def _as_is(packed: Packed | UserError) -> Packed | UserError:
    return packed


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)
    # Ctrl+C goes to every process of the terminal: the trainer decides when its workers end
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _context() -> Any:
    """Processes forked from a clean server: forking this one, with its threads, is unsafe."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch and cv2 are imported once, not once a worker
    return context


def _picklable(*functions: object) -> bool:
    try:
        pickle.dumps(functions)
    except Exception:  # pickle raises what it likes
        return False
    return True


def _unpack(packed: Packed) -> Batch:
    edges = packed.counts.cumsum().tolist()[:-1]
    boxes = torch.from_numpy(packed.boxes).tensor_split(edges)
    labels = torch.from_numpy(packed.labels).tensor_split(edges)
    return Batch(
        packed.images,
        list(boxes),
        list(labels),
        packed.paths,
        packed.image_ids,
        packed.letterboxes,
        packed.indices,
        packed.targets,
        packed.skipped,
    )


def _moved(value: Any, device: torch.device | str, non_blocking: bool) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, device, non_blocking) for item in value)
    return value.to(device, non_blocking=non_blocking) if hasattr(value, "to") else value
