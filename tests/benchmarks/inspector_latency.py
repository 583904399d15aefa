"""Key to painted frame in the inspector, with and without a training beside it.

    python tests/benchmarks/inspector_latency.py [--presses 200] [--batch 1]

Prints, for a 13x13x5x25 and a 76x76x3x85 prediction: the first paint, and p50 and p95 over the presses
(moves, jumps, anchors, quantities) from the key's arrival to the frame handed to the terminal. The first
paint alone is that of ``yolotui inspect``, from the start of its drawing; beside a training it is that of the
key ``i``, which opens the inspector over a program that is drawn already. That training is a small network
on the drawn demo set, in a thread of this process, on torch's own threads.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from textual.screen import Screen

sys.path.insert(0, str(Path(__file__).parents[2]))

from engine.config import Config
from engine.inspection.frames import built_in_decode
from engine.inspection.history import Timeline
from engine.layout import Head, Layout
from engine.runs.snapshot_ring import SnapshotRing
from engine.runs.snapshots import Snapshot, make_snapshot
from engine.training.session import Training
from tui.inspect.app import InspectApp
from tui.inspect.heatmap import HeatMap
from tui.inspect.sources import NoReference, Steps

PRESSES = ("l", "j", "l", "j", "h", "k", "l", "L", "J", "p", "w", "a", "c", "l", "j", "K", "H", "n", "g", "C")
STEPS = 3


def snapshot(size: int, anchors: int, classes: int, batch: int, step: int) -> Snapshot:
    """A step of random numbers: one head, a few truths an image, all tensors."""
    generator = torch.Generator().manual_seed(step)
    head = Head(
        size,
        size,
        416 // 13 if size == 13 else 8,
        torch.rand(anchors, 2, generator=generator) * 4 + 0.5,
        classes,
    )
    pred = torch.randn(batch, size, size, anchors, 5 + classes, generator=generator)
    targets = torch.zeros(batch, size, size, anchors, 8)
    for image in range(batch):
        for _ in range(12):
            y, x, a = (int(torch.randint(n, (1,), generator=generator)) for n in (size, size, anchors))
            box = [(x + 0.5) / size, (y + 0.5) / size, 0.2, 0.3]
            targets[image, y, x, a] = torch.tensor([1.0, 0.0, *box, 1.94, 0.5])
    layout = Layout()
    return make_snapshot(
        step=step,
        epoch=1,
        layout=layout,
        heads=(head,),
        pred=[pred],
        targets=[targets],
        decoded=[built_in_decode(layout)(pred, head)],
        grad=[pred * 0.01],
        maps={
            term: [torch.rand(batch, size, size, anchors, generator=generator)]
            for term in ("lcls", "lbox", "lobj")
        },
        images=torch.randint(
            256, (batch, 3, head.input_h, head.input_w), generator=generator, dtype=torch.uint8
        ),
        boxes=[targets[b][targets[b, ..., 0] > 0][:, 2:6] for b in range(batch)],
        labels=[
            torch.zeros(12, dtype=torch.int64)[: int((targets[b, ..., 0] > 0).sum())] for b in range(batch)
        ],
        terms={"lcls": 1.0, "lbox": 1.0, "lobj": 1.0},
        profile={"total": ["lcls", "lbox", "lobj"]},
    )


def steps_of(size: int, anchors: int, classes: int, batch: int) -> Steps:
    ring = SnapshotRing(2**32, 64)
    for step in range(1, STEPS + 1):
        ring.add(snapshot(size, anchors, classes, batch, step))
    return Steps("benchmark", Timeline(ring, None, NoReference().frame, kept=16), NoReference())


class Watched(InspectApp):
    """Notes when a frame has been handed to the driver."""

    painted = 0.0
    first = 0.0
    """When the first frame with the grid in it was handed over."""
    frames = 0
    over_another = False

    def get_default_screen(self) -> Screen[None]:  # type: ignore[override]
        return Screen() if self.over_another else super().get_default_screen()

    def _display(self, screen, renderable) -> None:  # type: ignore[no-untyped-def]
        super()._display(screen, renderable)
        self.painted = time.perf_counter()
        self.frames += 1
        if not self.first and any(grid._lines for grid in self.inspector.query(HeatMap)):
            self.first = self.painted


async def measure(
    steps: Steps, presses: int, size: tuple[int, int], over_another: bool
) -> tuple[float, list[float]]:
    """The first paint and each press' seconds."""
    started = time.perf_counter()
    app = Watched(steps, Path(tempfile.gettempdir()) / "inspector-latency.log")
    app.over_another = over_another
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        if over_another:
            await asyncio.sleep(0.5)
            started = time.perf_counter()
            app.push_screen(app.inspector)
        while app.inspector.inspection is None or not app.inspector.query("#grid"):
            await asyncio.sleep(0.001)
        await pilot.pause()
        first = app.first - started
        await asyncio.sleep(0.3)
        times = []
        for k in range(presses):
            before, at = app.frames, time.perf_counter()
            app.simulate_key(PRESSES[k % len(PRESSES)])
            while app.frames == before and time.perf_counter() - at < 2:
                await asyncio.sleep(0.0005)
            last = app.frames
            await asyncio.sleep(0.04)  # a key may paint more than once: its last frame counts
            while app.frames != last:
                last = app.frames
                await asyncio.sleep(0.04)
            if app.frames > before:
                times.append(app.painted - at)
        return first, times


def training(folder: Path) -> Training:
    config = Config.model_validate(
        {
            "data": {"format": "demo", "train": "train", "root": str(folder / "demo")},
            "model": {
                "name": "compact",
                "width": 16,
                "input_size": [160, 128],
                "strides": [8],
                "anchor_count": 3,
            },
            "loss": {
                "confidence": "bce",
                "box": "ciou",
                "classes": "bce",
                "reduction": "positives",
                "ignore_iou": 0.0,
            },
            "train": {"epochs": 1000, "batch_size": 8, "eval_every": 0},
        }
    )
    return Training(config, folder / "run", source=folder / "tiny.toml", code=None, resume=False)


def report(name: str, first: float, times: list[float]) -> None:
    ordered = sorted(times)
    p50, p95 = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
    print(
        f"{name:<42} first paint {first * 1e3:6.0f} ms   p50 {p50 * 1e3:5.1f} ms   p95 {p95 * 1e3:5.1f} ms"
        f"   max {ordered[-1] * 1e3:5.1f} ms   ({len(times)} presses)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presses", type=int, default=200)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", default="120x36", help="of the terminal")
    options = parser.parse_args()
    columns, rows = (int(n) for n in options.size.split("x"))
    grids = {"13x13x5x25": (13, 5, 20), "76x76x3x85": (76, 3, 80)}
    for beside in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            session = training(Path(folder)) if beside else None
            thread = threading.Thread(target=session.run, daemon=True) if session else None
            if thread:
                thread.start()
                time.sleep(3)
            for name, (size, anchors, classes) in grids.items():
                steps = steps_of(size, anchors, classes, options.batch)
                first, times = asyncio.run(measure(steps, options.presses, (columns, rows), beside))
                report(f"{name} {'beside a training' if beside else 'alone'}", first, times)
            if session and thread:
                session.control.stop()
                thread.join(30)


if __name__ == "__main__":
    main()
