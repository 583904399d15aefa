"""From iterations an epoch to the data set: the arithmetic that fits, as an inference."""

from __future__ import annotations

from dataclasses import dataclass

IMAGES = {
    "VOC2007 train": 2501,
    "VOC2007 val": 2510,
    "VOC2007 trainval": 5011,
    "VOC2007 test": 4952,
    "VOC2012 train": 5717,
    "VOC2012 val": 5823,
    "VOC2012 trainval": 11540,
    "VOC2007+2012 trainval": 16551,
    "COCO2014 train": 82783,
    "COCO2014 trainval35k": 117266,
    "COCO2017 train": 118287,
    "COCO2017 train, images with objects": 117266,
    "COCO128": 128,
    "KITTI object training": 7481,
    "WIDER FACE train": 12880,
    "VisDrone2019-DET train": 6471,
    "CrowdHuman train": 15000,
    "Cityscapes fine train": 2975,
}
"""Sets of detection by their numbers of images with annotations."""
BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 100, 120, 128, 160, 192, 256, 512)


@dataclass(frozen=True)
class Fit:
    name: str
    images: int
    batch: int
    last_batch: int
    """Images in the last batch; 0 where it is dropped."""

    def arithmetic(self, iterations: int) -> str:
        if self.last_batch == 0:
            return f"{self.images:,} / {self.batch} = {self.images / self.batch:.2f}, the last batch dropped"
        if self.last_batch == self.batch:
            return f"{iterations} x {self.batch} = {self.images:,}"
        whole = iterations - 1
        return f"{self.images:,} = {whole} x {self.batch} + {self.last_batch}"


def fits(iterations: int, batch: int | None = None) -> list[Fit]:
    """Data sets and batch sizes of which ``iterations`` make an epoch, where no batch is dropped first."""
    found = []
    for name, images in IMAGES.items():
        for size in (batch,) if batch else BATCHES:
            if -(-images // size) == iterations:
                found.append(Fit(name, images, size, images - (iterations - 1) * size))
            elif images // size == iterations:
                found.append(Fit(name, images, size, 0))
    return sorted(found, key=lambda fit: fit.last_batch == 0)


def expected_by_chance(iterations: int) -> float:
    """How many sets would fit ``iterations`` if sizes meant nothing: batches are tried, so small counts fit
    something nearly always."""
    return sum(
        1 / iterations
        for size in BATCHES
        for images in IMAGES.values()
        if 0.5 < images / size / iterations < 2
    )
