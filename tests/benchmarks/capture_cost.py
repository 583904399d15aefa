"""What capturing every step costs: steps with and without, in turn, on one network and the same batches.

    python tests/benchmarks/capture_cost.py CONFIG [--set a.b=c ...] [--steps 60]

Prints the medians, and the ratio of each captured step to its neighbour without; a captured step includes
the snapshot's way into the ring.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Annotated

import torch
import typer

from engine.config import load_config
from engine.runs import events as ev
from engine.training.capture import Captures
from engine.training.setup import put_together
from engine.training.step import Stepper


def main(
    config: Path,
    overrides: Annotated[list[str] | None, typer.Option("--set")] = None,
    steps: int = 60,
) -> None:
    values = load_config(config, overrides or [])
    parts = put_together(values)
    stepper = Stepper(parts.model, parts.blueprint.detector(parts.user), values.train, parts.compute)
    events: list[ev.Event] = []
    folder = Path(tempfile.mkdtemp())
    captures = Captures(values.capture, parts.blueprint, parts.user, folder, events.append)
    batches = list(islice(parts.loader.train_batches(0, steps), steps))
    stepper.find_terms(batches[0])

    def timed(batch: object, capture: bool, number: int) -> float:
        started = time.perf_counter()
        result = stepper.step(batch, 1e-6, 0, capture)  # type: ignore[arg-type]
        if result.captured is not None:
            captures.take(result.captured, number, 1)
        if parts.compute.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    for batch in batches[:5]:
        timed(batch, True, 0)
    pairs = []
    for number, batch in enumerate(batches):
        first = bool(number % 2)  # whichever comes second has a warmer cache
        a = timed(batch, first, number)
        b = timed(batch, not first, number)
        pairs.append((a, b) if first else (b, a))
    on, off = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(captured / plain for captured, plain in pairs)
    middle = statistics.median(ratios)
    low, high = ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]
    print(f"{parts.compute.name}; {values.model.name}, batch {values.train.batch_size}, {len(pairs)} pairs")
    print(
        f"step {off * 1e3:.1f} ms, captured {on * 1e3:.1f} ms, "
        f"ratio {middle:.3f} (quartiles {low:.3f} to {high:.3f})"
    )
    print(f"ring: {len(captures.ring)} steps")


if __name__ == "__main__":
    typer.run(main)
