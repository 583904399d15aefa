"""Healthy designs drawn at random: `check` must find no error in any.

    python -m tests.faults.healthy [--runs N] [--first SEED] [--keep FILE]

Six kinds of design in turn, each with its own classes (1 to 80), grid (7x7 to 19x13), heads (one to three),
layout and loss profile; three of four with a user's file written out by hand for it (`handwritten.py`).
Prints seed, design, seconds and errors; exit 1 where a check found an error or took more than ten seconds.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from tests.faults.handwritten import handwritten

SECONDS = 10.0
KINDS = ("seed", "own layout", "yolov5", "linear", "several heads", "anything")
ORDERS = ("b y x a c", "b a y x c", "b a c y x", "b (a c) y x", "b y x (a c)", "b c a y x")
BOXES = ("mse", "smooth-l1", "iou", "giou", "diou", "ciou")
PRED = ["conf", "x", "y", "w", "h", "class*"]
TARGET = ["mask", "class", "x", "y", "w", "h", "weight", "iou"]


@dataclass(frozen=True)
class Design:
    """One healthy config, and the user's file that goes with it (empty: the reference alone)."""

    seed: int
    kind: str
    config: dict[str, dict[str, Any]]
    code: str

    def title(self) -> str:
        model = self.config["model"]
        loss = self.config.get("loss", {})
        width, height = model["input_size"]
        strides = model["strides"]
        layout = self.config.get("layout", {})
        said = " ".join(str(loss[k]) for k in ("box", "objectness", "confidence", "reduction") if k in loss)
        return (
            f"{len(self.config['data']['classes'])} classes, "
            f"{'+'.join(f'{width // s}x{height // s}' for s in strides)}, {layout.get('order', '')} "
            f"{layout.get('decode', 'yolov2')} {model['assign']} {said or 'nothing said'}"
        )

    def write(self, folder: Path) -> tuple[Path, Path | None]:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "healthy.toml"
        config.write_text(tomli_w.dumps(self.config), encoding="utf-8")
        if not self.code:
            return config, None
        code = folder / "mine.py"
        code.write_text(self.code, encoding="utf-8")
        return config, code


@dataclass(frozen=True)
class Healthy:
    seed: int
    kind: str
    title: str
    code: bool
    seconds: float
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def design(seed: int) -> Design:
    """The kinds in turn, the rest drawn; three turns of four with a user's file."""
    draw = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    model, layout = _model(kind, draw), _layout(kind, draw)
    loss = _loss(kind, draw)
    count = draw.choice([1, 2, 3, 4, 7, 20, 20, 80])
    config = {
        "data": {"classes": [f"class{k}" for k in range(count)]},
        "model": model,
        "layout": layout,
    }
    said = draw.random() < 0.8
    if said:
        config["loss"] = loss
    with_code = seed // len(KINDS) % 4 != 3  # without one there is little to probe
    code = handwritten(model, layout, loss if said else {}, draw) if with_code else ""
    if code and "CALLS = 'plain'" in code and (loss["box"] if said else "mse") == "mse":
        # squares of sizes in cells come to thousands on a fresh network: nobody trains that unclipped
        config["train"] = {"clip": 10.0}
    return Design(seed, kind, config, code)


def _model(kind: str, draw: random.Random) -> dict[str, Any]:
    heads = {"seed": 1, "several heads": draw.choice([2, 3])}.get(kind, draw.choice([1, 1, 2, 3]))
    strides = {1: [draw.choice([16, 32])], 2: draw.choice([[8, 16], [16, 32]]), 3: [8, 16, 32]}[heads]
    coarse = strides[-1]
    columns, rows = draw.randint(7, 19), draw.randint(7, 13)
    if heads == 3:
        columns, rows = min(columns, 10), min(rows, 8)
    if draw.random() < 0.3:
        columns = rows
    width, height = columns * coarse, rows * coarse
    count = draw.choice([1, 2, 3, 5]) if heads == 1 else draw.choice([1, 2, 3])
    low, high = 1.1 * strides[0], 0.7 * min(width, height)
    total = count * heads
    tables = []
    for k, stride in enumerate(strides):
        table = []
        for n in range(count):
            side = low * (high / low) ** ((k * count + n + 0.7) / total)
            aspect = draw.uniform(0.5, 1.9) ** 0.5
            table.append([round(side * aspect / stride, 3), round(side / aspect / stride, 3)])
        tables.append(table)
    return {
        "name": "compact",
        "width": 4,
        "input_size": [width, height],
        "strides": strides,
        "anchors": tables if heads > 1 else tables[0],
        "assign": "multi" if kind == "yolov5" or draw.random() < 0.2 else "best",
        "assign_ratio": draw.choice([2.0, 4.0]),
    }


def _layout(kind: str, draw: random.Random) -> dict[str, Any]:
    decode = {"yolov5": "yolov5", "linear": "linear"}.get(kind, "yolov2")
    if kind == "anything":
        decode = draw.choice(["yolov2", "yolov5", "linear"])
    if kind == "seed":
        return {"decode": decode}
    pred, target = list(PRED), list(TARGET)
    draw.shuffle(pred)
    draw.shuffle(target)
    if draw.random() < 0.3:
        target.remove("weight")
    if draw.random() < 0.3:
        target.remove("iou")
    return {
        "order": draw.choice(ORDERS),
        "pred": pred if draw.random() < 0.6 else PRED,
        "target": target,
        "target_xy": draw.choice(["image", "grid", "cell"]),
        "target_wh": draw.choice(["image", "grid", "log-anchor"]),
        "decode": decode,
    }


def _loss(kind: str, draw: random.Random) -> dict[str, Any]:
    if kind == "seed":
        return {"objectness": "iou", "confidence": "mse", "box": "mse", "reduction": "batch"}
    box = draw.choice(BOXES)
    total = ["lcls", "lbox", "lobj"]
    return {
        "objectness": draw.choice(["iou", "one"]),
        "confidence": draw.choice(["mse", "bce"]),
        "box": box,
        "classes": draw.choice(["softmax", "bce"]),
        "reduction": draw.choice(["batch", "positives", "mean"]),
        "ignore_iou": draw.choice([0, 0.5, 0.6, 0.7]),
        "total": [*total, "liou"] if draw.random() < 0.25 else total,
    }


def examine(seed: int) -> Healthy:
    from engine.config import load_config
    from engine.doctor.check import check

    made = design(seed)
    with tempfile.TemporaryDirectory(prefix="healthy-") as folder:
        config, code = made.write(Path(folder))
        begun = time.perf_counter()
        report = check(load_config(config), source=config, code=code, seed=seed)
        seconds = time.perf_counter() - begun
    said: dict[str, list[str]] = {"error": [], "warning": []}
    for f in report.findings:
        if f.severity in said:
            said[f.severity].append(
                f"{f.function} {f.probe} ({' '.join(f.channels)}): {f.message}; got {f.got}"
            )
    return Healthy(seed, made.kind, made.title(), code is not None, seconds, said["error"], said["warning"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.healthy", description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="results as they come; a cut run goes on")
    options = parser.parse_args(arguments)
    kept: dict[int, Healthy] = {}
    if options.keep and options.keep.is_file():
        rows = [json.loads(line) for line in options.keep.read_text(encoding="utf-8").splitlines()]
        kept = {row["seed"]: Healthy(**row) for row in rows}
    print(f"{'seed':>4} {'kind':14}{'code':5}{'secs':>6}  design", flush=True)
    for seed in range(options.first, options.first + options.runs):
        if seed in kept:
            continue
        kept[seed] = run = examine(seed)
        if options.keep:
            with options.keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(run)) + "\n")
        print(
            f"{seed:4} {run.kind:14}{'own' if run.code else '-':5}{run.seconds:6.2f}  {run.title}", flush=True
        )
        for text in run.errors:
            print(f"     ERROR {text}", flush=True)
        for text in run.warnings:
            print(f"     warning {text}", flush=True)
    wanted = [kept[s] for s in range(options.first, options.first + options.runs)]
    wrong, slow = [r for r in wanted if r.errors], [r for r in wanted if r.seconds > SECONDS]
    seconds = [r.seconds for r in wanted]
    print(
        f"\n{len(wanted)} healthy checks: {len(wrong)} with an error, "
        f"{sum(bool(r.warnings) for r in wanted)} with a warning; "
        f"seconds: median {statistics.median(seconds):.2f}, most {max(seconds):.2f}"
    )
    return 1 if wrong or slow else 0


if __name__ == "__main__":
    sys.exit(main())
