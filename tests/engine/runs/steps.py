"""Events for the store's tests."""

from __future__ import annotations

from collections.abc import Mapping

from engine.runs import events as ev

TERMS = ("lcls", "lbox", "lobj", "total")


def started(first_step: int = 0, **changes: object) -> ev.RunStarted:
    values: dict[str, object] = {
        "run": "runs/demo-1",
        "name": "demo-1",
        "terms": TERMS,
        "per_object": True,
        "epochs": 3,
        "steps_per_epoch": 100,
        "total_steps": 300,
        "batch_size": 16,
        "images": 1600,
        "classes": ("cat", "dog"),
        "device": "cpu",
        "network": "compact",
        "parameters": 123_456,
        "first_step": first_step,
    }
    return ev.RunStarted(**{**values, **changes})  # type: ignore[arg-type]


def step(number: int, terms: Mapping[str, float] | None = None) -> ev.StepDone:
    if terms is None:
        terms = {name: number * (k + 1) / 8 for k, name in enumerate(TERMS)}
    return ev.StepDone(
        step=number,
        epoch=1 + (number - 1) // 100,
        iteration=1 + (number - 1) % 100,
        lr=1e-3,
        terms=terms,
        grad_norm=0.5 + number / 4,
        images=16,
        objects=3 * number,
        data_seconds=0.125,
        seconds=0.25,
        memory=11_489_234_567,
    )


def epoch_done(epoch: int) -> ev.EpochDone:
    summaries = {
        "lbox": ev.Summary(1.5, 0.25, -0.125, 1.25),
        "total": ev.Summary(float("inf"), 0.0, 0.0, 3.0),
    }
    return ev.EpochDone(epoch, epoch * 100, summaries, 1600, 4000, 25.0, 1e-3)


def evaluated(epoch: int, map50: float, best: bool = True) -> ev.EvaluationDone:
    ap = {"cat": map50, "dog": 0.5}
    return ev.EvaluationDone(epoch, epoch * 100, "val", map50, map50 / 2, ap, 50, 120, 2.5, best)


def ended(status: ev.Status, at: int) -> ev.RunEnded:
    return ev.RunEnded(status, "as asked", at, 1 + (at - 1) // 100, 0)
