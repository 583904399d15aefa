"""Gradients added over all ranks while the backward pass still runs.

Not by DistributedDataParallel: the loss is normalised by the whole batch, so the gradients are summed, not
averaged; a parameter that takes no part in the forward pass (a spare classifier) is left alone as on one
device, without a search of the graph in every step; and the user's module stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from .distributed import Group

BUCKET_BYTES = 25 * 2**20
"""Gradients travel in pieces of about this size."""


class _Bucket:
    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = list(parameters)
        first = self.parameters[0]
        self.flat = torch.zeros(sum(p.numel() for p in parameters), dtype=first.dtype, device=first.device)
        pieces = torch.split(self.flat, [p.numel() for p in parameters])
        self.views = [_like(piece, p) for piece, p in zip(pieces, parameters, strict=True)]
        self.made: set[int] = set()


class GradientSum:
    """Adds the gradients of backward passes inside ``gathering``; others are left as they are."""

    def __init__(self, parameters: Sequence[Tensor], group: Group, bucket_bytes: int = BUCKET_BYTES) -> None:
        self._group = group
        self._buckets = _in_buckets(parameters, bucket_bytes)
        self._reached: set[int] | None = None
        """Parameters (by their number) that a gradient comes to at some rank; None: not yet agreed on."""
        self._count = len(parameters)
        self._numbers = {id(p): k for k, p in enumerate(parameters)}
        self._gathering = False
        self._begun = 0
        self._waits: list[Callable[[], None]] = []
        self.changed = False
        """A gradient came to a parameter that none had come to: all ranks must ``agree_anew``, together.
        Until then that parameter stays as it is at all of them."""
        for bucket in self._buckets:
            for place, parameter in enumerate(bucket.parameters):
                parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                    lambda p, bucket=bucket, place=place: self._take(bucket, place, p)
                )

    def agree_anew(self) -> None:
        self._reached, self.changed = None, False

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """A backward pass; at the end of the block every gradient is the sum over the ranks."""
        for bucket in self._buckets:
            bucket.made.clear()
        self._begun, self._gathering = 0, True
        try:
            yield
            self._finish()
        finally:
            self._gathering = False
            self._waits.clear()

    def _take(self, bucket: _Bucket, place: int, parameter: Tensor) -> None:
        if not self._gathering or parameter.grad is None:
            return
        bucket.views[place].copy_(parameter.grad)
        bucket.made.add(place)
        while self._begun < len(self._buckets) and self._is_full(self._buckets[self._begun]):
            self._begin()

    def _is_full(self, bucket: _Bucket) -> bool:
        if self._reached is None:
            return len(bucket.made) == len(bucket.parameters)
        return all(
            k in bucket.made or self._numbers[id(p)] not in self._reached
            for k, p in enumerate(bucket.parameters)
        )

    def _begin(self) -> None:
        """The next bucket's sum: in the same order at every rank."""
        bucket = self._buckets[self._begun]
        for k, view in enumerate(bucket.views):
            if k not in bucket.made:
                view.zero_()
        self._waits.append(self._group.sum(bucket.flat))
        self._begun += 1

    def _finish(self) -> None:
        while self._begun < len(self._buckets):
            self._begin()
        made = {self._numbers[id(b.parameters[k])] for b in self._buckets for k in b.made}
        if self._reached is None:
            counts = self._group.exchange([float(k in made) for k in range(self._count)])
            self._reached = {k for k, count in enumerate(counts) if count}
        self.changed = self.changed or bool(made - self._reached)
        for wait in self._waits:
            wait()
        for bucket in self._buckets:
            for view, parameter in zip(bucket.views, bucket.parameters, strict=True):
                parameter.grad = view if self._numbers[id(parameter)] in self._reached else None


def _in_buckets(parameters: Sequence[Tensor], most: int) -> list[_Bucket]:
    """The last layers first: about the order in which a backward pass comes to them."""
    groups: list[list[Tensor]] = []
    size = 0
    for parameter in reversed(parameters):
        last = groups[-1][-1] if groups else None
        alike = last is not None and (last.dtype, last.device) == (parameter.dtype, parameter.device)
        if not alike or size >= most:
            groups.append([])
            size = 0
        groups[-1].append(parameter)
        size += parameter.numel() * parameter.element_size()
    return [_Bucket(group) for group in groups]


def _like(piece: Tensor, parameter: Tensor) -> Tensor:
    """A flat piece in the parameter's shape and memory format."""
    span = sum((n - 1) * step for n, step in zip(parameter.shape, parameter.stride(), strict=True)) + 1
    if span != parameter.numel():
        return piece.view(parameter.shape)
    return torch.as_strided(piece, parameter.shape, parameter.stride(), piece.storage_offset())
