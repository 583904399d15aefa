"""A non-finite loss or gradient is never applied.

On the CPU the flag is read at once and the step withheld. On a device the flag stays there: it is handed to
the fused optimizer as ``found_inf`` and sticks, so that every later step is withheld too until the host
reads it. Batch norm's running statistics move in the forward pass, before anything is known: they are
kept in one flat buffer and put back by a select.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RunningStatistics:
    """The floating buffers of a model (batch norm's means and variances), restorable in one operation."""

    def __init__(self, model: nn.Module) -> None:
        owners = [
            (module, name, buffer)
            for module in model.modules()
            for name, buffer in module.named_buffers(recurse=False)
            if buffer.is_floating_point()
        ]
        pieces = [buffer.reshape(-1) for _, _, buffer in owners]
        self.flat = torch.cat(pieces) if pieces else torch.zeros(0)
        place = 0
        for module, name, buffer in owners:
            view = self.flat[place : place + buffer.numel()].view(buffer.shape)
            module._buffers[name] = view
            place += buffer.numel()
        self._kept = self.flat.clone()

    def keep(self) -> None:
        """Remember the statistics as they stand before a forward pass."""
        self._kept.copy_(self.flat)

    def moved(self) -> Tensor:
        """How far the forward pass moved them."""
        return self.flat - self._kept

    def move(self, by: Tensor) -> None:
        """From where they were kept, in the place of what the forward pass did."""
        torch.add(self._kept, by, out=self.flat)

    def restore_unless(self, finite: Tensor) -> None:
        """Put the remembered statistics back where ``finite`` (a scalar on the device) is false."""
        torch.where(finite, self.flat, self._kept, out=self.flat)


class FiniteFlag:
    """True as long as every step so far was finite; lives on the device."""

    def __init__(self, device: torch.device) -> None:
        self.value = torch.ones((), dtype=torch.bool, device=device)

    def observe(self, values: Tensor) -> None:
        self.value = self.value & values.isfinite().all()

    def reset(self) -> None:
        self.value = torch.ones_like(self.value)
