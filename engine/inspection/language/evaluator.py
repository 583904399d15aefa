"""A parsed expression over a frame's tensors -> a value, within bounds of memory, work and depth."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .errors import ExpressionError
from .functions import ELEMENTWISE, REDUCTIONS
from .indexing import take_channel, take_index, take_where
from .namespace import Group, Namespace
from .tree import (
    At,
    AtHead,
    Attribute,
    Binary,
    Call,
    Index,
    Mask,
    Name,
    Node,
    Number,
    Rest,
    Span,
    Unary,
    Where,
)
from .values import Axis, Value, broadcast_shape, combine

MAX_TREE = 120
"""Levels of the tree: an evaluation goes down one Python call or two a level."""

OPERATIONS: dict[str, Callable[[Any, Any], Tensor]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
LOGIC: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "and": torch.logical_and,
    "or": torch.logical_or,
    "&": torch.logical_and,
    "|": torch.logical_or,
}


@dataclass(frozen=True)
class Limits:
    """``elements`` of one intermediate result (4 bytes each), ``work``: of all of them together."""

    elements: int = 2**26
    work: int = 2**29


class Evaluator:
    def __init__(self, namespace: Namespace, head: int, limits: Limits) -> None:
        self._namespace = namespace
        self._head = head
        self._limits = limits
        self._work = 0
        self._depth = 0

    def evaluate(self, node: Node) -> Value:
        """Raises ``ExpressionError``."""
        found = self._visit(node)
        if isinstance(found, Group):
            column = node.column if isinstance(node, Name | AtHead) else 1
            choices = " ".join(f"{found.name}.{member}" for member in found.members[:6])
            raise ExpressionError(f"{found.name} is several maps: {choices}", column)
        return found

    def _visit(self, node: Node) -> Value | Group:
        self._depth += 1
        if self._depth > MAX_TREE:
            raise ExpressionError("too long a chain of operators in brackets", node.column)
        try:
            return self._dispatch(node)
        finally:
            self._depth -= 1

    def _dispatch(self, node: Node) -> Value | Group:
        match node:
            case Number(number):
                return Value(torch.tensor(number, dtype=torch.float64))
            case Name(text, column):
                return self._namespace.look_up(text, self._head, column)
            case Attribute(of, name, column):
                value = self._visit(of)
                if isinstance(value, Group):
                    return self._namespace.member(value, name, column)
                return take_channel(value, name, column)
            case AtHead(of, head, column):
                return self._at_head(of, head, column)
            case Index():
                return self._index(node)
            case Unary():
                return self._unary(node)
            case Binary():
                return self._binary(node)
            case Call():
                return self._call(node)
            case Where(of, condition, column):
                value, mask = self.evaluate(of), self.evaluate(condition)
                self._charge(value.tensor.numel(), column)
                return take_where(value, mask, column)

    def _at_head(self, of: Node, head: int, column: int) -> Value | Group:
        count = len(self._namespace.frame.heads)
        if not -count <= head < count:
            raise ExpressionError(f"head {head} is not there, there are {count}: 0 to {count - 1}", column)
        before, self._head = self._head, head % count
        try:
            return self._visit(of)
        finally:
            self._head = before

    def _index(self, node: Index) -> Value:
        value = self.evaluate(node.of)
        parts: list[At | Span | Rest | tuple[Value, Mask]] = []
        for part in node.parts:
            if isinstance(part, Mask):
                condition = self.evaluate(part.condition)
                if condition.tensor.dtype != torch.bool or not condition.ndim:
                    raise ExpressionError(
                        "an index is whole numbers, slices, ... or a condition", part.column
                    )
                self._charge(value.tensor.numel(), part.column)
                parts.append((condition, part))
            else:
                parts.append(part)
        return take_index(value, parts, node.column)

    def _unary(self, node: Unary) -> Value:
        value = self.evaluate(node.of)
        self._charge(value.tensor.numel(), node.column)
        if node.sign == "+":
            return value
        if node.sign == "-":
            return replace(value, tensor=-_number(value.tensor))
        if node.sign == "~" and value.tensor.dtype != torch.bool:
            raise ExpressionError("~ turns a condition round, this is numbers", node.column)
        return replace(value, tensor=torch.logical_not(value.tensor))

    def _binary(self, node: Binary) -> Value:
        left, right = self.evaluate(node.left), self.evaluate(node.right)
        shape = broadcast_shape(left.shape, right.shape)
        if shape is None:
            raise ExpressionError(
                f"{left.shape_text} and {right.shape_text} do not go together under {node.sign}", node.column
            )
        self._charge(math.prod(shape), node.column)
        if node.sign in ("&", "|"):
            for value in (left, right):
                if value.tensor.dtype != torch.bool:
                    raise ExpressionError(
                        f"{node.sign} joins conditions and binds tighter than > and ==: bracket those",
                        node.column,
                    )
        if node.sign in LOGIC:
            return combine(left, right, LOGIC[node.sign](left.tensor, right.tensor))
        one, other = _number(left.tensor), _number(right.tensor)
        if _is_literal(left) != _is_literal(right):  # as code has it: a Python number beside a tensor
            sides = [float(t) if _is_literal(v) else t for v, t in ((left, one), (right, other))]
            return combine(left, right, OPERATIONS[node.sign](*sides))
        return combine(left, right, OPERATIONS[node.sign](one, other))

    def _call(self, node: Call) -> Value:
        value = self.evaluate(node.of)
        self._charge(value.tensor.numel(), node.column)
        numbers = _number(value.tensor)
        if node.function in ELEMENTWISE:
            return replace(value, tensor=ELEMENTWISE[node.function](numbers))
        dims = list(range(value.ndim)) if node.dims is None else self._dims(value, node)
        if node.function in ("min", "max") and not all(value.shape[dim] for dim in dims):
            raise ExpressionError(f"{node.function} of nothing: shape {value.shape_text}", node.column)
        if not dims:
            numbers, dims, pooled = numbers.unsqueeze(0), [0], dict(value.pooled)
        else:
            pooled = {**value.pooled, **_channels_under(value, dims)}
        axes = tuple(axis for k, axis in enumerate(value.axes) if k not in dims)
        return replace(value, tensor=REDUCTIONS[node.function](numbers, dims), axes=axes, pooled=pooled)

    def _dims(self, value: Value, node: Call) -> list[int]:
        dims: list[int] = []
        for dim, column in node.dims or ():
            if isinstance(dim, str):
                found = [k for k, axis in enumerate(value.axes) if axis.name == dim]
                if not found:
                    raise ExpressionError(f"no axis {dim!r} in {value.shape_text}", column)
                k = found[0]
            elif -value.ndim <= dim < value.ndim:
                k = dim % value.ndim
            else:
                raise ExpressionError(f"no axis {dim} in {value.shape_text}", column)
            if k in dims:
                raise ExpressionError("that axis is named twice", column)
            dims.append(k)
        return dims

    def _charge(self, elements: int, column: int) -> None:
        if elements > self._limits.elements:
            raise ExpressionError(
                f"the result would hold {elements:,} numbers, the limit is {self._limits.elements:,}", column
            )
        self._work += elements
        if self._work > self._limits.work:
            raise ExpressionError("too much to compute at once, slice first", column)


def _is_literal(value: Value) -> bool:
    """Whether it was made of typed numbers alone: those are float64 and come from no tensor."""
    return not value.ndim and not value.names and value.tensor.dtype == torch.float64


def _number(tensor: Tensor) -> Tensor:
    """As code would compute with it: bytes and conditions as float32, counts as float64."""
    if tensor.is_floating_point():
        return tensor
    return tensor.to(torch.float64 if tensor.dtype == torch.int64 else torch.float32)


def _channels_under(value: Value, dims: list[int]) -> dict[str, tuple[int, ...]]:
    """The channels that a reduction over ``dims`` goes over."""
    found: dict[str, tuple[int, ...]] = {}
    for dim in dims:
        axis: Axis = value.axes[dim]
        for key in axis.channel_keys:
            found[key] = tuple(axis.coords[key].unique(sorted=True).tolist())  # type: ignore[no-untyped-call]
    return found
