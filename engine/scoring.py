"""A network's detections on a split, and their average precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from .blueprint import Blueprint
from .config import Config
from .data.batches import BatchLoader
from .data.opening import open_split
from .data.sample import Dataset, Problem
from .device import worker_count
from .errors import UserError
from .evaluate import Detections, Scores, evaluate
from .predictor import Predictor, load_predictor

EVALUATE_CONF, EVALUATE_IOU = 0.005, 0.6
"""Scores are taken over all confidences: a low threshold, so that the curve has its tail."""

CacheMode = Literal["auto", "ram", "none"]
Progress = Callable[[int, int], None]


def evaluation_loader(
    dataset: Dataset,
    blueprint: Blueprint,
    batch_size: int,
    workers: int = 0,
    cache: CacheMode = "none",
    rank: int = 0,
    ranks: int = 1,
) -> BatchLoader:
    """Every image once, letterboxed; ``cache`` pays where a split is scored again and again. ``rank``: the
    images of one of several that score together."""
    return BatchLoader(
        dataset, blueprint.input_wh, batch_size, workers=workers, cache=cache, rank=rank, ranks=ranks
    )


def predict_dataset(
    predictor: Predictor,
    dataset: Dataset,
    loader: BatchLoader,
    progress: Progress | None = None,
    unread: list[Problem] | None = None,
) -> list[Detections]:
    """A split at the thresholds of scoring: one ``Detections`` an image that could be read. ``unread`` gets a
    problem for each of the others."""
    done = 0
    found: list[Detections] = []
    for places, batch in zip(loader.ordered_places(), loader.ordered_batches(), strict=True):
        samples = [dataset.samples[index] for index in batch.indices]
        sizes = [(sample.height, sample.width) for sample in samples]
        rows = predictor.detect_inputs(batch.images, sizes, EVALUATE_CONF, EVALUATE_IOU)
        asked = [k for k, index in enumerate(batch.indices) if index in places]
        found += list(_as_detections([samples[k].image_id for k in asked], [rows[k] for k in asked]))
        if unread is not None:
            unread += batch.skipped
        done += len(places)
        if progress is not None:
            progress(done, len(dataset))
    return found


def score_dataset(
    predictor: Predictor,
    dataset: Dataset,
    loader: BatchLoader,
    progress: Progress | None = None,
    *,
    errors: bool = False,
) -> Scores:
    """AP of a network on a split; with ``errors``, what each kind of error costs."""
    detections = predict_dataset(predictor, dataset, loader, progress)
    return evaluate(dataset.samples, detections, dataset.classes, errors=errors)


def evaluate_config(
    config: Config,
    weights: str | None,
    split: str = "",
    code: Path | None = None,
    progress: Progress | None = None,
    tta: bool = False,
    errors: bool = False,
) -> Scores:
    """AP of weights on a config's split (its ``val`` where none is named), with ``tta`` looked at from all
    sides, with ``errors`` what each kind costs. Raises ``UserError``."""
    split = split or config.data.val
    if not split:
        raise UserError("names no data.val and no --split was given", where="config", fix="add --split NAME")
    code = code or (Path(config.code.file) if config.code.file else None)
    predictor = load_predictor(weights, code, config=config)
    predictor = predictor.looking_all_ways() if tta else predictor
    dataset = open_split(config.data, split, trained=predictor.classes)
    if tuple(dataset.classes) != predictor.classes:
        raise UserError(
            f"knows the classes {_names(predictor.classes)}, the data set has {_names(dataset.classes)}",
            where=predictor.source,
            fix="use the weights' own config, or set data.classes",
        )
    loader = evaluation_loader(
        dataset,
        predictor.blueprint,
        config.train.batch_size,
        worker_count(config.train.workers, predictor.compute),
    )
    try:
        return score_dataset(predictor, dataset, loader, progress, errors=errors)
    finally:
        loader.close()


def _names(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:4])
    return f"{shown} ... ({len(classes)})" if len(classes) > 4 else shown


def _as_detections(image_ids: Sequence[str], rows: Sequence[Tensor]) -> Iterator[Detections]:
    for image_id, found in zip(image_ids, rows, strict=True):
        values = found.float().cpu().numpy()
        yield Detections(image_id, values[:, :4], values[:, 4], values[:, 5].astype(np.int64))
