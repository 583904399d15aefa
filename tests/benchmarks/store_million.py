"""How long a run of many steps takes to open and to be drawn, and what memory that needs.

    python tests/benchmarks/store_million.py [--steps 1000000] [--charts 5] [--rounds 5] [--keep DIR]

Writes a run of so many steps (``--keep``: into this folder, where a run of an earlier call is used again).
Then, in a fresh process a round: opens its store and draws the charts at 120x36 and 200x60, over all steps
and over a zoomed window. Prints the milliseconds, imports apart and the file in the system's cache, and what
it adds to the process's resident memory; the same for a run of a hundredth of the steps, as the memory
should not depend on their number.
"""

from __future__ import annotations

import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

TERMS = ("lcls", "lbox", "lobj", "liou", "total")
SIZES = ((120, 36), (200, 60))
CHUNK = 50_000
app = typer.Typer(add_completion=False)


def write(path: Path, steps: int) -> float:
    """Seconds."""
    from engine.runs.events import RunStarted, StepDone
    from engine.runs.folder import RunFolder
    from engine.runs.writer import RunWriter

    begun = time.perf_counter()
    writer = RunWriter(RunFolder.create(path))
    per_epoch = 1000
    writer.write(
        [
            RunStarted(
                str(path), path.name, TERMS, True, steps // per_epoch, per_epoch, steps, 16, 16 * per_epoch,
                ("cat",), "cpu", "compact", 2_140_000, 0,
            )
        ]
    )  # fmt: skip
    for first in range(1, steps + 1, CHUNK):
        writer.write(
            [
                StepDone(
                    n, (n - 1) // per_epoch + 1, (n - 1) % per_epoch + 1, 1e-3,
                    {
                        term: (k + 1) * (math.exp(-3 * n / steps) + 0.1 * math.sin(n * 1.7 + k))
                        for k, term in enumerate(TERMS)
                    },
                    1.0, 16, 48, 0.01, 0.1, 1_000_000_000,
                )
                for n in range(first, min(first + CHUNK, steps + 1))
            ]
        )  # fmt: skip
    writer.close()
    return time.perf_counter() - begun


@app.command()
def main(
    steps: int = 1_000_000,
    charts: int = 5,
    rounds: int = 5,
    keep: Annotated[Path | None, typer.Option(help="Folder of the runs, kept for the next call.")] = None,
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        for count in (steps, max(1000, steps // 100)):
            run = folder / f"steps-{count}"
            if not (run / "run.db").exists():
                print(f"{count:,} steps written in {write(run, count):.1f} s")
            found = [_in_fresh_process(run, charts) for _ in range(rounds)]
            size = (run / "run.db").stat().st_size / 1e6
            print(f"{count:,} steps, {size:.0f} MB, {charts} charts, {rounds} rounds:")
            for name in found[0]:
                values = [each[name] for each in found]
                print(f"  {name:<42} median {statistics.median(values):8.1f}   worst {max(values):8.1f}")


def _in_fresh_process(run: Path, charts: int) -> dict[str, float]:
    output = subprocess.run(
        [sys.executable, __file__, "look", str(run), "--charts", str(charts)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(json.loads(output))


@app.command()
def look(run: Path, charts: int = 5) -> None:
    """One round, in this process: prints JSON."""
    from tui.runstate import RunState
    from tui.stored import StoredRun
    from tui.widgets.chart import ChartOptions, SeriesChart

    process = psutil.Process()
    before, clock = process.memory_info().rss, time.perf_counter()
    stored = StoredRun(run)
    assert stored.started is not None
    opened = time.perf_counter()

    class StoredChart(SeriesChart):
        """A chart whose every curve comes from the store, as of a run that is only looked at."""

        def data_range(self) -> tuple[int, int]:
            return 1, stored.last

        def columns(self, first: int, last: int, n: int) -> object:
            return stored.columns(self.panel_name, first, last, n)

    state = RunState(started=stored.started)
    options = ChartOptions(stored=lambda: stored)
    names = [*stored.started.terms, "grad norm", "lr", "img/s"][:charts]
    drawn = {name: StoredChart(name, state, options) for name in names}

    def draw(size: tuple[int, int]) -> float:
        begun = time.perf_counter()
        for chart in drawn.values():
            rows = chart.body(size[0] // 3, size[1] // 4)
            assert any("\u2801" <= sign <= "\u28ff" for row in rows for text, _ in row for sign in text), rows
        return (time.perf_counter() - begun) * 1e3

    first = draw(SIZES[0])
    total = (time.perf_counter() - clock) * 1e3
    found = {
        "open, ms": (opened - clock) * 1e3,
        "first drawing at 120x36, ms": first,
        "open and first drawing, ms": total,
        "again, ms": draw(SIZES[0]),
        "first drawing at 200x60, ms": draw(SIZES[1]),
    }
    options.view.size, options.view.end = stored.last // 50, stored.last // 2
    found["a fiftieth from the middle at 200x60, ms"] = draw(SIZES[1])
    found["memory added, MB"] = (process.memory_info().rss - before) / 1e6
    found["peak memory of the process, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps(found))


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("look", "main"):
        sys.argv.insert(1, "main")
    app()
