"""The slice language: slices as they are written in code, over one frame's tensors.

``pred[0, :, :, 2, 1:5]``, ``pred[0, 4, 7, 2].w``, ``targets.iou``, ``loss.lbox``, ``pred@1[...]`` for head 1
(the focused head otherwise), arithmetic and comparisons, ``pred[..., 1:5] where mask > 0``,
``mean(pred.conf, dim=c)``. The grammar stands in ``language/parser.py``, the names in
``language/namespace.py``, the functions in ``language/functions.py``. ``pred``, ``targets``, ``decoded`` and
``grad`` are in the declared order, exactly as code has them; maps of one value a slot (``conf``, ``iou``,
``loss.lbox``, ``mask`` ...) are in that order without the channel.

An expression is parsed and walked, never run as Python: nothing but tensors, numbers and the listed
functions can be reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from .frames import Frame
from .language.completion import complete_text
from .language.errors import ExpressionError as ExpressionError
from .language.evaluator import Evaluator, Limits
from .language.namespace import Namespace
from .language.parser import parse
from .language.values import Channels, Value

DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Statistics:
    """Of the finite numbers; ``std`` divides by n. NaN where there is none."""

    count: int
    nan: int
    infinite: int
    mean: float
    std: float
    min: float
    max: float


@dataclass(frozen=True, eq=False)
class Result:
    """An answer: numbers, what they are, and how to lay them out."""

    text: str
    """The expression."""
    value: Value

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def shape_text(self) -> str:
        """With the axes' names: ``[y 13, x 13, c 4]``."""
        return self.value.shape_text

    @property
    def dtype(self) -> str:
        return str(self.value.tensor.dtype).removeprefix("torch.")

    @property
    def channels(self) -> list[Channels]:
        """The channels selected, a tensor at a time."""
        return self.value.channels()

    @property
    def channel_text(self) -> str:
        """``x y w h``, or for several tensors ``pred: x y w h; targets: x y w h``."""
        found = self.channels
        if len(found) == 1:
            return str(found[0])
        return "; ".join(f"{channels.tensor}: {channels}" for channels in found)

    @property
    def channels_clash(self) -> bool:
        """Whether two tensors were put together whose channels do not have the same names."""
        lists = {channels.names for channels in self.channels if len(channels.names) > 1}
        return len(lists) > 1

    @property
    def selection(self) -> str:
        """``b=0 y=0:13 x=0:13 a=2 c=x y w h``."""
        return self.value.selection()

    @cached_property
    def array(self) -> NDArray[np.generic]:
        """The numbers as they are: float32 or float64, bool or int64."""
        array: NDArray[np.generic] = self.value.tensor.detach().contiguous().numpy()
        return array

    @cached_property
    def statistics(self) -> Statistics:
        tensor = self.value.tensor
        count = tensor.numel()
        mask = tensor.isfinite()
        finite = (tensor if bool(mask.all()) else tensor[mask]).double()
        nan = int(tensor.isnan().sum()) if finite.numel() < count else 0
        if not finite.numel():
            none = float("nan")
            return Statistics(count, nan, count - nan, none, none, none, none)
        return Statistics(
            count=count,
            nan=nan,
            infinite=count - nan - finite.numel(),
            mean=float(finite.mean()),
            std=float(finite.std(correction=0)),
            min=float(finite.min()),
            max=float(finite.max()),
        )

    @property
    def leading_shape(self) -> tuple[int, ...]:
        """The axes before the two that a grid shows: one number of each is chosen."""
        return self.shape[:-2]

    def leading_text(self, leading: Sequence[int]) -> str:
        """``b=0 y=4``: what the chosen numbers of the leading axes are."""
        parts = []
        for k, at in enumerate(leading):
            label = self.value.labels(k, at, at + 1)[0]
            parts.append(f"{self.value.axes[k].name or f'axis {k}'}={label}")
        return " ".join(parts)

    def grid(self, leading: Sequence[int] = ()) -> NDArray[np.generic]:
        """The last two axes as rows and columns, at ``leading`` of the others (0 where left out). A single
        number is 1 x 1, one axis one row. Raises ``IndexError`` outside the leading axes."""
        array = self.array
        if array.ndim < 2:
            return array.reshape(1, -1)
        chosen = [*leading, *[0] * (array.ndim - 2 - len(leading))]
        if 0 in array.shape[:-2]:
            return np.zeros((0, 0), dtype=array.dtype)
        rows: NDArray[np.generic] = array[tuple(chosen)]
        return rows

    def row_labels(self, start: int = 0, stop: int | None = None) -> list[str]:
        return self.value.labels(self.value.ndim - 2, start, stop) if self.value.ndim > 1 else [""]

    def column_labels(self, start: int = 0, stop: int | None = None) -> list[str]:
        """Channel names where the last axis holds channels, ``conf/x`` where two sides differ."""
        if self.value.ndim:
            return self.value.labels(self.value.ndim - 1, start, stop)
        names = [channels.names[0] for channels in self.channels if len(channels.names) == 1]
        return ["/".join(dict.fromkeys(names))]


def evaluate(text: str, frame: Frame, head: int = 0, limits: Limits = DEFAULT_LIMITS) -> Result:
    """An answer, or ``ExpressionError`` with the 1-based column at fault; nothing else is raised."""
    tree = parse(text)
    with torch.no_grad():
        value = Evaluator(_namespace(frame), head, limits).evaluate(tree)
    return Result(text, value)


def complete(text: str, cursor: int, frame: Frame, head: int = 0) -> list[str]:
    """What the word before ``cursor`` (0-based, between characters) may become: whole words, best first."""
    return complete_text(text, cursor, _namespace(frame), head)


def _namespace(frame: Frame) -> Namespace:
    return Namespace(frame)
