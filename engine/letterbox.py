"""How a picture lies in the input, and back: scaled without changing its shape, or stretched to fill it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Letterbox:
    """Where a source picture lies in the input. Sizes in pixels; boxes ``[N, 4]`` x1, y1, x2, y2.

    The scaled picture has whole pixels, so the two axes may differ from ``scale`` by half a pixel over the
    whole side; the box methods follow the pixels and are exact inverses.
    """

    scale: float
    left: int
    top: int
    new_w: int
    new_h: int
    input_w: int
    input_h: int
    source_w: int
    source_h: int
    stretch: bool = False

    @classmethod
    def fit(cls, source_wh: tuple[int, int], input_wh: tuple[int, int], stretch: bool = False) -> Letterbox:
        """Centred, scaled up too where the source is smaller. ``stretch``: each side for itself."""
        (source_w, source_h), (input_w, input_h) = source_wh, input_wh
        scale = min(input_w / source_w, input_h / source_h)
        if stretch:
            return cls(scale, 0, 0, input_w, input_h, input_w, input_h, source_w, source_h, stretch)
        new_w = min(max(round(source_w * scale), 1), input_w)
        new_h = min(max(round(source_h * scale), 1), input_h)
        left, top = (input_w - new_w) // 2, (input_h - new_h) // 2
        return cls(scale, left, top, new_w, new_h, input_w, input_h, source_w, source_h)

    @property
    def scale_x(self) -> float:
        return self.new_w / self.source_w

    @property
    def scale_y(self) -> float:
        return self.new_h / self.source_h

    def boxes_to_input(self, boxes: Floats) -> Floats:
        """Pixels of the source -> pixels of the input."""
        factor, shift = self._affine()
        return np.asarray(boxes * factor + shift, np.float32)

    def boxes_to_source(self, boxes: Floats) -> Floats:
        """Pixels of the input -> pixels of the source; not clipped."""
        factor, shift = self._affine()
        return np.asarray((boxes - shift) / factor, np.float32)

    def _affine(self) -> tuple[np.ndarray, np.ndarray]:
        factor = np.array([self.scale_x, self.scale_y] * 2, np.float64)
        return factor, np.array([self.left, self.top] * 2, np.float64)
