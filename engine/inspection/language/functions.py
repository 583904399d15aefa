"""The functions of the slice language. There are no others."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ELEMENTWISE: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "sigmoid": torch.sigmoid,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "isnan": torch.isnan,
    "isinf": torch.isinf,
    "isfinite": torch.isfinite,
}


def _std(values: Tensor, dims: list[int]) -> Tensor:
    """torch's own: n - 1 in the divisor; NaN for a single value, without its warning."""
    count = 1
    for dim in dims:
        count *= values.shape[dim]
    if count < 2:
        return torch.full_like(values.sum(dim=dims), float("nan"))
    return values.std(dim=dims)


REDUCTIONS: dict[str, Callable[[Tensor, list[int]], Tensor]] = {
    "mean": lambda values, dims: values.mean(dim=dims),
    "min": lambda values, dims: values.amin(dim=dims),
    "max": lambda values, dims: values.amax(dim=dims),
    "std": _std,
    "sum": lambda values, dims: values.sum(dim=dims),
    "any": lambda values, dims: (values != 0).any(dim=dims),
    "all": lambda values, dims: (values != 0).all(dim=dims),
    "count": lambda values, dims: (values != 0).sum(dim=dims),
}
"""Of float tensors, over the given axes (at least one). ``count``: values that are true or not 0."""

FUNCTIONS = (*ELEMENTWISE, *REDUCTIONS)
