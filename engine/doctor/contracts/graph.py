"""The parameters that a loss depends on, read from its graph."""

from __future__ import annotations

from torch import Tensor, nn


def reached(total: Tensor) -> list[nn.Parameter]:
    """Every ``nn.Parameter`` that a backward pass from ``total`` would reach."""
    waiting = [total.grad_fn] if total.grad_fn is not None else []
    met = set(waiting)
    found: list[nn.Parameter] = []
    while waiting:
        node = waiting.pop()
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, nn.Parameter):
            found.append(leaf)
        for into, _ in node.next_functions:
            if into is not None and into not in met:
                met.add(into)
                waiting.append(into)
    return found
