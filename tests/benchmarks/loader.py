"""What loading costs beyond decoding: images a second of the training loader, and of decoding alone.

    python tests/benchmarks/loader.py CONFIG [--set a.b=c ...] [--size 416] [--workers 0] [--against PYTHON]

Nothing is cached, unless ``--cached``. ``--workers 0``: both in one thread on one core; else both in that
many processes, through the same ``DataLoader``. *decode* is ``cv2.imdecode`` of the files' content and
nothing else. Rounds alternate; the figures are medians, the ratio that of each round's pair. An image is a
training image: a mosaic is one and decodes four pictures; both ratios are printed.

``--against``: an interpreter with ``ultralytics`` installed. Its training loader, augmentation and batch of
its defaults, takes its turn in every round on the same pictures, in as many processes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import torch
import typer
from torch.utils.data import DataLoader

from engine.config import Config, load_config
from engine.data.batches import BatchLoader
from engine.data.draws import draw_rng, step_draws
from engine.data.opening import open_split
from engine.data.sample import Dataset
from engine.training.setup import put_together

THEIRS = """
import sys, time
root, size, batch, workers, images = sys.argv[1], *map(int, sys.argv[2:6])
import cv2, torch
torch.set_num_threads(1)
cv2.setNumThreads(0)
from ultralytics.cfg import get_cfg
from ultralytics.data.build import build_dataloader, build_yolo_dataset
cfg = get_cfg(overrides={"imgsz": size, "task": "detect", "cache": False})
data = {"names": {k: str(k) for k in range(1000)}, "nc": 1000, "channels": 3}
dataset = build_yolo_dataset(cfg, root, batch, data, mode="train", stride=32)
loader = build_dataloader(dataset, batch, workers, shuffle=True)
def stream():
    while True:
        yield from loader
batches = stream()
for _ in range(2 + 2 * workers):
    next(batches)
print("ready", flush=True)
for line in sys.stdin:
    done, started = 0, time.perf_counter()
    while done < images:
        done += len(next(batches)["img"])
    print("rate", done / (time.perf_counter() - started), flush=True)
"""


class Files:
    """Decoding alone, a batch at a time."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __getitems__(self, indices: list[int]) -> int:
        for index in indices:
            cv2.imdecode(np.fromfile(self.paths[index], np.uint8), cv2.IMREAD_COLOR)
        return len(indices)


class Theirs:
    """The other loader, in a process of its own that waits for its turn."""

    def __init__(
        self, python: str, dataset: Dataset, size: int, batch: int, workers: int, images: int
    ) -> None:
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        (root / "images").mkdir()
        (root / "labels").mkdir()
        # its mosaics keep eight batches decoded: of a set no larger than that it would decode nothing
        copies = -(-32 * batch // len(dataset))
        for number, sample in enumerate(dataset.samples * copies):
            (root / "images" / f"{number:06}{sample.path.suffix}").symlink_to(sample.path)
            low, high = sample.boxes[:, :2], sample.boxes[:, 2:]
            rows = np.concatenate(((low + high) / 2, high - low), 1) / ([sample.width, sample.height] * 2)
            lines = [
                f"{label} {' '.join(map(str, row))}" for label, row in zip(sample.labels, rows, strict=True)
            ]
            (root / "labels" / f"{number:06}.txt").write_text("\n".join(lines))
        arguments = [str(root / "images"), *map(str, (size, batch, workers, images))]
        self.process = subprocess.Popen(
            [python, "-c", THEIRS, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answer("ready")

    def rate(self) -> float:
        assert self.process.stdin is not None
        print("go", file=self.process.stdin, flush=True)
        return float(self._answer("rate"))

    def _answer(self, word: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return line.removeprefix(word)
        raise SystemExit("the other loader ended: run it by hand to see why")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


def decoding(dataset: Dataset, batch: int, workers: int) -> Iterator[int]:
    files = Files([sample.path for sample in dataset.samples])
    order = [list(range(start, min(start + batch, len(dataset)))) for start in range(0, len(dataset), batch)]
    if workers == 0:
        while True:
            yield from map(files.__getitems__, order)
    endless = (indices for _ in iter(int, 1) for indices in order)
    loader: Any = DataLoader(
        files,  # type: ignore[arg-type]
        batch_sampler=endless,  # type: ignore[arg-type]
        collate_fn=_same,
        num_workers=workers,
        prefetch_factor=4,
        worker_init_fn=_one_thread,
    )
    yield from loader


def _same(value: Any) -> Any:
    return value


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)


def pictures_per_image(config: Config, dataset: Dataset) -> float:
    """How many pictures a training image is made of, on the mean."""
    draws = [draw for batch in step_draws(0, len(dataset), 16, 0, 100, 0) for draw in batch]
    mosaics = sum(draw_rng(0, draw).random() < config.augment.mosaic for draw in draws)
    return 1 + 3 * mosaics / len(draws)


def rate(batches: Iterator[Any], images: int, count: Callable[[Any], int]) -> float:
    done, started = 0, time.perf_counter()
    while done < images:
        done += count(next(batches))
    return done / (time.perf_counter() - started)


def main(
    config: Path,
    overrides: Annotated[list[str] | None, typer.Option("--set")] = None,
    root: Annotated[Path | None, typer.Option(help="In the place of the config's data.root.")] = None,
    size: Annotated[int, typer.Option(help="Input side in pixels; 0: the config's own.")] = 416,
    workers: int = 0,
    images: Annotated[int, typer.Option(help="Images a turn.")] = 600,
    rounds: int = 5,
    cached: bool = False,
    against: str = "",
) -> None:
    if workers == 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    more = [*(overrides or []), f"train.workers={workers}", f"data.cache={'ram' if cached else 'none'}"]
    more += [f"model.input_size={size}"] if size else []
    more += [f"data.root={root}"] if root else []
    values = load_config(config, more)
    dataset = open_split(values.data, values.data.train)
    parts = put_together(values)
    loader: BatchLoader = parts.loader
    batch = values.train.batch_size
    ours = loader.train_batches(0, 10**9)
    decoded = decoding(dataset, batch, workers)
    theirs = Theirs(against, dataset, max(values.model.input_wh), batch, workers, images) if against else None
    for stream in (ours, decoded):
        for _ in islice(stream, len(dataset) // batch if cached else 2 + 4 * workers):
            pass
    rows: list[tuple[float, ...]] = []
    for number in range(rounds):
        turns = {
            "decode": lambda: rate(decoded, images, int),
            "ours": lambda: rate(ours, images, len),
            **({"theirs": theirs.rate} if theirs else {}),
        }
        names = list(turns) if number % 2 else list(reversed(turns))
        found = {name: turns[name]() for name in names}
        rows.append(tuple(found[name] for name in turns))
        print(f"round {number + 1}: " + ", ".join(f"{name} {found[name]:.0f}/s" for name in turns))
    parts.close()
    median = [statistics.median(column) for column in zip(*rows, strict=True)]
    ratio = statistics.median(row[1] / row[0] for row in rows)
    pictures = pictures_per_image(values, dataset)
    where = f"{workers} processes" if workers else "one core"
    width, height = values.model.input_wh
    kept = "cached" if cached else "uncached"
    print(f"{config.name}, {len(dataset)} images at {width}x{height}, {where}, {kept}")
    print(f"decode alone {median[0]:.0f} img/s; loader {median[1]:.0f} img/s of {pictures:.2f} pictures each")
    print(f"ratio {ratio:.2f} by images, {ratio * pictures:.2f} by pictures decoded")
    if theirs:
        gain = statistics.median(row[1] / row[2] for row in rows)
        print(f"ultralytics {median[2]:.0f} img/s; ours is {gain:.1f} times as fast")
        theirs.close()


if __name__ == "__main__":
    typer.run(main)
