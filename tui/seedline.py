"""The seed's log line.

``training 1/102, iter 722/722, lr 0.000994: 722it [08:00, 1.50it/s, lcls=1.28, ...]``
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.runs.events import RunStarted, StepDone

from .format import digits3, duration, gigabytes, rate


def seed_line(started: RunStarted, steps: Sequence[StepDone], elapsed: float, done: int) -> str:
    """One line for ``steps``, those since the last line: each term is its mean over them.

    ``done`` iterations of this epoch took ``elapsed`` seconds. As in the seed, ``mem_occupy`` stands before
    ``total``.
    """
    last = steps[-1]
    means = {
        name: sum(step.terms.get(name, float("nan")) for step in steps) / len(steps) for name in started.terms
    }
    total = means.pop("total", None)
    fields = [f"{name}={digits3(value)}" for name, value in means.items()]
    fields.append(f"mem_occupy={gigabytes(last.memory)}")
    if total is not None:
        fields.append(f"total={digits3(total)}")
    speed = rate(done / elapsed) if elapsed > 0 else rate(float("nan"))
    return (
        f"training {last.epoch}/{started.epochs}, iter {last.iteration}/{started.steps_per_epoch}, "
        f"lr {digits3(last.lr)}: {done}it [{duration(elapsed)}, {speed}, {', '.join(fields)}]"
    )
