"""A network's detections on a split, and their average precision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from .blueprint import Blueprint
from .config import Config
from .data.batches import BatchLoader
from .data.opening import open_split
from .data.sample import Dataset, Problem, Sample
from .data.summary import describe
from .device import worker_count
from .errors import UserError
from .evaluate import Detections, Scores, evaluate
from .predictor import Predictor, load_predictor

EVALUATE_CONF, EVALUATE_IOU = 0.005, 0.6
"""Scores are taken over all confidences: a low threshold, so that the curve has its tail."""

CacheMode = Literal["auto", "ram", "none"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """Scores of a split, and what they do not rest on."""

    scores: Scores
    dataset: Dataset
    unread: tuple[Problem, ...]
    """Images of the data set that could not be decoded. Nothing was found on them, and what is labelled there
    counts as missed."""

    of_weights: tuple[str, ...] = ()
    """What is to be said of how the network was read."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        return (*self.dataset.problems, *self.unread)

    def notes(self) -> list[str]:
        """What was wrong with the split or the weights, in lines; empty where nothing was."""
        of_split = describe(self.dataset) if self.problems else []
        return [*self.of_weights, *of_split, *([self._missed()] if self.unread else [])]

    def _missed(self) -> str:
        paths = {problem.path for problem in self.unread}
        lost = [sample for sample in self.dataset.samples if str(sample.path) in paths]
        objects = sum(int((~(sample.difficult | sample.crowd)).sum()) for sample in lost)
        first = f"first {Path(self.unread[0].path).name}: {self.unread[0].detail}"
        return (
            f"{self.dataset.name}: {len(self.unread)} x unreadable image, {first}; "
            f"their {objects} objects count as missed"
        )


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
        dataset,
        blueprint.input_wh,
        batch_size,
        workers=workers,
        cache=cache,
        rank=rank,
        ranks=ranks,
        stretch=blueprint.stretched,
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
) -> Evaluation:
    """AP of a network on a split; with ``errors``, what each kind of error costs."""
    unread: list[Problem] = []
    detections = predict_dataset(predictor, dataset, loader, progress, unread)
    names = _file_names(dataset.samples)
    scores = evaluate(dataset.samples, detections, dataset.classes, errors=errors, names=names)
    return Evaluation(scores, dataset, tuple(unread))


def evaluate_split(
    config: Config,
    weights: str | None,
    split: str = "",
    code: Path | None = None,
    progress: Progress | None = None,
    tta: bool = False,
    errors: bool = False,
) -> Evaluation:
    """AP of weights on a config's split (its ``val`` where none is named), with ``tta`` looked at from all
    sides, with ``errors`` what each kind costs. Raises ``UserError``.

    A picture that is missing, or so broken that its size is unknown, is no part of the split; one whose
    pixels cannot be decoded is, as one on which nothing was found.
    """
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
        found = score_dataset(predictor, dataset, loader, progress, errors=errors)
        return replace(found, of_weights=predictor.notes)
    finally:
        loader.close()


def _file_names(samples: Sequence[Sample]) -> list[str]:
    """What people know the pictures by; those of several folders that share a name, with the folder."""
    counts = Counter(sample.path.name for sample in samples)
    paths = [sample.path for sample in samples]
    return [path.name if counts[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in paths]


def _names(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:4])
    return f"{shown} ... ({len(classes)})" if len(classes) > 4 else shown


def _as_detections(image_ids: Sequence[str], rows: Sequence[Tensor]) -> Iterator[Detections]:
    for image_id, found in zip(image_ids, rows, strict=True):
        values = found.float().cpu().numpy()
        yield Detections(image_id, values[:, :4], values[:, 4], values[:, 5].astype(np.int64))
