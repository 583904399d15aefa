"""What each image of a batch will show, decided before a pixel is decoded.

Planned for a whole batch at once: between two decodings, which sweep the processor's caches, the same
arithmetic takes several times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..config import AugmentConfig
from ..letterbox import Letterbox
from .augment import Picture, Tile, augmented, letterboxed
from .draws import Draw, draw_rng
from .fitted import DecodedImages
from .mosaic import mosaic, tile_indices
from .sample import Floats, Ints, Sample
from .sizes import Size


@dataclass(frozen=True, eq=False)
class Plan:
    """One image: of which pictures it is made, and its truths, boxes in pixels of the input."""

    draw: Draw
    input_wh: Size
    tiles: list[tuple[int, Tile]]
    """A picture's place in the dataset, and what is shown of it. The draw's own comes first."""
    boxes: Floats
    labels: Ints
    place: Letterbox
    """Of the draw's own picture."""


class Planner:
    """Plans from draws: pure functions of the seed and the pictures' sizes."""

    def __init__(
        self,
        samples: Sequence[Sample],
        decoded: DecodedImages,
        augment: AugmentConfig | None,
        seed: int,
        use_difficult: bool,
    ) -> None:
        self._decoded = decoded
        self._augment = augment
        self._seed = seed
        self.truths = [_trained_on(sample, use_difficult) for sample in samples]
        """Boxes in pixels of the stored picture and labels, of each picture what is trained on."""

    def plain(self, draw: Draw, input_wh: Size) -> Plan:
        """The whole picture in its letterbox."""
        place = self._decoded.place(draw.index, input_wh)
        tile, boxes, labels = letterboxed(self._picture(draw.index, place), place)
        return Plan(draw, input_wh, [(draw.index, tile)], boxes, labels, place)

    def augmented(self, draw: Draw, input_wh: Size, unreadable: frozenset[int] = frozenset()) -> Plan:
        """``unreadable``: pictures in whose places a mosaic takes the next."""
        if self._augment is None:
            return self.plain(draw, input_wh)
        rng = draw_rng(self._seed, draw)
        place = self._decoded.place(draw.index, input_wh)
        # drawn whether or not it is used: the rest of the sample stays the same when mosaics end
        made_mosaic = rng.random() < self._augment.mosaic
        if not (draw.mosaic and made_mosaic):
            picture = self._picture(draw.index, place)
            tile, boxes, labels = augmented(picture, place, self._augment, rng)
            return Plan(draw, input_wh, [(draw.index, tile)], boxes, labels, place)
        drawn = tile_indices(rng, draw.index, len(self.truths))
        indices = [self._readable(index, unreadable) for index in drawn]
        pictures = [self._picture(index, self._decoded.place_reduced(index, input_wh)) for index in indices]
        tiles, boxes, labels = mosaic(pictures, input_wh, self._augment, rng)
        return Plan(draw, input_wh, list(zip(indices, tiles, strict=True)), boxes, labels, place)

    def _readable(self, index: int, unreadable: frozenset[int]) -> int:
        while index in unreadable:
            index = (index + 1) % len(self.truths)
        return index

    def _picture(self, index: int, place: Letterbox) -> Picture:
        boxes, labels = self.truths[index]
        factor = self._decoded.reduction(index)
        own = boxes if factor == 1 else boxes / boxes.dtype.type(factor)
        return Picture(self._decoded.size(index), own, labels, place.new_w, place.new_h, linear=place.stretch)


def _trained_on(sample: Sample, use_difficult: bool) -> tuple[Floats, Ints]:
    keep = ~sample.crowd if use_difficult else ~(sample.crowd | sample.difficult)
    return (sample.boxes, sample.labels) if keep.all() else (sample.boxes[keep], sample.labels[keep])
