"""How much of a network's error is its own and not the data's: runs scored alone, from all sides, together.

    python tests/benchmarks/ensemble.py CONFIG RUN RUN ... --split NAME [--set a.b=c ...]

For each run its mAP as it is (where slots speak together, ``model.assign = "multi"``, before it with each
slot for itself) and with test-time augmentation; then of all runs' detections merged, the same two. What many
looks of many runs still miss, no longer or luckier training of the same kind will find.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from engine.config import load_config
from engine.data.opening import open_split
from engine.data.sample import Dataset
from engine.evaluate import Detections, evaluate
from engine.predictor import Predictor, load_predictor
from engine.scoring import EVALUATE_CONF, EVALUATE_IOU, evaluation_loader, predict_dataset
from engine.yolo.detect import MOST
from engine.yolo.views import merged


def together(runs: list[list[Detections]]) -> list[Detections]:
    """The same pictures' detections by several networks."""
    made = []
    for looks in zip(*runs, strict=True):
        rows = [torch.from_numpy(np.column_stack((e.boxes, e.scores, e.labels))).float() for e in looks]
        found = merged(rows, EVALUATE_IOU, EVALUATE_CONF / len(runs), MOST).numpy()
        made.append(Detections(looks[0].image_id, found[:, :4], found[:, 4], found[:, 5].astype(np.int64)))
    return made


def unfused(predictor: Predictor) -> Predictor:
    """As if each truth had been learnt at one slot."""
    model = predictor.blueprint.model.model_copy(update={"assign": "best"})
    return replace(predictor, blueprint=replace(predictor.blueprint, model=model))


def show(name: str, dataset: Dataset, found: list[Detections]) -> None:
    scores = evaluate(dataset.samples, found, dataset.classes).to_json()
    print(f"{name:40} mAP50 {scores['map50']:.3f}  mAP50-95 {scores['map50_95']:.3f}", flush=True)


def main(
    config: Path,
    runs: list[str],
    split: Annotated[str, typer.Option()],
    overrides: Annotated[list[str] | None, typer.Option("--set")] = None,
) -> None:
    values = load_config(config, overrides or [])
    dataset = open_split(values.data, split)

    def found(predictor: Predictor) -> list[Detections]:
        loader = evaluation_loader(dataset, predictor.blueprint, values.train.batch_size)
        try:
            return predict_dataset(predictor, dataset, loader)
        finally:
            loader.close()

    alone, around = [], []
    for run in runs:
        predictor = load_predictor(run, config=values)
        if predictor.blueprint.fused:
            show(f"{run}, each slot for itself", dataset, found(unfused(predictor)))
        alone.append(found(predictor))
        around.append(found(predictor.looking_all_ways()))
        show(run, dataset, alone[-1])
        show(f"{run} --tta", dataset, around[-1])
    if len(runs) > 1:
        show(f"{len(runs)} runs together", dataset, together(alone))
        show(f"{len(runs)} runs together, --tta", dataset, together(around))


if __name__ == "__main__":
    typer.run(main)
