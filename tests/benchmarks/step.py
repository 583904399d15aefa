"""What a training step costs beyond a bare one: the same network, loss and optimizer in a plain loop.

    python tests/benchmarks/step.py CONFIG [--set a.b=c ...] [--steps 40] [--formats]

*bare* is images to float, forward, the same loss, backward, optimizer: what anybody would write. *step* is
the trainer's: the same, and the norm of the gradient, clipping, averaged weights, the guard against
non-finite values. *loop* is the trainer's whole training, headless and recorded, loading included; it is held
against the bare loop over the same loader. The first two alternate step by step on the same batches, the last
two in turns.

``--formats``: instead, the bare step in both memory formats, in full precision and in bf16, at each number of
threads.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
import threading
import time
from dataclasses import replace
from itertools import groupby, islice, pairwise
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn

from engine.config import Config, load_config
from engine.data.batches import Batch
from engine.learning.optimizer import build_optimizer
from engine.runs import events as ev
from engine.training.session import Training
from engine.training.setup import Parts, put_together
from engine.training.step import Stepper, as_float

SEEN = 10**9
"""Images: beyond what a loss does only at first."""


class Bare:
    def __init__(
        self,
        model: nn.Module,
        parts: Parts,
        config: Config,
        memory_format: torch.memory_format,
        autocast: torch.dtype | None,
    ) -> None:
        self.compute = replace(parts.compute, autocast=autocast)
        self.memory_format = memory_format
        self.model = model.to(self.compute.device, memory_format=memory_format).train()  # type: ignore[call-overload]
        self.detector = parts.blueprint.detector(parts.user).to(self.compute.device)
        self.optimizer = build_optimizer(self.model, config.train, self.compute.device)

    def step(self, batch: Batch, seen: int) -> None:
        moved = batch.to(self.compute.device, non_blocking=True)
        images = moved.images.to(torch.float32, memory_format=self.memory_format) / 255
        with self.compute.autocasting():
            pred = as_float(self.model(images))
        total = self.detector.loss(pred, moved.targets, seen=seen)["total"]
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def quartiles(ratios: list[float]) -> str:
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.3f} (quartiles {low:.3f} to {high:.3f})"


def paired(parts: Parts, config: Config, batches: list[Batch], steps: int) -> None:
    compute = parts.compute
    bare = Bare(copy.deepcopy(parts.model), parts, config, compute.memory_format, compute.autocast)
    stepper = Stepper(parts.model, parts.blueprint.detector(parts.user), config.train, parts.compute)
    stepper.expect(config.train.epochs * parts.loader.steps_per_epoch)
    device = parts.compute.device

    block = 10 if device.type == "cuda" else 1  # a GPU works on while the host prepares the next step

    def timed(ours: bool, number: int) -> float:
        started = time.perf_counter()
        for batch in (batches[(number + step) % len(batches)] for step in range(block)):
            if ours:
                stepper.step(batch, 1e-6, SEEN)
            else:
                bare.step(batch, SEEN)
        wait(device)
        return (time.perf_counter() - started) / block

    pairs: list[tuple[float, float]] = []
    for number in range(steps // block + 3):
        first = bool(number % 2)  # whichever comes second finds the batch in the cache
        a, b = timed(first, number), timed(not first, number)
        pairs.append((a, b) if first else (b, a))
    pairs = pairs[3:]
    ours, plain = (statistics.median(column) / len(batches[0]) * 1e3 for column in zip(*pairs, strict=True))
    print(f"bare {plain:.2f} ms an image, step {ours:.2f}; ratio {quartiles([a / b for a, b in pairs])}")


def whole_loop(config: Config, source: Path, steps: int, turns: int) -> None:
    """Images a second of the trainer's loop and of a bare one over its loader, after a few steps each."""
    rows = []
    for number in range(turns):
        order = (True, False) if number % 2 else (False, True)
        found = {ours: (_trained if ours else _plain)(config, source, steps) for ours in order}
        rows.append((found[True], found[False]))
        print(f"turn {number + 1}: bare {found[False]:.1f} img/s, loop {found[True]:.1f} img/s")
    ratio = statistics.median(plain / ours for ours, plain in rows)
    print(f"whole loop: time an image over the bare loop's {ratio:.3f}, median of {turns} turns")


WARM = 4
TOGETHER = 0.003
"""Seconds between two steps that were read one right after the other."""


def _plain(config: Config, _: Path, steps: int) -> float:
    parts = put_together(config)
    bare = Bare(parts.model, parts, config, parts.compute.memory_format, parts.compute.autocast)
    images, seen, started = 0, 0, 0.0
    for number, batch in enumerate(parts.loader.train_batches(0, steps + WARM), 1):
        bare.step(batch, seen)
        seen += len(batch)
        if number > WARM:
            images += len(batch)
        else:
            wait(parts.compute.device)
            started = time.perf_counter()
    wait(parts.compute.device)
    seconds = time.perf_counter() - started
    parts.close()
    return images / seconds


class Clock:
    """A subscriber that keeps when each step became known."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int, int]] = []
        """Time, epoch, images."""

    def push(self, _: int, event: ev.Event) -> None:
        if isinstance(event, ev.StepDone):
            self.seen.append((time.perf_counter(), event.epoch, event.images))

    def rate(self) -> float:
        """Images a second within epochs; checkpoints, at most 2 % of a run, are written between them."""
        images, seconds = 0, 0.0
        for _, found in groupby(self.seen[WARM:], key=lambda row: row[1]):
            rows = list(found)
            # steps that became known together count from then on
            start = next((k for k, (a, b) in enumerate(pairwise(rows)) if b[0] - a[0] > TOGETHER), None)
            if start is not None:
                images += sum(count for *_, count in rows[start + 1 :])
                seconds += rows[-1][0] - rows[start][0]
        return images / seconds


def _trained(config: Config, source: Path, steps: int) -> float:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        training = Training(config, Path(folder) / "run", source=source, code=None, resume=False)
        training.feed._subscriptions.append(clock)  # type: ignore[arg-type]
        threading.Thread(target=_stop_after, args=(training, clock, steps + WARM), daemon=True).start()
        training.run()
    return clock.rate()


def _stop_after(training: Training, clock: Clock, steps: int) -> None:
    while len(clock.seen) < steps:
        time.sleep(0.05)
    training.control.stop()


FORMATS = {
    "fp32 contiguous": (torch.contiguous_format, None),
    "fp32 channels_last": (torch.channels_last, None),
    "bf16 contiguous": (torch.contiguous_format, torch.bfloat16),
    "bf16 channels_last": (torch.channels_last, torch.bfloat16),
}


def formats(parts: Parts, config: Config, batches: list[Batch], steps: int) -> None:
    """One line a kind of step and number of threads, against the first kind of the same turns."""
    most = torch.get_num_threads()
    for threads in sorted({1, most}):
        torch.set_num_threads(threads)
        loops = {
            name: Bare(copy.deepcopy(parts.model), parts, config, *kind) for name, kind in FORMATS.items()
        }
        times: dict[str, list[float]] = {name: [] for name in FORMATS}
        for number in range(steps + 2):
            for name in FORMATS if number % 2 else reversed(FORMATS):
                started = time.perf_counter()
                loops[name].step(batches[number % len(batches)], SEEN)
                wait(parts.compute.device)
                times[name].append(time.perf_counter() - started)
        plain = next(iter(times.values()))[2:]
        for name, values in times.items():
            each = statistics.median(values[2:]) / len(batches[0]) * 1e3
            ratio = statistics.median(a / b for a, b in zip(values[2:], plain, strict=True))
            print(f"{threads} thread(s), {name}: {each:.2f} ms an image, {ratio:.2f}")


def main(
    config: Path,
    overrides: Annotated[list[str] | None, typer.Option("--set")] = None,
    steps: int = 40,
    loop_steps: Annotated[int, typer.Option(help="Steps a turn of the whole loop; 0: leave it out.")] = 200,
    turns: int = 4,
    formats_: Annotated[bool, typer.Option("--formats")] = False,
) -> None:
    more = ["data.val=", "train.minutes=0", "train.epochs=1000", *(overrides or [])]
    values = load_config(config, more)
    parts = put_together(values)
    batches = list(islice(parts.loader.train_batches(0, 8), 8))
    size = "x".join(map(str, values.model.input_wh))
    print(f"{parts.compute.name}; {values.model.name} at {size}, batch {values.train.batch_size}")
    if formats_:
        formats(parts, values, batches, steps)
        return
    paired(parts, values, batches, steps)
    parts.close()
    if loop_steps:
        whole_loop(values, config, loop_steps, turns)


if __name__ == "__main__":
    typer.run(main)
