"""What recording costs a loop that is not ours: blocks of steps with and without, in turn, in one process.

    python tests/benchmarks/recorder_cost.py [--size 320] [--batch 8] [--width 16] [--seconds 60]

Prints CPU microseconds a step, on the loop's thread and on the recorder's own two, and their share of a step;
and the ratio of the wall times of neighbouring blocks, whose quartiles say what it can tell. Prediction,
targets, images, truths, model and optimizer are all handed over; the training contracts' first look and the
first step are over before anything is measured.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from yolotui import watch

ANCHORS = [(1.3, 1.7), (3.2, 4.0), (5.1, 8.1), (9.5, 4.8), (11.2, 10.0)]
CLASSES, STRIDE, WARM = 20, 32, 60
DEPTH = 5 + CLASSES


def build(width: int) -> nn.Module:
    layers: list[nn.Module] = []
    sizes = [3, width, 2 * width, 4 * width, 8 * width, 16 * width]
    for into, out in pairwise(sizes):
        layers += [nn.Conv2d(into, out, 3, 2, 1, bias=False), nn.BatchNorm2d(out), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers, nn.Conv2d(sizes[-1], len(ANCHORS) * DEPTH, 1))


class Loop:
    """Somebody's: ``pred`` is ``[B, A * 25, H, W]``, ``targets`` ``[B, A * 6, H, W]``."""

    def __init__(self, size: int, batch: int, width: int) -> None:
        torch.manual_seed(0)
        self.model, self.grid = build(width), size // STRIDE
        self.optimizer = torch.optim.SGD(self.model.parameters(), 1e-4, momentum=0.9)
        self.batches = [self._batch(size, batch) for _ in range(8)]

    def _batch(self, size: int, batch: int) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
        targets = torch.zeros(batch, len(ANCHORS), 6, self.grid, self.grid)
        boxes, labels = [], []
        for b in range(batch):
            y, x = (int(v) for v in torch.randint(self.grid, (2,)))
            targets[b, b % len(ANCHORS), :, y, x] = torch.tensor([1.0, b % CLASSES, 0.5, 0.5, 0.3, 0.3])
            boxes.append(torch.tensor([[(x + 0.5) / self.grid, (y + 0.5) / self.grid, 0.3, 0.3]]))
            labels.append(torch.tensor([b % CLASSES]))
        return torch.rand(batch, 3, size, size), targets.flatten(1, 2), boxes, labels

    def step(self, number: int) -> dict[str, object]:
        images, targets, boxes, labels = self.batches[number % len(self.batches)]
        images = images.clone()  # a loader hands out new ones
        pred = self.model(images)
        slots = pred.unflatten(1, (len(ANCHORS), DEPTH))
        truth = targets.unflatten(1, (len(ANCHORS), 6))
        mask = truth[:, :, 0]
        losses = {
            "lobj": ((slots[:, :, 0].sigmoid() - mask) ** 2).sum() / len(pred),
            "lbox": (((slots[:, :, 1:5] - truth[:, :, 2:6]) ** 2).sum(2) * mask).sum() / len(pred),
            "lcls": ((slots[:, :, 5:].logsumexp(2) - slots[:, :, 5]) * mask).sum() / len(pred),
        }
        losses["total"] = losses["lobj"] + losses["lbox"] + losses["lcls"]
        self.optimizer.zero_grad()
        losses["total"].backward()
        self.optimizer.step()
        return {
            "losses": losses,
            "images": images,
            "targets": targets,
            "pred": pred,
            "boxes": boxes,
            "labels": labels,
        }


def others() -> float:
    """CPU seconds of the recorder's own threads."""
    names = ("yolotui-recorder", "run-store")
    threads = [each for each in threading.enumerate() if each.name in names]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(each.ident)) for each in threads if each.ident)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--block", type=float, default=5.0, help="seconds of a block")
    options = parser.parse_args()
    loop = Loop(options.size, options.batch, options.width)
    layout = {
        "order": "b (a c) y x",
        "target": ["mask", "class", "x", "y", "w", "h"],
        "target_xy": "cell",
    }
    head = {"grid": loop.grid, "stride": STRIDE, "anchors": ANCHORS, "classes": CLASSES}
    run = watch(
        Path(tempfile.mkdtemp()) / "run",
        layout,
        head,
        model=loop.model,
        optimizer=loop.optimizer,
        steps_per_epoch=100,
    )
    for number in range(WARM):
        run.step(**loop.step(number))  # type: ignore[arg-type]
    time.sleep(1.5)
    began, spent, recorded = time.perf_counter(), 0.0, 0
    own: list[float] = []
    walls: dict[bool, list[float]] = {True: [], False: []}
    number = 0
    recording = True
    while time.perf_counter() - began < options.seconds:
        started, steps, before = time.perf_counter(), 0, others()
        while time.perf_counter() - started < options.block:
            given = loop.step(number)
            if recording:
                cpu = time.thread_time()
                run.step(**given)  # type: ignore[arg-type]
                own.append(time.thread_time() - cpu)
                recorded += 1
            number += 1
            steps += 1
        spent += (others() - before) * recording
        walls[recording].append((time.perf_counter() - started) / steps)
        recording = not recording
    pairs = list(zip(walls[True], walls[False], strict=False))
    ratios = sorted(a / b for a, b in pairs)
    step = statistics.median(walls[False])
    here, there = statistics.mean(own) * 1e6, spent / recorded * 1e6
    print(
        f"{options.batch} images of {options.size} px, width {options.width}, {torch.get_num_threads()} "
        f"thread(s): step {step * 1e3:.2f} ms, {recorded} of {number} recorded"
    )
    print(
        f"loop's thread {here:.0f} us (median {statistics.median(own) * 1e6:.0f}), recorder's {there:.0f} us"
    )
    print(f"share of a step: {(here + there) / step / 1e4:.2f} % of its wall time on one core")
    print(
        f"wall, with over without, {len(pairs)} pairs of blocks: median {statistics.median(ratios):.4f} "
        f"(quartiles {ratios[len(ratios) // 4]:.4f} to {ratios[3 * len(ratios) // 4]:.4f})"
    )
    run.close()


if __name__ == "__main__":
    main()
