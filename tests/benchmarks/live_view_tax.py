"""What the live view and the recording cost a training: against the same steps in a bare PyTorch loop.

    python tests/benchmarks/live_view_tax.py configs/demo.toml [--set a.b=c ...] [--rounds 6]

Each round runs both in fresh processes, the order changing from round to round. *live*: the real app in a
pseudo-terminal of 120x36 with the run's store, as ``yolotui train`` has it. *bare*: the same network, data,
batches and optimizer step in a plain loop that reads no loss, keeps nothing and shows nothing. Both on all
cores that torch takes, counted from step ``--warmup`` on (keep both within one epoch: its end costs *live* a
checkpoint). Prints images per second, the ratio with its 95 % confidence interval (Student's t over the
rounds' logarithms), CPU seconds a step, and the CPU time per second of training of the view's, the store's
and the machine sampler's threads, which a busy machine does not blur.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

SIZE = (36, 120)
PATIENCE = 600.0
THREADS = {"MainThread": "view", "run-store": "store", "machine": "sampler", "training": "training"}
T975 = (
    12.71,
    4.303,
    3.182,
    2.776,
    2.571,
    2.447,
    2.365,
    2.306,
    2.262,
    2.228,
    2.201,
    2.179,
    2.160,
    2.145,
    2.131,
)
"""Student's t for 1, 2, ... degrees of freedom, two-sided 95 %."""
Set = Annotated[list[str] | None, typer.Option("--set")]
app = typer.Typer(add_completion=False)


def thread_seconds() -> dict[str, float]:
    """CPU seconds of this process's Python threads, by what they do, and of the whole process."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    process = psutil.Process()
    found = dict.fromkeys(THREADS.values(), 0.0)
    for thread in process.threads():
        if (what := THREADS.get(names.get(thread.id, ""))) is not None:
            found[what] += thread.user_time + thread.system_time
    times = process.cpu_times()
    return {**found, "process": times.user + times.system}


def window(per_epoch: int) -> tuple[int, int]:
    """The step after which the counting begins, and the last step counted."""
    return per_epoch + 5, 2 * per_epoch - 2


@app.command()
def bare(config: Path, result: Path, overrides: Set = None) -> None:
    """One run of the plain loop."""
    from engine.config import load_config
    from engine.learning.schedule import learning_rate
    from engine.training.setup import put_together
    from engine.training.step import Stepper

    values = load_config(config, overrides or [])
    parts = put_together(values)
    stepper = Stepper(parts.model, parts.blueprint.detector(parts.user), values.train, parts.compute)
    seen = 0
    per_epoch = parts.loader.steps_per_epoch
    warmup, last = window(per_epoch)
    whole = values.train.epochs * per_epoch
    batches = parts.loader.train_batches(0, whole, values.augment.mosaic_off)
    for number, batch in enumerate(islice(batches, last), 1):
        stepper.step(batch, learning_rate(number - 1, whole, per_epoch, values.train), seen)
        seen += len(batch)
        if number == warmup:
            _wait(parts.compute)
            begun, before, images = time.perf_counter(), thread_seconds(), seen
    _wait(parts.compute)
    _write(result, seen - images, last - warmup, time.perf_counter() - begun, before)
    parts.close()


@app.command()
def live(config: Path, result: Path, overrides: Set = None) -> None:
    """One run of the app, on this process's terminal; it leaves by itself after the last step."""
    from engine.config import load_config
    from engine.runs.events import StepDone
    from engine.training.session import Training
    from tui.app import LiveApp
    from tui.terminal import leave, run_live

    values = load_config(config, overrides or [])
    folder = Path(tempfile.mkdtemp()) / "tax-1"
    training = Training(values, folder, source=config, code=None, resume=False)
    view = LiveApp(training, folder, log_path=training.folder.log)
    subscription = training.feed.subscribe()
    warmup, last = window(training.parts.loader.steps_per_epoch)

    def watch() -> None:
        images = 0
        while subscription.arrived.wait(PATIENCE):
            for event in subscription.drain():
                if not isinstance(event, StepDone):
                    continue
                if event.step == warmup:
                    begun, before = time.perf_counter(), thread_seconds()
                elif event.step > warmup:
                    images += event.images
                if event.step == last:
                    _write(result, images, last - warmup, time.perf_counter() - begun, before)
                    view.call_from_thread(view.action_leave)
                    return

    threading.Thread(target=watch, name="watch", daemon=True).start()
    status = run_live(view)
    leave(status, view.thread.is_alive())


def _wait(compute: Any) -> None:
    if compute.device.type == "cuda":
        import torch

        torch.cuda.synchronize()


def _write(result: Path, images: int, steps: int, seconds: float, before: dict[str, float]) -> None:
    spent = {name: value - before[name] for name, value in thread_seconds().items()}
    result.write_text(json.dumps({"images": images, "steps": steps, "seconds": seconds, **spent}))


@app.command()
def main(
    config: Path,
    overrides: Set = None,
    rounds: Annotated[int, typer.Option(min=2, max=len(T975) + 1)] = 6,
) -> None:
    arguments = [f"--set={each}" for each in overrides or []]
    found: dict[str, list[dict[str, float]]] = {"bare": [], "live": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for kind in ("bare", "live") if number % 2 else ("live", "bare"):
                result = Path(folder) / f"{kind}-{number}.json"
                command = [__file__, kind, str(config.resolve()), str(result), *arguments]
                _run(command, in_terminal=kind == "live")
                found[kind].append(json.loads(result.read_text()))
            rates = {kind: each[-1]["images"] / each[-1]["seconds"] for kind, each in found.items()}
            print(
                f"round {number + 1}: live {rates['live']:.2f} img/s, bare {rates['bare']:.2f} img/s, "
                f"ratio {rates['live'] / rates['bare']:.3f}",
                flush=True,
            )
    _report(found)


def _run(command: list[str], in_terminal: bool) -> None:
    if not in_terminal:
        subprocess.run([sys.executable, *command], check=True, timeout=PATIENCE)
        return
    import pexpect

    child = pexpect.spawn(sys.executable, command, dimensions=SIZE, timeout=PATIENCE)
    tail = b""
    end = time.monotonic() + PATIENCE
    while child.isalive() and time.monotonic() < end:
        try:
            tail = (tail + child.read_nonblocking(65536, timeout=1))[-4000:]
        except pexpect.TIMEOUT:
            continue
        except pexpect.EOF:
            break
    child.close(force=True)
    if child.exitstatus != 0:
        raise SystemExit(f"the live run failed ({child.exitstatus}):\n{tail.decode(errors='replace')}")


def _report(found: dict[str, list[dict[str, float]]]) -> None:
    def rate(each: dict[str, float]) -> float:
        return each["images"] / each["seconds"]

    logs = [math.log(rate(a) / rate(b)) for a, b in zip(found["live"], found["bare"], strict=True)]
    middle = statistics.mean(logs)
    half = T975[len(logs) - 2] * statistics.stdev(logs) / math.sqrt(len(logs))
    for kind, runs in found.items():
        cpu = statistics.median(each["process"] / each["steps"] for each in runs)
        rates = [rate(each) for each in runs]
        spread = f"({min(rates):.2f} to {max(rates):.2f})"
        print(f"{kind}: median {statistics.median(rates):.2f} img/s {spread}, {cpu:.4f} CPU s a step")
    print(
        f"ratio live / bare {math.exp(middle):.3f}, 95 % confidence {math.exp(middle - half):.3f} to "
        f"{math.exp(middle + half):.3f} ({len(logs)} rounds)"
    )
    per_step = [
        a["process"] / a["steps"] / (b["process"] / b["steps"])
        for a, b in zip(found["live"], found["bare"], strict=True)
    ]
    print(f"CPU seconds a step, live / bare: median {statistics.median(per_step):.3f}")
    for what in ("view", "store", "sampler"):
        shares = [each[what] / each["seconds"] for each in found["live"]]
        median, worst = statistics.median(shares) * 1e3, max(shares) * 1e3
        print(f"{what}: {median:.1f} ms of CPU per second of training (worst {worst:.1f})")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("bare", "live", "main"):
        sys.argv.insert(1, "main")
    app()
