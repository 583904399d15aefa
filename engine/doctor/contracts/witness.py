"""What happens in a stranger's loop, in its order: gradients that arrive, steps of the optimizers.

Hooks alone see it, so it does not matter where in the loop the judge is called. Nothing waits for the
device: what must be known of tensors is kept as tensors and read by ``take``, all at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..monitors.movement import spread
from .roster import Optimizer, Roster

SMALLEST = 0.5
"""Weights are taken to be at least this over the root of their fan-in (torch's own draws have 0.58): of a
layer that begins at zero any step is large beside its weights, and means nothing."""
PROBES = 6
"""Parameters whose gradients are watched as they arrive: the first, the last, some between."""
ROWS = ("gradient", "sampled", "ratio", "moved", "undone", "between")
"""Measured of each parameter at a step: largest gradient; whether a sampled value has one and ought to move
by it; size of the update over the size of the weights; whether the sample moved; whether it stood where it
stood before the previous step, though that one moved it; whether it was changed between the two."""


@dataclass(frozen=True)
class Arrival:
    """A gradient reached probe ``probe``. ``dirty``: what its ``.grad`` still held was not zero."""

    probe: int
    dirty: bool
    finite: bool
    training: bool
    modes: tuple[bool, ...]


@dataclass(frozen=True)
class Update:
    """A call of ``optimizer.step``, from outside. ``measured``: ``ROWS`` by name, a value a parameter."""

    optimizer: int
    rates: tuple[float, ...]
    closure: bool
    withheld: bool
    reached: tuple[bool, ...]
    """Parameters that had a gradient at all."""
    foreign_reached: bool
    """Whether any parameter that is not the model's had one."""
    measured: dict[str, list[float]]
    fresh: bool
    """No state was kept of an earlier step."""
    ticks: tuple[int, ...] = ()
    """How often each scheduler had been stepped."""


Happening = Arrival | Update


@dataclass
class _Step:
    """An update while it is going on, still on the device."""

    optimizer: int
    rates: tuple[float, ...]
    closure: bool
    withheld: Tensor | None
    reached: tuple[bool, ...]
    foreign_reached: bool
    fresh: bool
    ticks: tuple[int, ...]
    gradient: Tensor
    sampled: Tensor
    before: Tensor
    rows: Tensor | None = None


@dataclass
class Witness:
    """``modes`` tells at each arrival how the modules stand, ``ticks`` at each step how often the schedulers
    were stepped. ``take`` gives what happened since it was last asked."""

    model: nn.Module
    roster: Roster
    optimizers: Sequence[Optimizer]
    modes: Callable[[], tuple[bool, tuple[bool, ...]]]
    ticks: Callable[[], tuple[int, ...]]
    seconds: float = 0.0
    """Spent in the hooks of optimizer steps."""
    probes: list[int] = field(default_factory=list)
    _log: list[tuple[int, Tensor | bool, Tensor, bool, tuple[bool, ...]] | _Step] = field(
        default_factory=list
    )
    _handles: list[RemovableHandle] = field(default_factory=list)
    _open: _Step | None = None
    _dirty: dict[int, Tensor | bool] = field(default_factory=dict)
    _last: tuple[Tensor, Tensor] | None = None
    """The sampled values before and after the step before."""
    _owner: Tensor | None = None
    _floor: Tensor | None = None

    def attach(self) -> None:
        self._last = None
        self.probes = self._choose()
        for k, place in enumerate(self.probes):
            p = self.roster.parameters[place]
            self._handles.append(
                p.register_hook(  # type: ignore[no-untyped-call]
                    self._before_arrival(k, p)
                )
            )
            self._handles.append(
                p.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                    self._after_arrival(k)
                )
            )
        for o, optimizer in enumerate(self.optimizers):
            # a wrapper that never called Optimizer.__init__ has no place for hooks: its inner one has
            if hasattr(optimizer, "_optimizer_step_pre_hooks"):
                self._handles.append(optimizer.register_step_pre_hook(self._step_begins(o)))
                self._handles.append(optimizer.register_step_post_hook(self._step_ends(o)))

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._open, self._dirty, self._last = [], None, {}, None

    @property
    def attached(self) -> bool:
        return bool(self._handles)

    def _choose(self) -> list[int]:
        """Spread over each optimizer's parameters, or over the model's where none holds any."""
        chosen: list[int] = []
        for o in range(len(self.optimizers)):
            own = [k for k in self.roster.of(o) if k not in chosen]
            most = max(2, PROBES // len(self.optimizers))
            chosen += [own[(len(own) - 1) * j // (most - 1)] for j in range(most)] if own else []
        chosen = chosen or [0, len(self.roster.parameters) - 1] if self.roster.parameters else []
        return sorted(set(chosen))

    def module_of(self, parameter: str) -> nn.Module | None:
        """The module that owns a parameter of this name."""
        found = dict(self.model.named_modules()).get(parameter.rpartition(".")[0])
        return found if isinstance(found, nn.Module) else None

    # hooks

    def _before_arrival(self, k: int, p: nn.Parameter) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            held = p.grad
            self._dirty[k] = False if held is None else _values(held).any()

        return hook

    def _after_arrival(self, k: int) -> Callable[[Tensor], None]:
        def hook(p: Tensor) -> None:
            # not every gradient that is computed is kept: autograd.grad comes as far as the hook before
            training, modes = self.modes()
            finite = torch.isfinite(_values(p.grad)).all() if p.grad is not None else torch.tensor(True)
            self._log.append((k, self._dirty.pop(k, False), finite, training, modes))

        return hook

    def _step_begins(self, o: int) -> Callable[..., None]:
        @torch.no_grad()
        def hook(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._open is not None:
                return  # the inner one of a wrapper
            started = time.perf_counter()
            closure = any(callable(each) for each in (*args[1:], *kwargs.values()))
            gradients = [p.grad for p in self.roster.parameters]
            before = self._sample()
            self._open = _Step(
                optimizer=o,
                rates=tuple(_rate(group["lr"]) if "lr" in group else 0.0 for group in optimizer.param_groups),
                closure=closure,
                withheld=getattr(optimizer, "found_inf", None),
                reached=tuple(g is not None for g in gradients),
                foreign_reached=any(p.grad is not None for p in self.roster.foreign),
                fresh=not optimizer.state,
                ticks=self.ticks(),
                gradient=self._largest(gradients),
                sampled=self._ought(gradients, before, optimizer),
                before=before,
            )
            self.seconds += time.perf_counter() - started

        return hook

    def _step_ends(self, o: int) -> Callable[..., None]:
        @torch.no_grad()
        def hook(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            step = self._open
            if step is None or step.optimizer != o:
                return
            started = time.perf_counter()
            after = self._sample()
            sums = self._sums(torch.stack(((after - step.before).square(), after.square())))
            ratio = (sums[0] / torch.maximum(sums[1], self._least(sums))).sqrt()
            moved = self._any(after != step.before)
            nothing = torch.zeros_like(moved)
            undone = between = nothing
            if self._last is not None:
                earlier, later = self._last
                between = self._any(step.before != later)
                undone = (1 - self._any(step.before != earlier)) * self._any(earlier != later)
            step.rows = torch.stack((step.gradient, step.sampled, ratio, moved, undone, between))
            self._last = step.before, after
            self._log.append(step)
            self._open = None
            self.seconds += time.perf_counter() - started

        return hook

    # measuring

    def sample(self) -> Tensor:
        """``[values]``: some values of every parameter, as they stand now."""
        with torch.no_grad():
            return self._sample()

    def same(self, a: Tensor, b: Tensor) -> list[bool]:
        """By parameter, whether two samples are equal to the bit."""
        return [not value for value in self._any(a != b).tolist()]

    def _sample(self) -> Tensor:
        # taken anew each time: some loops give a parameter new memory (p.data = ...)
        device = self.roster.parameters[0].device
        return torch.cat([spread(p.detach()).to(device, torch.float32) for p in self.roster.parameters])

    def _largest(self, gradients: Sequence[Tensor | None]) -> Tensor:
        device = self.roster.parameters[0].device
        zero = torch.zeros((), device=device)
        each = [
            _values(g).abs().amax().float().to(device) if g is not None and g.numel() else zero
            for g in gradients
        ]
        return torch.stack(each)

    def _ought(self, gradients: Sequence[Tensor | None], before: Tensor, optimizer: Optimizer) -> Tensor:
        """Whether plain descent would visibly move a sampled value."""
        device = before.device
        parts = []
        for p, g in zip(self.roster.parameters, gradients, strict=True):
            if g is None or g.is_sparse:
                g = torch.zeros_like(p)
            elif g.stride() != p.stride():  # the sample goes by the order in memory
                g = torch.empty_like(p).copy_(g)
            parts.append(spread(g).to(device, torch.float32))
        rate = max((_rate(group["lr"]) for group in optimizer.param_groups if "lr" in group), default=0.0)
        return self._any(torch.cat(parts).abs() * rate > 1e-5 * before.abs() + 1e-12)

    def _owners(self, like: Tensor) -> Tensor:
        if self._owner is None or self._owner.device != like.device:
            counts = torch.tensor([spread(p.detach()).numel() for p in self.roster.parameters])
            self._owner = torch.repeat_interleave(torch.arange(len(counts)), counts).to(like.device)
        return self._owner

    def _least(self, like: Tensor) -> Tensor:
        """``[parameters]``: the least sum of squares that a parameter's sample is taken to have."""
        if self._floor is None or self._floor.device != like.device:
            people = self.roster.parameters
            counts = [spread(p.detach()).numel() for p in people]
            inside = [p.numel() / max(1, p.shape[0]) if p.ndim > 1 else 0.0 for p in people]
            least = [n * SMALLEST**2 / fan if fan else 0.0 for n, fan in zip(counts, inside, strict=True)]
            self._floor = torch.tensor(least).clamp(min=1e-24).to(like.device)
        return self._floor

    def _sums(self, values: Tensor) -> Tensor:
        return values.new_zeros(len(values), len(self.roster.parameters)).index_add_(
            1, self._owners(values), values
        )

    def _any(self, flags: Tensor) -> Tensor:
        return (self._sums(flags.float()[None])[0] > 0).float()

    # reading

    def take(self) -> list[Happening]:
        """All that happened since the last call, in its order: one wait for the device."""
        log, self._log = self._log, []
        flat: list[Tensor] = []
        for entry in log:
            if isinstance(entry, _Step):
                assert entry.rows is not None
                withheld = entry.withheld if isinstance(entry.withheld, Tensor) else torch.zeros(1)
                flat += [entry.rows.flatten(), withheld.detach().float().reshape(-1)[:1]]
            else:
                dirty = entry[1]
                flat += [
                    (dirty if isinstance(dirty, Tensor) else torch.tensor(dirty)).float().reshape(1),
                    entry[2].float().reshape(1),
                ]
        if not flat:
            return []
        device = self.roster.parameters[0].device
        read = torch.cat([each.to(device) for each in flat]).tolist()
        happened: list[Happening] = []
        count, at = len(self.roster.parameters), 0
        for entry in log:
            if isinstance(entry, _Step):
                rows = {name: read[at + k * count : at + (k + 1) * count] for k, name in enumerate(ROWS)}
                at += len(ROWS) * count + 1
                happened.append(
                    Update(
                        entry.optimizer,
                        entry.rates,
                        entry.closure,
                        bool(read[at - 1]),
                        entry.reached,
                        entry.foreign_reached,
                        rows,
                        entry.fresh,
                        entry.ticks,
                    )
                )
            else:
                happened.append(Arrival(entry[0], bool(read[at]), bool(read[at + 1]), entry[3], entry[4]))
                at += 2
        return happened


def _values(gradient: Tensor) -> Tensor:
    gradient = gradient.detach()
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def _rate(value: Any) -> float:
    return float(value)
