"""Going somewhere: the next positive, mismatch or NaN, the largest, the worst, a place typed in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..runs.declared_axes import axis_sizes, order_groups, split_index
from .diff import mismatch_mask
from .frames import Frame
from .language.errors import ExpressionError
from .quantities import quantity_map
from .slots import Slot, unravel

Kind = Literal["positive", "mismatch", "nonfinite"]
Extreme = Literal["largest", "smallest", "worst loss", "worst gradient"]


@dataclass(frozen=True)
class Found:
    """A slot, and that it is the ``number``-th of ``count`` in (head, image, row, column, anchor) order."""

    slot: Slot
    number: int
    count: int
    wrapped: bool
    """Whether the search went past the end and on from the other side."""


def find(frame: Frame, kind: Kind, slot: Slot, *, backwards: bool = False) -> Found | None:
    """The next or previous slot of a kind after ``slot``, over all heads and images, around the end.

    None where there is none at all. ``nonfinite``: a NaN or an infinity in any tensor of the slot.
    """
    places: list[Tensor] = []
    for head in range(len(frame.heads)):
        mask = kind_mask(frame, kind, head)
        where = mask.nonzero() if mask is not None else torch.zeros(0, 4, dtype=torch.long)
        places.append(torch.cat((torch.full((len(where), 1), head), where), dim=1))
    every = torch.cat(places)
    if not len(every):
        return None
    before, same = _count_before(every, slot)
    if backwards:
        number = (before - 1) % len(every)
        wrapped = before == 0
    else:
        number = (before + same) % len(every)
        wrapped = before + same == len(every)
    found = Slot(*(int(i) for i in every[number]))
    return Found(found, number + 1, len(every), wrapped)


def rank(frame: Frame, extreme: Extreme, quantity: str = "", *, limit: int = 1000) -> list[Slot]:
    """The slots from the most extreme down, over all heads and images; equal ones in slot order.

    ``largest`` and ``smallest`` are of ``quantity``; ``worst loss`` is of all mapped terms that the
    total adds up (a quantity ``loss.<term>`` narrows it to one term); ``worst gradient`` is of the
    norm over a slot's channels. A NaN is worse than any loss and gradient, and no largest value.

    Raises ``KeyError`` where the frame has no such quantity; an absent loss or gradient ranks nothing.
    """
    scored: list[tuple[Tensor, Tensor]] = []
    for head in range(len(frame.heads)):
        values = _scores(frame, extreme, quantity, head)
        if values is None:
            continue
        worst_first = extreme.startswith("worst")
        values = values.nan_to_num(nan=float("inf"), posinf=float("inf")) if worst_first else values
        flat = (-values if extreme == "smallest" else values).reshape(-1)
        keep = (~flat.isnan()).nonzero().squeeze(1)
        best = keep[flat[keep].argsort(descending=True, stable=True)[:limit]]
        at = unravel(best, values.shape)
        scored.append((flat[best], torch.cat((torch.full((len(at), 1), head), at), dim=1)))
    if not scored:
        return []
    scores = torch.cat([score for score, _ in scored])
    slots = torch.cat([at for _, at in scored])
    order = scores.argsort(descending=True, stable=True)[:limit]
    return [Slot(*row) for row in slots[order].tolist()]


def next_in(ranking: Sequence[Slot], slot: Slot, *, backwards: bool = False) -> Slot | None:
    """The next worst on repeat: the one after ``slot`` where it stands in the ranking, else the first."""
    if not ranking:
        return None
    if slot not in ranking:
        return ranking[0]
    return ranking[(list(ranking).index(slot) + (-1 if backwards else 1)) % len(ranking)]


def parse_slot(text: str, frame: Frame, current: Slot) -> Slot:
    """A place typed in: ``[0, 4, 7, 2]`` is image, row, column, anchor, whatever the declared order;
    brackets and commas may be left out, and the last axes too (they stay as they are).

    ``pred[0, 4, 7, 2, 1]``, with or without ``@1`` for a head, is read in the declared order instead, as
    code has it; so are ``targets``, ``decoded`` and ``grad``. Negative numbers count from the end.

    Raises ``ExpressionError`` with the column at fault.
    """
    match = re.fullmatch(r"\s*(?P<name>[A-Za-z_]+)?\s*(?:@\s*(?P<head>\d+))?\s*(?P<rest>.*)", text, re.DOTALL)
    assert match is not None  # every part may be empty
    head = current.head if match["head"] is None else _head(match["head"], match.start("head"), frame)
    start = match.start("rest")
    numbers = _numbers(match["rest"], start)
    if match["name"] is None:
        sizes = list(frame.slots(head))
        letters = ["image", "row", "column", "anchor"]
        index = _in_range(numbers, sizes, letters, start)
        kept = (
            list(current[1:])
            if head == current.head
            else [min(c, s - 1) for c, s in zip(current[1:], sizes, strict=True)]
        )
        return Slot(head, *index, *kept[len(index) :])
    return _from_raw(match["name"], match.start("name"), numbers, frame, head, current, start)


def _from_raw(
    name: str, column: int, numbers: list[tuple[int, int]], frame: Frame, head: int, current: Slot, start: int
) -> Slot:
    shape = frame.heads[head]
    channels = {"pred": 5 + shape.classes, "grad": 5 + shape.classes, "targets": len(frame.layout.target)}
    channels["decoded"] = 4
    if name not in channels:
        raise ExpressionError(f"{name!r} is none of {', '.join(channels)}", column + 1)
    sizes = axis_sizes(shape, frame.batch, channels[name])
    groups = order_groups(frame.layout.order)
    lengths = [1] * len(groups)
    for k, group in enumerate(groups):
        for axis in group:
            lengths[k] *= sizes[axis]
    index = _in_range(numbers, lengths, ["".join(group) for group in groups], start)
    at = split_index(frame.layout.order, sizes, tuple(index))
    kept = dict(zip("byxa", current[1:], strict=True))
    _, image, y, x, anchor = (0, *(at.get(axis, min(kept[axis], sizes[axis] - 1)) for axis in "byxa"))
    return Slot(head, image, y, x, anchor)


def _numbers(text: str, start: int) -> list[tuple[int, int]]:
    """(number, 0-based column) of each; only numbers, separators and one pair of brackets may stand there."""
    body = text.rstrip()
    inside, offset = body, start
    if body.startswith("["):
        if not body.endswith("]"):
            raise ExpressionError("the bracket is not closed", start + len(body) + 1)
        inside, offset = body[1:-1], start + 1
    found = []
    for match in re.finditer(r"\s*(?P<number>-?[0-9]{1,9})(?=[\s,]|$)|[\s,]+|(?P<odd>[^\s,]+)", inside):
        if match["odd"]:
            raise ExpressionError(
                f"{match['odd']!r} does not belong in a place, write [image, row, column, anchor]",
                offset + match.start("odd") + 1,
            )
        if match["number"]:
            found.append((int(match["number"]), offset + match.start("number")))
    if not found:
        raise ExpressionError("no place given, write [image, row, column, anchor]", start + 1)
    return found


def _in_range(
    numbers: Sequence[tuple[int, int]], sizes: Sequence[int], names: Sequence[str], start: int
) -> list[int]:
    if len(numbers) > len(sizes):
        column = numbers[len(sizes)][1]
        raise ExpressionError(
            f"{len(numbers)} numbers for {len(sizes)} axes ({', '.join(names)})", column + 1
        )
    index = []
    for (number, column), size, name in zip(numbers, sizes, names, strict=False):
        if not -size <= number < size:
            raise ExpressionError(f"{number} is outside axis {name} of size {size}", column + 1)
        index.append(number % size)
    return index


def _head(text: str, column: int, frame: Frame) -> int:
    head = int(text) if len(text) < 9 else len(frame.heads)
    if head >= len(frame.heads):
        raise ExpressionError(f"head {text} is not there, there are {len(frame.heads)}", column + 1)
    return head


def _count_before(places: Tensor, slot: Slot) -> tuple[int, int]:
    """How many of the sorted places lie before a slot, and whether it is one of them (0 or 1)."""
    less = torch.zeros(len(places), dtype=torch.bool)
    equal = torch.ones(len(places), dtype=torch.bool)
    for column, at in enumerate(slot):
        less |= equal & (places[:, column] < at)
        equal &= places[:, column] == at
    return int(less.sum()), int(equal.sum())


def kind_mask(frame: Frame, kind: Kind, head: int) -> Tensor | None:
    """``[B, H, W, A]`` bool: the slots of a kind; None where the frame cannot tell."""
    if kind == "positive":
        return frame.positives(head)
    if kind == "mismatch":
        return mismatch_mask(frame, head)
    key = ("nonfinite", head)
    if key not in frame.maps:
        tensors = [frame.pred(head), frame.declared_targets(head), frame.decoded(head), frame.grad(head)]
        wrong = [_any_nonfinite(tensor) for tensor in tensors if tensor is not None]
        maps = [frame.loss_map(term, head) for term in frame.snapshot.map_terms]
        wrong += [~values.isfinite() for values in maps if values is not None]
        if not wrong:
            return None
        frame.maps[key] = torch.stack(wrong).any(0)
    return frame.maps[key]


def _any_nonfinite(tensor: Tensor) -> Tensor:
    """``[B, H, W, A, C] -> [B, H, W, A]``. A sum that is finite has finite parts; the others are looked at
    one by one, for finite parts may add up to infinity."""
    wrong = ~tensor.sum(-1).isfinite()
    wrong[wrong.clone()] = ~tensor[wrong].isfinite().all(-1)
    return wrong


def _scores(frame: Frame, extreme: Extreme, quantity: str, head: int) -> Tensor | None:
    if extreme in ("largest", "smallest"):
        return quantity_map(frame, quantity, head)
    if extreme == "worst gradient":
        grad = frame.grad(head)
        return None if grad is None else grad.norm(dim=-1)
    if quantity.startswith("loss."):
        return quantity_map(frame, quantity, head)
    summed = frame.snapshot.profile.get("total") or ("lcls", "lbox", "lobj")
    terms = [term for term in frame.snapshot.map_terms if term in summed] or list(frame.snapshot.map_terms)
    maps = [values for term in terms if (values := frame.loss_map(term, head)) is not None]
    return torch.stack(maps).sum(0) if maps else None
