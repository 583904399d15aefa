"""What the loop's own thread leaves of a step: numbers still on their device, and references to tensors.

Nothing here copies a tensor or waits for a device, unless a copy was asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

HELD_BYTES = 16 * 2**20
"""Of tensors kept alive by reference until the recorder's thread has looked at their step's losses; the
newest step is held whatever its size, and of older ones the images go first."""

Scalar = Tensor | float
PARTS = ("images", "pred", "targets", "decoded", "boxes", "labels", "maps")


@dataclass(slots=True, eq=False)
class Given:
    """A step's tensors as the loop handed them over, detached."""

    images: Any = None
    pred: list[Any] | None = None
    targets: list[Any] | None = None
    decoded: list[Any] | None = None
    grad: list[Any] | None = None
    """d total / d pred, where the loop asked for it with ``pred.retain_grad()``."""
    boxes: Any = None
    labels: Any = None
    maps: Mapping[str, Any] | None = None
    paths: tuple[str, ...] = ()
    versions: list[tuple[Tensor, int]] = field(default_factory=list)
    image_bytes: int = 0
    other_bytes: int = 0

    @property
    def overwritten(self) -> bool:
        """Whether the loop has changed one of them in place since."""
        return any(tensor._version != version for tensor, version in self.versions)


@dataclass(slots=True, eq=False)
class Observed:
    step: int
    epoch: int
    iteration: int
    names: tuple[str, ...]
    values: list[float]
    """Of ``names``, the gradient's norm, the learning rate; where it is on a device, a place to be filled."""
    places: list[int]
    """Of ``values``: those that ``record`` holds."""
    record: Tensor | None
    ready: Any
    """A CUDA event behind ``record``; None on other devices."""
    seconds: float
    images: int
    objects: int
    given: Given | None = None
    reason: str = ""
    """Why it is to be written to disk: asked for, scheduled."""
    read: bool = False


def collect(
    losses: Mapping[str, Any], others: Sequence[Any], misfit: Callable[[str, Any], None]
) -> tuple[tuple[str, ...], list[float], list[int], Tensor | None]:
    """Scalars -> names of the losses; host values of losses and ``others``; the places of those that are
    elsewhere, and these in one new tensor.

    A tensor on the CPU is read at once (nobody waits there); one on a device is copied there, in the order
    of its stream. A loss that is no scalar is handed to ``misfit`` and left out.
    """
    names: list[str] = []
    host: list[float] = []
    places: list[int] = []
    away: list[Tensor] = []

    def add(value: Any) -> None:
        if not isinstance(value, Tensor):
            host.append(float(value))
        elif value.device.type == "cpu":
            host.append(float(value.item()))
        else:
            places.append(len(host))
            away.append(value.detach().reshape(()))
            host.append(0.0)

    for name, value in losses.items():
        if isinstance(value, Tensor) and value.numel() != 1:
            misfit(name, value)
            continue
        try:
            add(value)
        except (TypeError, ValueError):
            misfit(name, value)
            continue
        names.append(str(name))
    for value in others:
        add(value)
    if not away:
        return tuple(names), host, places, None
    if len({each.device for each in away}) > 1:
        away = [each.to(away[0].device, non_blocking=True) for each in away]
    return tuple(names), host, places, torch.stack([each.float() for each in away])


def give(parts: Mapping[str, Any], paths: Sequence[str] | None, copy: bool) -> Given | None:
    """References to what was handed over, or copies; None where that is nothing."""
    given = Given(paths=tuple(map(str, paths)) if paths else ())
    found = False

    def keep(value: Any) -> Any:
        if isinstance(value, Tensor):
            held = value if value.grad_fn is None and not value.requires_grad else value.detach()
            if copy or held.is_inference():
                return held.clone()
            given.versions.append((held, held._version))
            return held
        if copy and hasattr(value, "copy"):
            return value.copy()
        return value

    for name in PARTS:
        value = parts.get(name)
        if value is None:
            continue
        found = True
        if name == "images":
            given.images = keep(value)
            given.image_bytes = _bytes(given.images)
        elif name in ("boxes", "labels"):
            listed = isinstance(value, (list, tuple))
            setattr(given, name, _truths(value, given, keep, copy) if listed else keep(value))
        elif name == "maps":
            given.maps = {
                term: [keep(each) for each in (maps if isinstance(maps, (list, tuple)) else [maps])]
                for term, maps in value.items()
            }
        else:
            several = value if isinstance(value, (list, tuple)) else [value]
            if name == "pred":
                grads = [_gradient(each) for each in several]
                given.grad = None if any(each is None for each in grads) else [keep(g) for g in grads]
            setattr(given, name, [keep(each) for each in several])
            given.other_bytes += sum(_bytes(each) for each in several)
    return given if found else None


def _truths(values: Sequence[Any], given: Given, keep: Callable[[Any], Any], copy: bool) -> list[Any]:
    """An entry an image: many, and leaves as a rule, which need not be detached."""
    plain = [each for each in values if isinstance(each, Tensor) and each.grad_fn is None]
    if copy or len(plain) < len(values) or any(each.is_inference() for each in plain):
        return [keep(each) for each in values]
    given.versions += [(each, each._version) for each in plain]
    return plain


def _gradient(pred: Any) -> Tensor | None:
    if isinstance(pred, Tensor) and (pred.retains_grad or (pred.is_leaf and pred.requires_grad)):
        return pred.grad
    return None


def _bytes(value: Any) -> int:
    return int(getattr(value, "nbytes", 0))


class Held:
    """References within ``limit`` bytes: the newest step's always, then as many as fit; images go first."""

    def __init__(self, limit: int = HELD_BYTES) -> None:
        self._limit = limit
        self._steps: deque[Observed] = deque()
        self._images: deque[Given] = deque()
        self._bytes = 0

    def add(self, observed: Observed) -> bool:
        """Whether something had to go: the recorder's thread should look before the next step."""
        assert observed.given is not None
        while self._steps and self._steps[0].read:
            self._let_go()
        self._steps.append(observed)
        self._images.append(observed.given)
        self._bytes += observed.given.image_bytes + observed.given.other_bytes
        crowded = self._bytes > self._limit
        while self._bytes > self._limit and len(self._images) > 1:
            self._drop_images(self._images.popleft())
        while self._bytes > self._limit and len(self._steps) > 1:
            self._let_go()
        return crowded

    def _let_go(self) -> None:
        gone = self._steps.popleft()
        given, gone.given = gone.given, None
        if given is None:
            return
        if self._images and self._images[0] is given:
            self._images.popleft()
        self._bytes -= given.image_bytes + given.other_bytes

    def _drop_images(self, given: Given) -> None:
        given.versions = [pair for pair in given.versions if pair[0] is not given.images]
        given.images = None
        self._bytes -= given.image_bytes
        given.image_bytes = 0
