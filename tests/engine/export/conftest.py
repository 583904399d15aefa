"""A run with what exports must get right: gaps, non-finite values, a resume, a name that is markup."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from engine.runs import events as ev
from engine.runs.store import RunFolder, RunWriter

NAME = '<script>alert("x")&'


def step(number: int, terms: dict[str, float]) -> ev.StepDone:
    epoch, iteration = 1 + (number - 1) // 20, 1 + (number - 1) % 20
    return ev.StepDone(number, epoch, iteration, 1e-3, terms, 2.5, 8, 30, 0.1, 0.5, 1_000_000)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """45 steps of 20 an epoch; ``late`` begins at step 11; step 7's total is NaN; two evaluations."""
    folder = RunFolder.create(tmp_path / NAME)
    writer = RunWriter(folder)
    writer.set_meta(environment={"torch": "2.9.0", "python": "<3.12>"})
    started = ev.RunStarted(
        str(folder.path), NAME, ("lbox", "late", "total"), False, 3, 20, 60, 8, 160,
        ("cat, <b>", "dog"), "cpu", "compact", 1000, 0,
    )  # fmt: skip
    events: list[ev.Event] = [started]
    for number in range(1, 46):
        terms = {"lbox": 1 / number, "total": math.nan if number == 7 else 3 / number}
        if number > 10:
            terms["late"] = number * 0.1
        events.append(step(number, terms))
        if number % 20 == 0:
            summary = {"lbox": ev.Summary(0.5, 0.1, -0.1, 0.4), "total": ev.Summary(1.5, 0.3, -0.2, 1.1)}
            epoch = number // 20
            events.append(ev.EpochDone(epoch, number, summary, 160, 600, 10.0, 1e-3))
            scores = {"cat, <b>": 0.25 * epoch, "dog": math.nan}
            events.append(
                ev.EvaluationDone(epoch, number, "val", 0.3 * epoch, 0.1 * epoch, scores, 10, 40, 1.5, True)
            )
    events.append(
        ev.FindingRaised(
            "warning", "monitor.flat", "loss", "<img src=x> is flat", 30, "pred", ("x",), fix="a & b"
        )
    )
    events.append(ev.FindingRaised("error", "monitor.gone", "loop", "was bad", 31))
    events.append(ev.FindingCleared("monitor.gone", 40))
    writer.write(events)
    writer.close()
    return folder
