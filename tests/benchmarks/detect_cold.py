"""Cold start: ``yolotui detect PICTURE`` in a process of its own, over one that only imports torch and cv2.

    python tests/benchmarks/detect_cold.py [PICTURE] [--weights RUN|FILE] [--rounds 15]

Processes in turn, medians. Without PICTURE one of 640 x 480 is drawn.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer


def main(
    picture: Annotated[Path | None, typer.Argument()] = None,
    weights: Annotated[str, typer.Option()] = "",
    rounds: int = 15,
) -> None:
    folder = Path(tempfile.mkdtemp())
    if picture is None:
        import cv2
        import numpy as np

        picture = folder / "noise.jpg"
        cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8))
    program = [sys.executable, "-c", "from tui.cli import main; main()", "detect", str(picture.resolve())]
    commands = {
        "import torch, cv2": [sys.executable, "-c", "import torch, cv2"],
        "yolotui detect": [*program, *(["--weights", str(Path(weights).resolve())] if weights else [])],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            if number:  # the first round fills the disk's cache
                times[name].append(time.perf_counter() - started)
    base, ours = (statistics.median(each) for each in times.values())
    ratios = sorted(b / a for a, b in zip(*times.values(), strict=True))
    for name, taken in times.items():
        print(f"{name:<18} {statistics.median(taken):.3f} s")
    print(f"ratio of medians {ours / base:.3f}; of pairs {ratios[0]:.3f} .. {ratios[-1]:.3f}")


if __name__ == "__main__":
    typer.run(main)
