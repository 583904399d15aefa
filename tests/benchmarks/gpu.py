"""The trainer on a GPU, in one command: YOLOv2 at 416 px on synthetic JPEGs, batch 16 and 64.

    python tests/benchmarks/gpu.py [--batches 16,64] [--steps 100] [--workers 16] [--rounds 2]

For each batch size: the trainer's step against the bare one (see ``step.py``), a captured step against one
that is not, images a second and memory, what the loading processes give alone, and the live view on against
off (``live_view_tax.py``: whole runs in fresh processes, loading included). The pictures are drawn here, of
VOC's size. Without a CUDA device it says so and ends with status 2; ``--device cpu --size 96 --steps 3`` runs
the same code to see that it works.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parent))
from step import SEEN, paired, quartiles, wait

from engine.config import Config, load_config
from engine.data.batches import Batch, BatchLoader
from engine.runs import events as ev
from engine.training.capture import Captures
from engine.training.setup import Parts, put_together
from engine.training.step import Stepper

VOC = Path(__file__).resolve().parents[2] / "configs" / "voc.toml"
WIDE, HIGH = 500, 375
DRAWN = 512
BLOCK = 10
"""Steps timed at once: a GPU works on while the host prepares the next."""
KINDS = (("JPEGImages", ".jpg"), ("Annotations", ".xml"))


def draw(root: Path, images: int, classes: tuple[str, ...]) -> None:
    """A VOC folder of noisy pictures that take as long to decode as photographs do, 2.4 objects each. Beyond
    ``DRAWN`` the same pictures again, under names of their own."""
    rng = np.random.default_rng(0)
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for number in range(images):
        files = [root / folder / f"{number:06}{end}" for folder, end in KINDS]
        if number < DRAWN:
            _draw_one(*files, rng, classes)
            continue
        for file in files:
            os.link(file.with_stem(f"{number % DRAWN:06}"), file)
    names = "\n".join(f"{number:06}" for number in range(images))
    (root / "ImageSets" / "Main" / "trainval.txt").write_text(names + "\n")


def _draw_one(jpg: Path, xml: Path, rng: np.random.Generator, classes: tuple[str, ...]) -> None:
    coarse = rng.integers(0, 255, (12, 16, 3), np.uint8)
    picture = cv2.resize(coarse, (WIDE, HIGH), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    picture += rng.normal(0, 9, picture.shape).astype(np.int16)
    objects = ""
    for _ in range(1 + rng.poisson(1.4)):
        w, h = np.exp(rng.uniform(np.log(24), np.log(300), 2)).astype(int)
        x, y = rng.integers(0, WIDE - w), rng.integers(0, HIGH - h)
        kind = int(rng.integers(len(classes)))
        picture[y : y + h, x : x + w] = (picture[y : y + h, x : x + w] + 12 * kind) // 2
        box = f"<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
        objects += f"<object><name>{classes[kind]}</name><bndbox>{box}</bndbox></object>"
    cv2.imwrite(str(jpg), picture.clip(0, 255).astype(np.uint8))
    size = f"<size><width>{WIDE}</width><height>{HIGH}</height><depth>3</depth></size>"
    xml.write_text(f"<annotation>{size}{objects}</annotation>")


def captured(parts: Parts, config: Config, batches: list[Batch], steps: int, folder: Path) -> None:
    """Blocks of steps that keep every tensor, in all and in one of ten, against blocks that keep none, in
    turn on the same batches."""
    stepper = Stepper(parts.model, parts.blueprint.detector(parts.user), config.train, parts.compute)
    events: list[ev.Event] = []
    captures = Captures(config.capture, parts.blueprint, parts.user, folder, events.append)

    def timed(every: int) -> float:
        started = time.perf_counter()
        for step in range(1, BLOCK + 1):
            keep = bool(every) and step % every == 0
            result = stepper.step(batches[step % len(batches)], 1e-6, SEEN, keep)
            if result.captured is not None:
                captures.take(result.captured, step, 1)
        wait(parts.compute.device)
        return (time.perf_counter() - started) / BLOCK

    kinds = (0, 1, BLOCK)
    rounds = [
        {every: timed(every) for every in (kinds if number % 2 else kinds[::-1])}
        for number in range(2 + steps // BLOCK)
    ][2:]
    plain = statistics.median(times[0] for times in rounds)
    for every in kinds[1:]:
        ratios = [times[every] / times[0] for times in rounds]
        print(f"  every {every}. step captured against none ({plain * 1e3:.1f} ms): {quartiles(ratios)}")
    memory = parts.compute.memory_used() / 2**30
    print(f"  {len(batches[0]) / plain:.0f} img/s; memory {memory:.2f} GiB")


def loading(loader: BatchLoader, batches: int) -> None:
    stream = loader.train_batches(0, 10**9)
    for _ in islice(stream, 8):  # the processes start
        pass
    started, images = time.perf_counter(), 0
    for batch in islice(stream, batches):
        images += len(batch)
    print(f"  loading alone {images / (time.perf_counter() - started):.0f} img/s")
    stream.close()  # type: ignore[attr-defined]


def main(
    batches: str = "16,64",
    steps: int = 100,
    size: int = 416,
    workers: Annotated[int, typer.Option(help="Loading processes, at most a core each.")] = 16,
    rounds: Annotated[int, typer.Option(help="Rounds of live view on and off; 0: leave it out.")] = 2,
    device: str = "cuda",
) -> None:
    if device != "cpu" and not torch.cuda.is_available():
        print("no CUDA device here: --device cpu --size 96 --steps 3 shows that this runs", file=sys.stderr)
        raise typer.Exit(2)
    workers = min(workers, len(os.sched_getaffinity(0))) if device != "cpu" else 0
    classes = tuple(load_config(VOC).data.classes)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for size_of_batch in [int(each) for each in batches.split(",")]:
            pictures = root / f"voc-{size_of_batch}"
            draw(pictures, size_of_batch * max(5 * steps // 2, 8), classes)
            overrides = [
                f"data.root={pictures}",
                "data.cache=none",
                f"model.input_size={size}",
                f"train.batch_size={size_of_batch}",
                f"train.workers={workers}",
                f"train.device={device}",
                "train.epochs=3",
            ]
            values = load_config(VOC, overrides)
            parts = put_together(values)
            precision = parts.compute.autocast or torch.float32
            print(f"{parts.compute.name}, {precision}, yolov2 at {size}, batch {size_of_batch}", flush=True)
            ready = list(islice(parts.loader.train_batches(0, 8), 8))
            paired(parts, values, ready, steps)
            captured(parts, values, ready, steps, root)
            loading(parts.loader, max(4, steps // 2))
            parts.close()
            if rounds > 1:
                command = [sys.executable, str(Path(__file__).with_name("live_view_tax.py")), str(VOC)]
                more = [f"--set={each}" for each in overrides]
                print("  live view on against off, whole runs:", flush=True)
                subprocess.run([*command, *more, f"--rounds={rounds}"], check=True)


if __name__ == "__main__":
    typer.run(main)
