"""One optimizer step. Reads top to bottom; nothing in it asks the device to wait."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..data.batches import Batch
from ..device import Compute
from ..doctor.monitors import Look
from ..layout import Head
from ..learning.optimizer import build_optimizer, set_rate
from ..yolo.detector import Detector
from ..yolo.loss import TERMS
from .distributed import Group
from .ema import Ema
from .nonfinite import FiniteFlag, RunningStatistics
from .sharing import Sharing, alone

Pred = Tensor | list[Tensor]


@dataclass(frozen=True)
class Captured:
    """The head tensors of one step, still on the device; a head's tensors in the declared layout."""

    heads: tuple[Head, ...]
    """The grids of this batch's size."""
    batch: Batch
    """As it was loaded: its images need not come back from the device."""
    targets: list[Tensor]
    """With the iou channel filled in."""
    preds: list[Tensor]
    decoded: list[Tensor]
    grads: list[Tensor]
    maps: dict[str, list[Tensor]]
    terms: dict[str, Tensor]

    def is_finite(self) -> bool:
        """Whether its terms and their gradients are."""
        return all(bool(each.isfinite().all()) for each in (*self.terms.values(), *self.grads))


@dataclass(frozen=True)
class StepResult:
    """``record``, on the device: the terms in ``term_names``' order, the gradient's norm before clipping,
    and what the monitors measured, if they looked."""

    record: Tensor
    captured: Captured | None


class Stepper:
    """The network, its optimizer and its average: all that a step changes."""

    def __init__(
        self,
        model: nn.Module,
        detector: Detector,
        config: TrainConfig,
        compute: Compute,
        group: Group | None = None,
    ) -> None:
        """``group``: the ranks that train together, each with its part of every batch; None: this one."""
        self.compute = compute
        self.group = group or Group()
        if self.group.size > 1 and config.batch_norm == "sync" and compute.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        self.config = config
        self.detector = detector.to(compute.device)
        self.model = model.to(compute.device, memory_format=compute.memory_format).train()  # type: ignore[call-overload]
        self.statistics = RunningStatistics(self.model)
        self.optimizer = build_optimizer(self.model, config, compute.device)
        self.scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.scaled)
        self.ema = Ema(self.model, config.ema) if config.ema or config.ema_share else None
        self.finite = FiniteFlag(compute.device)
        self._parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.sharing: Sharing | None = None
        if self.group.size > 1:
            self.sharing = Sharing(
                self.group, self.detector, self._parameters, self.statistics, compute.device
            )
        self.term_names: tuple[str, ...] = (*TERMS, "total")

    @property
    def changed(self) -> bool:
        """Whether this rank has something to say to ``agree_anew`` about."""
        return self.sharing is not None and self.sharing.gradients.changed

    def agree_anew(self) -> None:
        if self.sharing is not None:
            self.sharing.gradients.agree_anew()

    @property
    def averaged(self) -> nn.Module:
        """The network to validate, keep and use."""
        return self.ema.model if self.ema is not None else self.model

    def expect(self, steps: int) -> None:
        """How many the whole run will make: for an average over a share of them."""
        if self.ema is not None and self.config.ema_share:
            self.ema.decay = Ema.decay_over(self.config.ema_share * steps)

    def step(
        self,
        batch: Batch,
        rate: float,
        seen: int,
        capture: bool = False,
        look: Look | None = None,
        idle: bool = False,
    ) -> StepResult:
        """One update; withheld where a term or a gradient is not finite. In a group ``batch`` is this rank's
        part; ``idle``: there was none for it (see ``Sharing``)."""
        moved = batch.to(self.compute.device, non_blocking=True)
        self.statistics.keep()
        if self.sharing is None:
            terms, pred = self._backward(moved, seen, capture, look)
        else:
            self.sharing.begin(moved, idle)
            terms, pred = self._backward(moved, seen, capture, look, self.sharing)
        if self.compute.scaled:
            self.scaler.unscale_(self.optimizer)
        norm = self._clip()
        record = self.record(terms, norm) if self.sharing is None else self.sharing.record(norm)
        # the scaler meets fp16's overflows of gradients by itself: there only the terms count
        self.finite.observe(record[: len(self.term_names)] if self.compute.scaled else record)
        set_rate(self.optimizer, rate)
        if look is not None:
            look.before_update(moved.targets)
        self._apply()
        measured = look.after_update() if look is not None else None
        if measured is not None:
            record = torch.cat((record, measured))
        self.statistics.restore_unless(self.finite.value)
        return StepResult(record, self._captured(batch, moved, pred, terms) if capture else None)

    def look(self, batch: Batch, seen: int) -> Captured:
        """A step's tensors without the step: nothing that training depends on is changed."""
        moved = batch.to(self.compute.device)
        self.statistics.keep()
        with alone(self.model, self.group):
            terms, pred = self._backward(moved, seen, capture=True)
        self.optimizer.zero_grad(set_to_none=True)
        self.statistics.restore_unless(torch.zeros_like(self.finite.value))
        return self._captured(batch, moved, pred, terms)

    def _backward(
        self,
        batch: Batch,
        seen: int,
        capture: bool,
        look: Look | None = None,
        sharing: Sharing | None = None,
    ) -> tuple[dict[str, Any], Pred]:
        with self.compute.autocasting():
            pred = as_float(self.model(self.images(batch)))
        if capture:
            for each in self.detector.as_list(pred):
                each.retain_grad()
        detector = self.detector.at(batch.input_wh)
        if sharing is None:
            terms = detector.loss(pred, batch.targets, seen=seen, maps=capture)
        else:
            sharing.forward_done()
            terms = sharing.loss(pred, batch, self.term_names, seen, maps=capture)
        if look is not None:
            look.loss_made(terms, detector.as_list(pred), detector.heads)
        self.optimizer.zero_grad(set_to_none=True)
        with sharing.backward() if sharing is not None else nullcontext():
            self.scaler.scale(terms["total"]).backward()
        return terms, pred

    @torch.no_grad()
    def _captured(self, batch: Batch, moved: Batch, pred: Pred, terms: dict[str, Any]) -> Captured:
        detector = self.detector.at(batch.input_wh)
        preds = detector.as_list(pred)
        scale = self.scaler.get_scale() if self.compute.scaled else 1.0
        return Captured(
            heads=detector.heads,
            batch=batch,
            targets=[each.clone() for each in moved.targets.targets],
            preds=[each.detach() for each in preds],
            decoded=[
                detector.decode(each.detach(), head) for each, head in zip(preds, detector.heads, strict=True)
            ],
            grads=[each.grad / scale if scale != 1 else each.grad for each in preds if each.grad is not None],
            maps=terms.get("maps", {}),
            terms={name: terms[name].detach() for name in self.term_names},
        )

    def find_terms(self, batch: Batch) -> None:
        """The user's loss names its own terms: ask it once, without learning from it."""
        if self.detector.user.get("loss") is None:
            return
        moved = batch.to(self.compute.device)
        self.model.eval()
        detector = self.detector.at(batch.input_wh)
        terms = detector.loss(as_float(self.model(self.images(moved))), moved.targets)
        self.model.train()
        self.term_names = (*(name for name in terms if name not in ("total", "maps")), "total")

    def images(self, batch: Batch) -> Tensor:
        """uint8 to float 0..1, in the network's memory format."""
        images = batch.images.contiguous(memory_format=self.compute.memory_format)
        return images.float().div_(255)

    def record(self, terms: dict[str, Any], norm: Tensor) -> Tensor:
        values = [torch.as_tensor(terms[name], device=norm.device).detach() for name in self.term_names]
        return torch.stack([value.float().reshape(()) for value in [*values, norm]])

    def _clip(self) -> Tensor:
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        # on a CPU there is nothing to wait for, and a norm below the bound spares a pass over all gradients
        short = norm.device.type == "cpu" and bool(norm <= self.config.clip)
        if self.config.clip and not short:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self.config.clip, norm, foreach=True)
        return norm

    def _apply(self) -> None:
        if self.compute.scaled:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        elif self.compute.device.type == "cuda":
            # a fused optimizer looks at this flag on the device and leaves everything as it is
            self.optimizer.found_inf = (~self.finite.value).float()  # type: ignore[attr-defined]
            self.optimizer.grad_scale = None  # type: ignore[attr-defined]
            self.optimizer.step()
        elif not bool(self.finite.value):
            return
        else:
            self.optimizer.step()
        if self.ema is not None:
            self.ema.update()

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": self.ema and {"model": self.ema.model.state_dict(), "updates": self.ema.updates},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.compute.scaled:
            self.scaler.load_state_dict(state["scaler"])
        if self.ema is not None and state["ema"]:
            self.ema.model.load_state_dict(state["ema"]["model"])
            self.ema.updates = state["ema"]["updates"]


def as_float(pred: Pred) -> Pred:
    """Losses are taken in float32, whatever the network ran in."""
    return [each.float() for each in pred] if isinstance(pred, (list, tuple)) else pred.float()
