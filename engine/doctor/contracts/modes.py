"""The network learns in train mode, and its batch norms' statistics stay sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ..findings import Finding
from .roster import some
from .saying import finding
from .witness import Arrival, Happening

ENOUGH = 2
"""Gradients in a row that arrive in a wrong mode."""
STRAY = 8
"""Forward passes of batch norms in train mode, above what the backward passes explain."""


class Modes:
    def __init__(self, model: nn.Module) -> None:
        self._model = model
        named = list(model.named_modules())
        self._norms: list[tuple[str, Any]] = [
            (name, m) for name, m in named if isinstance(m, _BatchNorm) and m.running_mean is not None
        ]
        self._drops = [(name, m) for name, m in named if isinstance(m, _DropoutNd) and m.p > 0]
        self._sensitive = [m for _, m in (*self._norms, *self._drops)]
        self._trained = False
        """A gradient was seen to arrive in train mode."""
        self._wrong = self._partly = 0

    def now(self) -> tuple[bool, tuple[bool, ...]]:
        """Whether the model is in train mode, and each of its modules that the mode matters to."""
        return self._model.training, tuple(m.training for m in self._sensitive)

    def begin(self) -> None:
        """A new look: the statistics as they stand at its first iteration are what it compares with."""
        self._wrong = self._partly = 0
        self._start = self._statistics()
        self._arrivals: dict[int, int] = {}

    def take(self, happened: Sequence[Happening]) -> list[Finding]:
        found: list[Finding] = []
        arrivals = [each for each in happened if isinstance(each, Arrival)]
        for a in arrivals:
            self._arrivals[a.probe] = self._arrivals.get(a.probe, 0) + 1
            off = bool(a.modes) and not any(a.modes)
            self._wrong = self._wrong + 1 if not a.training and (off or not a.modes) else 0
            self._partly = self._partly + 1 if a.training and not all(a.modes[: len(self._norms)]) else 0
            self._trained = self._trained or (a.training and any(a.modes))
        if self._wrong >= ENOUGH:
            found += self._evaluating()
        if self._partly >= ENOUGH:
            found += self._standing()
        return found

    def end(self) -> list[Finding]:
        """At the end of a look: the statistics, read once."""
        if not self._norms:
            return []
        return self._poisoned() + self._not_updated()

    # train mode

    def _evaluating(self) -> list[Finding]:
        if not self._sensitive:
            return [
                finding(
                    "mode",
                    "info",
                    "loop",
                    "the model is in eval mode while it is trained; it has no layer that torch knows to care",
                    expected="model.train() before the training steps",
                    got="model.training is False at backward()",
                    fix="call model.train(): a later batch norm or dropout would need it",
                )
            ]
        trainable = [name for name, m in self._norms if any(p.requires_grad for p in m.parameters())]
        if not self._trained and not trainable and not self._drops and not self._initial():
            return [
                finding(
                    "mode",
                    "info",
                    "loop",
                    "the model is in eval mode while it is trained; its batch norms are frozen",
                    expected="model.train(), unless the statistics are to stay",
                    got=f"{len(self._norms)} batch norms without trainable parameters, in eval mode",
                    fix="nothing, if that is meant",
                )
            ]
        certain = self._trained or bool(self._initial())
        went = "the training began in train mode and goes on in eval mode" if self._trained else ""
        return [
            finding(
                "mode",
                "error" if certain else "warning",
                "loop",
                went or "the model is trained in eval mode",
                expected="model.train() before each epoch's training steps",
                got=f"model.training is False at backward(): {self._idle()}",
                fix="call model.train() at the top of the epoch; validation's model.eval() stays in force "
                "until then",
            )
        ]

    def _idle(self) -> str:
        parts = [f"{len(self._norms)} batch norms use their running statistics"] if self._norms else []
        parts += [f"{len(self._drops)} dropouts do nothing"] if self._drops else []
        return ", ".join(parts)

    def _standing(self) -> list[Finding]:
        """In a model that is in train mode, batch norms that are not: frozen on purpose, as a rule."""
        still = [(name, m) for name, m in self._norms if not m.training]
        initial = [name for name in self._initial() if name in {n for n, _ in still}]
        if initial:
            return [
                finding(
                    "norm.initial",
                    "warning",
                    "loop",
                    f"{len(initial)} batch norms are frozen at statistics that nothing was measured for: "
                    f"{some(initial)}",
                    expected="running statistics of a pretrained network, or train mode",
                    got="mean 0 and variance 1",
                    fix="load the pretrained weights before freezing, or leave them in train mode",
                )
            ]
        return [
            finding(
                "norm.frozen",
                "info",
                "loop",
                f"{len(still)} of {len(self._norms)} batch norms are in eval mode: their statistics stay",
                expected="train mode, or frozen on purpose",
                got=some([name for name, _ in still]),
                fix="nothing, if that is meant",
            )
        ]

    def _initial(self) -> list[str]:
        """Batch norms whose statistics are those of a fresh module."""
        norms = [(name, m) for name, m in self._norms if not m.training]
        fresh = [
            torch.stack(((m.running_mean == 0).all(), (m.running_var == 1).all())).all() for _, m in norms
        ]
        return [name for (name, _), is_fresh in zip(norms, _read(fresh), strict=True) if is_fresh]

    # statistics

    def _statistics(self) -> list[tuple[Tensor, Tensor | None]]:
        return [
            (
                m.running_mean.detach().clone(),
                None if m.num_batches_tracked is None else m.num_batches_tracked.detach().clone(),
            )
            for _, m in self._norms
        ]

    def _poisoned(self) -> list[Finding]:
        sums = [torch.isfinite(m.running_mean.sum() + m.running_var.sum()) for _, m in self._norms]
        bad = [name for (name, _), fine in zip(self._norms, _read(sums), strict=True) if not fine]
        if not bad:
            return []
        return [
            finding(
                "norm.poisoned",
                "error",
                "loop",
                f"the running statistics of {len(bad)} batch norms are not finite: {some(bad)}",
                expected="finite running means and variances",
                got="NaN or infinity: every later evaluation of this network gives NaN",
                fix="a batch with NaN or infinity went through in train mode: find it, and go back to a "
                "checkpoint before it",
            )
        ]

    def _not_updated(self) -> list[Finding]:
        counted = [
            (name, m, mean, count)
            for (name, m), (mean, count) in zip(self._norms, self._start, strict=True)
            if count is not None and m.num_batches_tracked is not None and m.training
        ]
        if not counted:
            return []
        passes = _read([m.num_batches_tracked - count for _, m, _, count in counted])
        stood = _read([(m.running_mean == mean).all() for _, m, mean, _ in counted])
        still = [name for (name, *_), n, same in zip(counted, passes, stood, strict=True) if n >= 3 and same]
        if not still:
            return self._stray(int(min(passes)))
        return [
            finding(
                "norm.still",
                "warning",
                "loop",
                f"the running means of {len(still)} batch norms do not move: {some(still)}",
                expected="statistics that follow the training images",
                got="the same to the bit after several batches in train mode",
                fix="is their momentum 0, or are they put back? Evaluation uses these values",
            )
        ]

    def _stray(self, passes: int) -> list[Finding]:
        """Forward passes in train mode that no backward pass belongs to: those of an evaluation."""
        backward = max(self._arrivals.values(), default=0)
        if not backward or passes <= STRAY + 3 * backward:
            return []
        return [
            finding(
                "norm.evaluated",
                "warning",
                "loop",
                f"the network ran {passes} times in train mode for {backward} backward passes: an evaluation "
                "in train mode changes its batch norms",
                expected="model.eval() before an evaluation, model.train() after it",
                got=f"{passes - backward} forward passes without a backward one",
                fix="call model.eval() before validating",
            )
        ]


def _read(values: Sequence[Tensor]) -> list[float]:
    return torch.stack([v.float().reshape(()) for v in values]).tolist() if values else []
