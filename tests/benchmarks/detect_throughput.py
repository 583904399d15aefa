"""Pictures a second of ``detect`` against the bare network on ready inputs, in turn, in one process.

    python tests/benchmarks/detect_throughput.py FOLDER [--weights RUN|FILE] [--images 96] [--rounds 5]

"bare" runs the network alone on inputs already letterboxed, in the same batches; "detected" reads, decodes,
letterboxes, runs the network and suppresses; "saved" also draws and writes the pictures. Medians.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from engine.data.images import IMAGE_SUFFIXES, read_image
from engine.detecting import detect_pictures, suitable_batch
from engine.predictor import load_predictor
from tui.commands.detect import save_drawn


def main(
    folder: Path,
    weights: Annotated[str | None, typer.Option()] = None,
    images: int = 96,
    rounds: int = 5,
    batch: int = 0,
) -> None:
    paths = sorted(each for each in folder.iterdir() if each.suffix.lower() in IMAGE_SUFFIXES)
    paths = (paths * (images // len(paths) + 1))[:images]
    predictor = load_predictor(weights)
    batch = batch or suitable_batch(predictor)
    ready = [predictor.prepare(read_image(path)) for path in paths]
    out = Path(tempfile.mkdtemp())

    @torch.no_grad()
    def bare() -> None:
        compute = predictor.compute
        for start in range(0, len(ready), batch):
            inputs = torch.from_numpy(np.stack(ready[start : start + batch])).permute(0, 3, 1, 2)
            with compute.autocasting():
                predictor.model(inputs.to(compute.device).float().div_(255))
        if compute.device.type == "cuda":
            torch.cuda.synchronize()

    def one_by_one() -> None:
        for path in paths:
            predictor.detect([read_image(path)])

    def detected() -> None:
        for _ in detect_pictures(predictor, paths, batch=batch):
            pass

    def saved() -> None:
        found = detect_pictures(predictor, paths, batch=batch)
        for _ in save_drawn(found, predictor.classes, lambda path: out / path.name):
            pass

    ways: dict[str, Callable[[], None]] = {
        "bare": bare, "one by one": one_by_one, "detected": detected, "saved": saved
    }  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in ways}
    bare()
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - started)
    base = statistics.median(times["bare"])
    width, height = predictor.blueprint.input_wh
    print(f"{len(paths)} pictures at {width} x {height}, batches of {batch}, {predictor.compute.name}")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:>12}  {len(paths) / median:7.1f} pictures/s  {base / median:.3f} of bare")


if __name__ == "__main__":
    typer.run(main)
