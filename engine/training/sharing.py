"""One global batch on several ranks: each sees its part, and what is learnt is what one process would learn.

Every term is normalised by the whole batch, so over the ranks terms and gradients are plain sums. Batch
norm's running statistics move by the mean of what they would move at each rank: weights, statistics and
average are the same everywhere after every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..data.batches import Batch
from ..yolo.detector import Detector, Pred
from ..yolo.loss import Whole
from .distributed import Group
from .gradients import GradientSum
from .nonfinite import RunningStatistics

COUNTED = 2
"""Values that ``record`` has behind the norm: images and objects of the whole batch."""


class Sharing:
    """A stepper's part in a group. Its methods are called in their order, at every rank."""

    def __init__(
        self,
        group: Group,
        detector: Detector,
        parameters: Sequence[Tensor],
        statistics: RunningStatistics,
        device: torch.device,
    ) -> None:
        self.group = group
        self.gradients = GradientSum(parameters, group)
        self._of_any_size = self._detector = detector
        self._statistics = statistics
        self._device = device
        self._idle = False

    def begin(self, batch: Batch, idle: bool) -> None:
        """``idle``: a last batch of fewer images than ranks left none for this one; the image it has instead
        keeps it in step (batch norm and the user's module may meet the others in it) and counts nothing."""
        self._idle = idle
        self._detector = self._of_any_size.at(batch.input_wh)
        counts = [float(len(batch)), float(batch.objects), 0.0]
        found = self._positives(batch)
        if isinstance(found, int):
            counts[2] = float(found)
        self._own = torch.tensor(counts).to(self._device, non_blocking=True)
        if isinstance(found, Tensor):
            self._own[2] += found
        if idle:
            self._own.zero_()
        self._counts = self._own.clone()
        self._wait_counts = self.group.sum(self._counts)

    def forward_done(self) -> None:
        """The statistics have moved: begin to make their moves one."""
        self._moves = self._statistics.moved().div_(self.group.size)
        self._wait_moves = self.group.sum(self._moves)

    def loss(self, pred: Pred, batch: Batch, names: Sequence[str], seen: int, maps: bool) -> dict[str, Any]:
        """This part's share of every term: over the ranks they add up to the term. ``names``: those that are
        recorded."""
        self._wait_counts()
        whole = Whole(self._counts[0], self._counts[2])
        terms = self._detector.loss(pred, batch.targets, seen=seen, maps=maps, whole=whole)
        if self._detector.user.get("loss") is not None:
            terms = self._weighed(terms, self._user_weight())
        elif self._idle:
            terms = self._weighed(terms, 0.0)
        shares = [torch.as_tensor(terms[name], device=self._device).detach() for name in names]
        self._terms = torch.stack([share.float().reshape(()) for share in shares])
        self._wait_terms = self.group.sum(self._terms)
        return terms

    @contextmanager
    def backward(self) -> Iterator[None]:
        with self.gradients.gathering():
            yield
        self._wait_moves()
        self._statistics.move(self._moves)
        self._wait_terms()

    def record(self, norm: Tensor) -> Tensor:
        """The terms of the whole batch, the norm of its gradient, its images and objects."""
        return torch.cat((self._terms, norm.float().reshape(1), self._counts[:COUNTED]))

    def _positives(self, batch: Batch) -> int | Tensor:
        encoded = batch.targets
        if self._detector.user.get("loss") is not None and self._detector.profile.reduction != "positives":
            return 0
        if encoded.positives is not None:
            return sum(len(each.index) for each in encoded.positives)
        heads = self._detector.heads
        declared = zip(encoded.targets, heads, strict=True)
        masks = [self._detector.layout.read_targets(target, head)[..., 0] for target, head in declared]
        return torch.stack([mask.count_nonzero() for mask in masks]).sum()

    def _user_weight(self) -> Tensor | float:
        """Of the terms that the user's loss made of its part alone, by what it declares to divide by."""
        if self._idle:
            return 0.0
        if self._detector.profile.reduction == "positives":
            return self._own[2].clamp(min=1) / self._counts[2].clamp(min=1)
        return self._own[0] / self._counts[0]

    @staticmethod
    def _weighed(terms: dict[str, Any], weight: Tensor | float) -> dict[str, Any]:
        weighed = {name: value * weight for name, value in terms.items() if name != "maps"}
        if "maps" in terms:
            weighed["maps"] = {name: [m * weight for m in each] for name, each in terms["maps"].items()}
        return weighed


@contextmanager
def alone(model: nn.Module, group: Group) -> Iterator[None]:
    """A pass that this rank makes by itself: synchronised batch norm meets nobody."""
    norms = [module for module in model.modules() if isinstance(module, nn.SyncBatchNorm)]
    for norm in norms:
        norm.process_group = group.own
    try:
        yield
    finally:
        for norm in norms:
            norm.process_group = None
