"""Pictures decoded no larger than the network's input needs, and kept so in memory where they fit.

What is kept is what the decoder gives, uint8: so a cache changes the speed and never a bit of the training.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from typing import Literal

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from ..errors import UserError
from ..letterbox import Letterbox
from .images import UnreadableImage, read_image, reduction
from .sample import Dataset, Image, Sample

SHARE_OF_FREE_MEMORY = 0.25


class DecodedImages:
    """The split's pictures by index, each at 1, 1/2, 1/4 or 1/8 of its size: the smallest that its letterbox
    in ``input_wh``, the largest input there will be, does not exceed.

    With ``shared`` the memory is shared by the loading processes it is sent to: each picture is decoded once,
    whoever needs it first. ``mode`` ``auto`` keeps pictures only if all together take less than a quarter of
    the free memory (and of /dev/shm, where that is what holds them); ``ram`` keeps them, or raises
    ``UserError`` where they are more than is free.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        input_wh: tuple[int, int],
        mode: Literal["auto", "ram", "none"],
        shared: bool,
        stretch: bool = False,
    ) -> None:
        self._samples = samples
        self._stretch = stretch
        self._reductions = [self._smallest(sample, input_wh) for sample in samples]
        self._store: torch.Tensor | None = None
        if mode == "none" or not samples:
            return
        sizes = [3 * width * height for width, height in map(self.size, range(len(samples)))]
        self._starts = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
        self.bytes = int(self._starts[-1])
        free = _free_memory(shared)
        if mode == "auto" and self.bytes > SHARE_OF_FREE_MEMORY * free:
            return
        if self.bytes > free:
            raise UserError(
                f"{len(samples)} decoded images take {self.bytes / 2**30:.1f} GiB of memory, and "
                f"{free / 2**30:.1f} GiB is free",
                where="data.cache",
                fix='set it to "auto" or "none"',
            )
        self._store = _zeros(self.bytes, shared)
        self._filled = _zeros(len(samples), shared)

    @property
    def kept(self) -> bool:
        return self._store is not None

    def place(self, index: int, input_wh: tuple[int, int]) -> Letterbox:
        sample = self._samples[index]
        return Letterbox.fit((sample.width, sample.height), input_wh, self._stretch)

    def place_reduced(self, index: int, input_wh: tuple[int, int]) -> Letterbox:
        """As ``place``, of the picture as ``load`` gives it."""
        return Letterbox.fit(self.size(index), input_wh, self._stretch)

    def reduction(self, index: int) -> int:
        """How many times smaller than the stored picture ``load`` gives it."""
        return self._reductions[index]

    def size(self, index: int) -> tuple[int, int]:
        """(width, height) of what ``load`` gives."""
        sample, factor = self._samples[index], self.reduction(index)
        return sample.width // factor, sample.height // factor

    def load(self, index: int) -> Image:
        """``[height, width, 3]`` BGR uint8, not to be written to. Raises ``UnreadableImage``."""
        if self._store is None:
            return self._decode(index)
        width, height = self.size(index)
        slot = self._store.numpy()[self._starts[index] : self._starts[index + 1]]
        slot = slot.reshape(height, width, 3)
        filled = self._filled.numpy()
        if not filled[index]:
            slot[...] = self._decode(index)
            filled[index] = 1  # after the pixels: another process may be looking
        return slot

    def _smallest(self, sample: Sample, input_wh: tuple[int, int]) -> int:
        if self._stretch:  # the network was made for pixels that nothing has averaged
            return 1
        place = Letterbox.fit((sample.width, sample.height), input_wh)
        return reduction((sample.width, sample.height), (place.new_w, place.new_h))

    def _decode(self, index: int) -> Image:
        sample, factor = self._samples[index], self.reduction(index)
        image = read_image(sample.path, factor)
        if image.shape[:2] != (sample.height // factor, sample.width // factor):
            size = f"{image.shape[1] * factor}x{image.shape[0] * factor}"
            raise UnreadableImage(
                sample.path, f"is {size} px, was {sample.width}x{sample.height} when opened"
            )
        return image


def _free_memory(shared: bool) -> int:
    free = int(psutil.virtual_memory().available)
    # no such folder outside Linux: shared memory is then bounded by memory alone
    with contextlib.suppress(OSError):
        free = min(free, shutil.disk_usage("/dev/shm").free) if shared else free
    # of several processes that train on this machine, each keeps its own
    return free // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _zeros(count: int, shared: bool) -> torch.Tensor:
    """Memory that costs nothing until it is written; torch's shared kind leaves no file behind."""
    if not shared:
        return torch.from_numpy(np.zeros(count, np.uint8))
    storage = torch.UntypedStorage._new_shared(count)  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=torch.uint8).set_(storage)


def fitted_sizes(dataset: Dataset, input_wh: tuple[int, int], stretch: bool = False) -> NDArray[np.float64]:
    """``[N, 2]`` widths and heights in input pixels of all objects that count: no crowds, none difficult."""
    sizes = [np.zeros((0, 2))]
    for sample in dataset.samples:
        boxes = sample.boxes[~(sample.crowd | sample.difficult)]
        place = Letterbox.fit((sample.width, sample.height), input_wh, stretch)
        sizes.append((boxes[:, 2:] - boxes[:, :2]) * np.array([place.scale_x, place.scale_y]))
    return np.concatenate(sizes)
