"""How far one update moves each parameter, measured on a few values of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

VALUES = 256
"""Looked at in a parameter, evenly spaced."""


class Movement:
    """The trainable parameters of ``model``, looked at before and after an update."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.names = tuple(name for name, _ in named)
        self.is_weight = tuple(p.ndim > 1 for _, p in named)
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self.missing = tuple(name for name, p in named if id(p) not in held)
        """Trainable, but not in the optimizer."""
        self._parameters = [p for _, p in named]
        self._views = [spread(p) for p in self._parameters]
        counts = torch.tensor([view.numel() for view in self._views])
        device = self._parameters[0].device
        self._owner = torch.repeat_interleave(torch.arange(len(named)), counts).to(device)
        self._before: Tensor | None = None
        self._modules = dict(model.named_modules())
        self._hooks: list[RemovableHandle] = []
        self._ran: set[str] = set()

    def follow(self, names: Sequence[str]) -> None:
        """Before a forward pass: see which of these parameters' modules take part in it."""
        for name in names:
            owner = self._modules[name.rpartition(".")[0]]
            self._hooks.append(owner.register_forward_hook(lambda *_, name=name: self._ran.add(name)))

    def followed(self) -> set[str]:
        """Those that did."""
        for hook in self._hooks:
            hook.remove()
        ran, self._hooks, self._ran = self._ran, [], set()
        return ran

    def unreached(self) -> tuple[str, ...]:
        """After the backward pass: parameters that no gradient came to."""
        return tuple(n for n, p in zip(self.names, self._parameters, strict=True) if p.grad is None)

    @torch.no_grad()
    def before(self) -> None:
        self._before = torch.cat(self._views).float()

    @torch.no_grad()
    def after(self) -> Tensor:
        """``[parameters]``: norm of the update over norm of the parameter; 0 where nothing moved."""
        assert self._before is not None
        now = torch.cat(self._views).float()
        both = torch.stack(((now - self._before).square(), now.square()))
        sums = both.new_zeros(2, len(self.names)).index_add_(1, self._owner, both)
        self._before = None
        return (sums[0] / sums[1].clamp(min=1e-24)).sqrt()


def frozen_within(preds: list[Tensor]) -> list[tuple[int, ...]]:
    """Shapes of convolutions that do not learn although something before them does.

    A frozen backbone leaves no trace in the graph of the prediction; a frozen layer after a trainable one
    passes the gradient on and keeps none. Before the backward pass, which frees what the graph holds.
    """
    shapes = []
    for node in _nodes(preds):
        inputs = [into for into, _ in node.next_functions]
        if node.name() == "ConvolutionBackward0" and inputs[0] is not None and inputs[1] is None:
            shapes.append(tuple(cast(Any, node)._saved_weight.shape))
    return shapes


def _nodes(preds: list[Tensor]) -> Iterator[torch.autograd.graph.Node]:
    waiting = [pred.grad_fn for pred in preds if pred.grad_fn is not None]
    met = set(waiting)
    while waiting:
        node = waiting.pop()
        yield node
        for into, _ in node.next_functions:
            if into is not None and into not in met:
                met.add(into)
                waiting.append(into)


def spread(parameter: Tensor) -> Tensor:
    """A view of evenly spaced values in the order in which they lie in memory, whatever the format."""
    count = parameter.numel()
    step = -(-count // VALUES) or 1
    if step > 1 and step % 2 == 0:
        step += 1  # an odd stride does not stay in one column of a matrix of even width
    return torch.as_strided(parameter.detach(), (-(-count // step),), (step,), parameter.storage_offset())
