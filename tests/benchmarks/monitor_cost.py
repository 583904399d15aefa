"""What the monitors cost a step: CPU time of steps with and without, in turn, on the same batches.

    python tests/benchmarks/monitor_cost.py CONFIG [--set a.b=c ...] [--steps 60]

A step that is looked at costs more, and most are not: the cost of one look, plain or with the terms'
gradients, is the median difference of paired steps, and the cost a step is that over the steps between two
looks. The host's part at every step (labels counted, the total compared) is measured by itself.
"""

from __future__ import annotations

import statistics
import time
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from engine.config import load_config
from engine.data.batches import Batch
from engine.doctor.monitors import Monitors, Setting
from engine.doctor.monitors.watch import EVERY, SHARE, TERMS_EVERY, Look
from engine.runs import events as ev
from engine.training.setup import put_together
from engine.training.step import Stepper


def main(
    config: Path,
    overrides: Annotated[list[str] | None, typer.Option("--set")] = None,
    steps: int = 40,
) -> None:
    torch.set_num_threads(1)
    values = load_config(config, overrides or [])
    parts = put_together(values)
    stepper = Stepper(parts.model, parts.blueprint.detector(parts.user), values.train, parts.compute)
    batches = list(islice(parts.loader.train_batches(0, steps), steps))
    stepper.find_terms(batches[0])
    setting = Setting(
        parts.blueprint.classes,
        stepper.term_names,
        tuple(values.loss.total),
        values.loss.objectness,
        parts.loader.steps_per_epoch,
        0,
        values.train.lr,
    )
    found: list[ev.Event] = []
    monitors = Monitors(setting, stepper.detector, stepper.model, stepper.optimizer, found.append)
    cuda = parts.compute.device.type == "cuda"

    def clock() -> float:
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() if cuda else time.process_time()

    def step(batch: Batch, number: int, look: Look | None) -> float:
        started = clock()
        result = stepper.step(batch, 1e-6, 0, False, look)
        row = result.record.tolist()
        if look is not None:
            monitors._looks[number] = look
            width = len(stepper.term_names) + 1
            monitors.take(done(number, row, batch), row[width:])
        return clock() - started

    def done(number: int, row: list[float], batch: Batch) -> ev.StepDone:
        terms = dict(zip(stepper.term_names, row, strict=False))
        grad_norm = row[len(stepper.term_names)]
        return ev.StepDone(number, 1, number, 1e-6, terms, grad_norm, len(batch), batch.objects, 0.0, 0.2, 0)

    def look(number: int, batch: Batch, terms: bool) -> Look:
        made = Look(monitors, number, 1e-6, terms)
        made.truths = monitors._count(batch.labels)
        return made

    plain: list[float] = []
    extra: dict[bool, list[float]] = {False: [], True: []}
    for number, batch in enumerate(batches, 1):
        terms = number % 2 == 0
        pair: dict[bool, float] = {}
        for watched in (False, True) if number % 4 < 2 else (True, False):
            pair[watched] = step(batch, number, look(number, batch, terms) if watched else None)
        if number > 4:
            plain.append(pair[False])
            extra[terms].append(pair[True] - pair[False])
    usual = statistics.median(plain)
    sample, with_terms = (statistics.median(extra[terms]) for terms in (False, True))
    host = _host(monitors, batches, done, stepper)
    every = max(EVERY, int(sample / (SHARE * usual)))
    terms = max(0.0, with_terms - sample)
    terms_every = max(TERMS_EVERY, setting.steps_per_epoch, int(terms / (SHARE * usual)))
    share = host + sample / every + terms / terms_every
    print(f"{parts.compute.name}; {values.model.name}, batch {values.train.batch_size}, {len(plain)} pairs")
    print(
        f"step {usual * 1e3:.2f} ms; a look {sample * 1e3:+.2f} ms, with the terms {with_terms * 1e3:+.2f} ms"
    )
    print(
        f"host at every step {host * 1e6:.0f} us; a look every {every} steps, the terms every {terms_every}"
    )
    print(f"cost a step {share * 1e3:.3f} ms = {share / usual:.2%}")
    warned = sum(isinstance(event, ev.LogLine) for event in found)
    print(f"monitors {'off' if monitors.off else 'on'}, {warned} log lines")


def _host(monitors: Monitors, batches: list[Batch], done: Any, stepper: Stepper) -> float:
    """Seconds a step of what is done at every one, looked at or not."""
    monitors._next = monitors._next_terms = 10**9
    row = [1.0] * (len(stepper.term_names) + 1)
    events = [done(number, row, batch) for number, batch in enumerate(batches, 100)]
    rounds = []
    for _ in range(20):
        started = time.process_time()
        for event, batch in zip(events, batches, strict=True):
            monitors.look(event.step, 1e-3, 1e-3, batch.labels)
            monitors.take(event, [])
        rounds.append((time.process_time() - started) / len(batches))
    return statistics.median(rounds)


if __name__ == "__main__":
    typer.run(main)
