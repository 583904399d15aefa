"""What a run is made of, put together before its first step: everything a user can get wrong shows here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..blueprint import Blueprint, declared_anchors
from ..config import Config
from ..data.anchors import best_possible_recall, fit_anchors
from ..data.batches import BatchLoader
from ..data.fitted import fitted_sizes
from ..data.opening import open_split
from ..data.sample import Dataset
from ..data.summary import describe
from ..device import Compute, choose_compute, worker_count
from ..errors import UserError
from ..nets.registry import head_strides
from ..nets.weights import load_what_fits
from ..predictor import find_weights
from ..scoring import evaluation_loader
from ..yolo.plugin import UserFunctions, load_functions
from .any_size import check_sizes
from .distributed import Group


@dataclass(frozen=True)
class Parts:
    """Data, network and functions of a run."""

    train: Dataset
    val: Dataset | None
    blueprint: Blueprint
    user: UserFunctions
    compute: Compute
    model: nn.Module
    loader: BatchLoader
    val_loader: BatchLoader | None
    notes: list[str]
    """Lines for the run's log: what was dropped, how well the anchors fit."""

    def close(self) -> None:
        self.loader.close()
        if self.val_loader is not None:
            self.val_loader.close()


def put_together(config: Config, kept: dict[str, Any] | None = None, group: Group | None = None) -> Parts:
    """Read the data, choose anchors, build the network. Raises ``UserError``.

    ``kept``: the blueprint (as JSON) of the run that goes on, whose anchors are not fitted anew. ``group``:
    this process is one of several, and loads its part of the data.
    """
    group = group or Group()
    notes: list[str] = []
    user = load_functions(config.code.file)
    compute = choose_compute(group.device or config.train.device, config.train.precision)
    head_strides(config.model)  # a network and an input that do not fit are said before any data is read
    train = open_split(config.data, config.data.train)
    val = open_split(config.data, config.data.val, trained=train.classes) if config.data.val else None
    for dataset in (train, val):
        if dataset is not None:
            notes += describe(dataset)
    blueprint = _blueprint(config, train, kept, notes)
    blueprint = replace(blueprint, code=user.path, own=tuple(sorted(user.functions)))
    if user.functions:
        notes.append(f"{', '.join(blueprint.own)} of {Path(user.path).name} in the reference's place")
    if user.get("transform"):  # in the place of our augmentation: nobody knows what it draws
        blueprint = replace(blueprint, symmetries=())
    torch.manual_seed(config.train.seed)
    model = blueprint.network(user)
    if config.model.weights and kept is None:
        copied, missing = load_what_fits(model, find_weights(config.model.weights))
        first = f", the first {missing[0]}" if missing else ""
        notes.append(
            f"started from {config.model.weights}: {copied} tensors copied, {len(missing)} fresh{first}"
        )
    if group.size > 1:
        torch.manual_seed(config.train.seed + group.rank)  # other dropout on other images
    workers = worker_count(config.train.workers, compute, group.local_size)
    loader = BatchLoader(
        train,
        blueprint.input_wh,
        config.train.batch_size,
        stride=max(head.stride for head in blueprint.heads()),
        augment=config.augment,
        seed=config.train.seed,
        encode=blueprint.detector(user).encode,
        workers=workers,
        transform=user.get("transform"),
        cache=config.data.cache,
        use_difficult=config.data.use_difficult,
        pin_memory=compute.device.type == "cuda",
        rank=group.rank,
        ranks=group.size,
        stretch=blueprint.stretched,
    )
    if loader.note:
        notes.append(loader.note)
    if loader.sizes.vary:
        try:
            check_sizes(model, blueprint.detector(user), loader.sizes)
        except UserError:
            loader.close()
            raise
        notes.append(loader.sizes.describe(config.augment.mosaic_off))
    val_loader = None
    if val is not None:
        val_loader = evaluation_loader(
            val,
            blueprint,
            config.train.batch_size,
            workers,
            config.data.cache,
            rank=group.rank,
            ranks=group.size,
        )
    return Parts(train, val, blueprint, user, compute, model, loader, val_loader, notes)


def _blueprint(config: Config, train: Dataset, kept: dict[str, Any] | None, notes: list[str]) -> Blueprint:
    if kept is not None:
        return Blueprint.from_json(kept, Path(config.data.root))
    strides = head_strides(config.model)
    table = declared_anchors(config.model)
    if table is None:
        count = config.model.anchor_count
        pixels = fit_anchors(
            train,
            config.model.input_wh,
            count * len(strides),
            config.train.seed,
            config.model.stretched,
        )
        # smallest anchors to the finest grid; a few digits, so that the config shows what is used
        table = tuple(
            tuple((round(float(w) / stride, 4), round(float(h) / stride, 4)) for w, h in group)
            for stride, group in zip(
                strides, (pixels[k * count : (k + 1) * count] for k in range(len(strides))), strict=True
            )
        )
    blueprint = Blueprint.of(config, train.classes, table)
    _report_anchors(blueprint, train, strides, notes)
    return blueprint


def _report_anchors(blueprint: Blueprint, train: Dataset, strides: tuple[int, ...], notes: list[str]) -> None:
    pixels = [
        (w * stride, h * stride)
        for stride, anchors in zip(strides, blueprint.anchors, strict=True)
        for w, h in anchors
    ]
    recall, mean = best_possible_recall(
        fitted_sizes(train, blueprint.input_wh, blueprint.stretched), np.array(pixels)
    )
    shown = ", ".join(f"{w:.0f}x{h:.0f}" for w, h in pixels)
    notes.append(
        f"anchors {shown} px: best possible recall {recall:.3f} at IoU 0.5, mean best IoU {mean:.3f}"
    )
