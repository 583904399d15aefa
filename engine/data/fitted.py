"""Pictures scaled to the network's input, and kept so in memory where they fit.

Every picture is scaled to its letterbox size first and augmented after that, whether it is kept or not:
so a cache changes the speed and never a bit of the training. What is kept is the scaled picture without its
grey borders, uint8.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Literal

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from ..letterbox import Letterbox
from .images import UnreadableImage, read_image
from .letterbox import resized
from .sample import Dataset, Image, Sample

SHARE_OF_FREE_MEMORY = 0.25


class FittedImages:
    """The split's pictures by index, each at its letterbox size.

    With ``shared`` the memory is shared by the loading processes it is sent to: each picture is decoded once,
    whoever needs it first. ``mode`` ``auto`` keeps pictures only if all together take less than a quarter of
    the free memory (and of /dev/shm, where that is what holds them); ``ram`` keeps them in any case.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        input_wh: tuple[int, int],
        mode: Literal["auto", "ram", "none"],
        shared: bool,
    ) -> None:
        self._samples = samples
        self._input_wh = input_wh
        self._store: torch.Tensor | None = None
        if mode == "none" or not samples:
            return
        sizes = [3 * place.new_w * place.new_h for place in map(self.place, range(len(samples)))]
        self._starts = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
        self.bytes = int(self._starts[-1])
        if mode == "auto" and self.bytes > SHARE_OF_FREE_MEMORY * _free_memory(shared):
            return
        self._store = _zeros(self.bytes, shared)
        self._filled = _zeros(len(samples), shared)

    @property
    def kept(self) -> bool:
        return self._store is not None

    def place(self, index: int) -> Letterbox:
        sample = self._samples[index]
        return Letterbox.fit((sample.width, sample.height), self._input_wh)

    def load(self, index: int) -> Image:
        """``[new_h, new_w, 3]`` BGR uint8, not to be written to. Raises ``UnreadableImage``."""
        place = self.place(index)
        if self._store is None:
            return self._decode(index, place)
        slot = self._store.numpy()[self._starts[index] : self._starts[index + 1]]
        slot = slot.reshape(place.new_h, place.new_w, 3)
        filled = self._filled.numpy()
        if not filled[index]:
            slot[...] = self._decode(index, place)
            filled[index] = 1  # after the pixels: another process may be looking
        return slot

    def _decode(self, index: int, place: Letterbox) -> Image:
        sample = self._samples[index]
        image = read_image(sample.path)
        if image.shape[:2] != (sample.height, sample.width):
            size = f"{image.shape[1]}x{image.shape[0]}"
            raise UnreadableImage(
                sample.path, f"is {size} px, was {sample.width}x{sample.height} when opened"
            )
        return resized(image, place.new_w, place.new_h)


def _free_memory(shared: bool) -> int:
    free = int(psutil.virtual_memory().available)
    try:
        return min(free, shutil.disk_usage("/dev/shm").free) if shared else free
    except OSError:  # no such folder outside Linux: shared memory is then bounded by memory alone
        return free


def _zeros(count: int, shared: bool) -> torch.Tensor:
    """Memory that costs nothing until it is written; torch's shared kind leaves no file behind."""
    if not shared:
        return torch.from_numpy(np.zeros(count, np.uint8))
    storage = torch.UntypedStorage._new_shared(count)  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=torch.uint8).set_(storage)


def fitted_sizes(dataset: Dataset, input_wh: tuple[int, int]) -> NDArray[np.float64]:
    """``[N, 2]`` widths and heights in input pixels of all objects that count: no crowds, none difficult."""
    sizes = [np.zeros((0, 2))]
    for sample in dataset.samples:
        boxes = sample.boxes[~(sample.crowd | sample.difficult)]
        place = Letterbox.fit((sample.width, sample.height), input_wh)
        sizes.append((boxes[:, 2:] - boxes[:, :2]) * np.array([place.scale_x, place.scale_y]))
    return np.concatenate(sizes)
