"""The memory of batches, used again once nobody holds it.

A batch of 16 at 416 px has 8 MB. Taken fresh each time, at a page fault every 4 KiB, they cost some 5 % of
loading; so a few are kept and given out again.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from .sizes import Size

MOST = 8
"""Batches kept: one in the making, those that a training has not yet read the losses of."""


class Canvases:
    """Batches ``[count, H, W, 3]`` uint8, of any content. One thread takes from it; it travels empty."""

    def __init__(self) -> None:
        self._kept: list[NDArray[np.uint8]] = []

    def take(self, count: int, input_wh: Size) -> Tensor:
        """In a loading process it stands in shared memory from the start, so that sending it is no copy."""
        shape = (count, input_wh[1], input_wh[0], 3)
        if get_worker_info() is not None:
            storage = torch.UntypedStorage._new_shared(math.prod(shape))  # type: ignore[no-untyped-call]
            return torch.empty(0, dtype=torch.uint8).set_(storage).view(shape)
        return torch.from_numpy(self._free(shape))

    def _free(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        for place in range(len(self._kept)):
            # the tensor made of an array, and whatever is a view of it, holds the array: two are the list's
            # reference and the call's own
            if self._kept[place].shape == shape and sys.getrefcount(self._kept[place]) == 2:
                return self._kept[place]
        fresh = np.empty(shape, np.uint8)
        self._kept = [*self._kept, fresh][-MOST:]
        return fresh

    def __getstate__(self) -> dict[str, object]:
        return {"_kept": []}
