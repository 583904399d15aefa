"""Scoring the network between epochs, and keeping the best of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from torch import nn

from ..config import TrainConfig
from ..evaluate import evaluate
from ..predictor import make_predictor
from ..runs import events as ev
from ..runs.folder import RunFolder
from ..scoring import predict_dataset
from .checkpoint import save_model
from .distributed import Group
from .setup import Parts


class Validation:
    """``run`` is called at every rank, each of which scores its share of the images; the leader puts them
    together, and keeps the weights that did best."""

    def __init__(
        self,
        config: TrainConfig,
        parts: Parts,
        folder: RunFolder,
        group: Group,
        emit: Callable[[ev.Event], None],
    ) -> None:
        self.best = -math.inf
        """mAP50-95, at the leader; minus infinity before the first validation."""
        self._every = config.eval_every
        self._parts = parts
        self._folder = folder
        self._group = group
        self._emit = emit

    def due(self, epoch: int, last: bool) -> bool:
        """After an epoch, the last of them or not."""
        return self._parts.val is not None and (last or bool(self._every and epoch % self._every == 0))

    def run(self, model: nn.Module, step: int, epoch: int) -> None:
        """``model``: the weights to use, averaged where there is an average."""
        val, loader = self._parts.val, self._parts.val_loader
        assert val is not None
        assert loader is not None
        self._emit(ev.StateChanged("evaluating"))
        started = time.perf_counter()
        was_training = model.training
        predictor = make_predictor(model.eval(), self._parts.blueprint, self._parts.user, self._parts.compute)
        found = predict_dataset(predictor, val, loader)
        model.train(was_training)
        parts = self._group.collect(found)
        if not self._group.leads:
            return
        scores = evaluate(val.samples, [one for part in parts for one in part], val.classes)
        best = scores.map50_95 > self.best
        if best:
            self.best = scores.map50_95
            save_model(self._folder.best, model, self._parts.blueprint.to_json())
            self._emit(ev.CheckpointSaved(step, epoch, str(self._folder.best), True))
        self._emit(
            ev.EvaluationDone(
                epoch=epoch,
                step=step,
                split=val.name,
                map50=scores.map50,
                map50_95=scores.map50_95,
                per_class={name: values.ap50 for name, values in scores.per_class.items()},
                images=scores.images,
                objects=scores.objects,
                seconds=time.perf_counter() - started,
                best=best,
            )
        )
