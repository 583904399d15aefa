"""The gradient of each term with respect to the prediction: who learns, who does not, who is in the sum.

A backward pass through the loss alone for each term, without the network; done rarely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...layout import Head, Layout

MOST = 500_000
"""Values a term of which the scalar products are taken: those of the first images."""


def term_gradients(
    terms: Mapping[str, Any],
    names: Sequence[str],
    preds: Sequence[Tensor],
    layout: Layout,
    heads: Sequence[Head],
) -> Tensor:
    """``[T + T * T]``: the norms over the whole batch, the products over its first images."""
    norms, parts = [], []
    for name in names:
        gradients = _gradients(terms[name], preds)
        norms.append(torch.stack([g.double().square().sum() for g in gradients]).sum().sqrt())
        parts.append(torch.cat([_first(g, layout, h) for g, h in zip(gradients, heads, strict=True)]))
    vectors = torch.stack(parts).double()
    return torch.cat((torch.stack(norms), (vectors @ vectors.T).flatten())).float()


def _gradients(term: Any, preds: Sequence[Tensor]) -> list[Tensor]:
    if not isinstance(term, Tensor) or not term.requires_grad:
        return [torch.zeros_like(pred) for pred in preds]
    # summed: a user's term may come as a tensor of one value
    found = torch.autograd.grad(term.sum(), list(preds), retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(preds, found, strict=True)]


def _first(gradient: Tensor, layout: Layout, head: Head) -> Tensor:
    slots = layout.read_pred(gradient, head)
    images = max(1, MOST // max(1, slots[0].numel()))
    return slots[:images].flatten()
