"""Scoring the network between epochs, and keeping the best of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from ..config import TrainConfig
from ..data.sample import Problem
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
        self.exhausted = False
        """Whether nothing has become better for ``train.patience`` validations: at every rank."""
        self._best_epoch = 0
        self._waited = 0
        """Validations since the best one."""
        self._patience = config.patience
        self._every = config.eval_every
        self._unread: set[str] = set()
        """Pictures that could not be read and were said."""
        self._parts = parts
        self._folder = folder
        self._group = group
        self._emit = emit

    def due(self, epoch: int, last: bool) -> bool:
        """After an epoch, the last of them or not."""
        return self._parts.val is not None and (last or bool(self._every and epoch % self._every == 0))

    def run(self, model: nn.Module, step: int, epoch: int) -> None:
        """``model``: the weights to use, averaged where there is an average."""
        self._score(model, step, epoch)
        if self._patience:
            self.exhausted = self._group.tell(self._waited >= self._patience)

    def why_exhausted(self) -> str:
        """Which weights are the best, and for how long."""
        count = "a validation" if self._patience == 1 else f"{self._patience} validations in a row"
        if not self._best_epoch:
            return f"{count} without any mAP50-95"
        return (
            f"{count} without a better mAP50-95 than {self.best:.3f} of epoch {self._best_epoch}, "
            f"whose weights are {self._folder.best}"
        )

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self._best_epoch, "waited": self._waited}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.best = state["best"]
        self._best_epoch, self._waited = state.get("best_epoch", 0), state.get("waited", 0)

    def _score(self, model: nn.Module, step: int, epoch: int) -> None:
        val, loader = self._parts.val, self._parts.val_loader
        assert val is not None
        assert loader is not None
        self._emit(ev.StateChanged("evaluating"))
        started = time.perf_counter()
        was_training = model.training
        compute = self._parts.compute.for_scores()
        predictor = make_predictor(model.eval(), self._parts.blueprint, self._parts.user, compute)
        unread: list[Problem] = []
        found = predict_dataset(predictor, val, loader, unread=unread)
        model.train(was_training)
        parts = self._group.collect((found, unread))
        if not self._group.leads:
            return
        self._tell_unread([problem for _, problems in parts for problem in problems])
        scores = evaluate(val.samples, [one for part, _ in parts for one in part], val.classes)
        best = scores.map50_95 > self.best
        self._waited = 0 if best else self._waited + 1
        if best:
            self.best, self._best_epoch = scores.map50_95, epoch
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

    def _tell_unread(self, problems: Sequence[Problem]) -> None:
        """Each picture once: it will not be read at the next validation either."""
        for problem in problems:
            if problem.path not in self._unread:
                self._unread.add(problem.path)
                text = f"validation: {problem.path} cannot be read ({problem.detail}): its objects are missed"
                self._emit(ev.LogLine("warning", text))
