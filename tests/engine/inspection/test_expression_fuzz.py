"""Whatever is typed: an answer or an error with a column. Whatever is valid: numpy's own numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.inspection.expression import ExpressionError, Limits, complete, evaluate
from engine.inspection.frames import Frame
from engine.layout import Layout

from .scenes import COARSE, HEAD, ORDERS, canonical_pred, frame, snapshot

WILD = canonical_pred()
WILD[0, 0, 0, 0, :3] = torch.tensor([float("nan"), float("inf"), float("-inf")])
FRAMES = {order: frame(Layout(order=order), pred=WILD, heads=(HEAD, COARSE)) for order in ORDERS}
LIMITS = Limits(elements=200_000, work=2_000_000)

TOKENS = [
    *"+-*/<>()[],:.@&|~= ",
    *(
        "**",
        "==",
        "!=",
        "<=",
        ">=",
        "...",
        "::",
        "where",
        "and",
        "or",
        "not",
        "dim=",
        "torch.",
        "None",
        "lambda",
    ),
    *(
        "pred",
        "targets",
        "decoded",
        "grad",
        "loss",
        "conf",
        "iou",
        "mask",
        "images",
        "reference",
        "error",
        "x",
        "q",
    ),
    *(".w", ".xy", ".class", ".class1", ".lbox", ".iou", ".mean()", ".exp()", "[0]", "[..., 1:5]", "[:, 0]"),
    *(
        "mean(",
        "max(",
        "std(",
        "exp(",
        "sqrt(",
        "count(",
        "any(",
        "log(",
        "0",
        "1",
        "2",
        "-1",
        "9",
        "1.5",
        "1e9",
    ),
    *("@1", "dim=c", ", dim=-1)", " where mask > 0", "__class__", "é", "²", "'", '"', "\\", "\n", "\0"),
]


@settings(max_examples=600, deadline=2000)
@given(
    st.lists(st.sampled_from(TOKENS), max_size=14).map("".join), st.sampled_from(ORDERS), st.integers(0, 1)
)
def test_token_soup_is_answered(text: str, order: str, head: int) -> None:
    answered(text, FRAMES[order], head)


@settings(max_examples=300, deadline=2000)
@given(st.text(max_size=30))
def test_any_text_is_answered(text: str) -> None:
    answered(text, FRAMES["b y x a c"], 0)
    assert isinstance(complete(text, len(text) // 2, FRAMES["b y x a c"]), list)


def answered(text: str, seen: Frame, head: int) -> None:
    """Everything that the screen asks of an answer is asked."""
    column = 1
    try:
        result = evaluate(text, seen, head, LIMITS)
    except ExpressionError as error:
        column = error.column
        assert error.message  # noqa: PT017  both ways out are right
    else:
        assert result.array.shape == result.shape
        assert result.statistics.count == result.array.size
        assert result.grid().ndim == 2
        assert isinstance(result.channel_text + result.selection + result.shape_text + result.dtype, str)
        if result.array.size:
            assert len(result.column_labels()) == result.grid().shape[1]
            assert len(result.row_labels()) == result.grid().shape[0]
            assert isinstance(result.leading_text([0] * len(result.leading_shape)), str)
    assert 1 <= column <= len(text) + 1


# valid expressions, beside what numpy makes of them


@dataclass(frozen=True)
class Pair:
    text: str
    array: NDArray[np.generic]


def tensors(order: str) -> dict[str, NDArray[np.generic]]:
    made = FRAMES[order].snapshot.tensors
    return {name: made[f"{name}.0"].numpy() for name in ("pred", "targets", "decoded", "grad")}


@st.composite
def indexed(draw: st.DrawFn, order: str) -> Pair:
    """A tensor under one or two random indices."""
    name, array = draw(st.sampled_from(sorted(tensors(order).items(), key=lambda item: item[0])))
    text = name
    for _ in range(draw(st.integers(0, 2))):
        if not array.ndim:
            break
        parts, index = draw(index_of(array.shape))
        text += f"[{', '.join(parts)}]"
        array = array[index]
    return Pair(text, array)


@st.composite
def index_of(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[list[str], tuple[object, ...]]:
    parts: list[str] = []
    index: list[object] = []
    count = draw(st.integers(1, len(shape)))
    dots = draw(st.integers(0, count)) if draw(st.booleans()) else None
    for k in range(count):
        if k == dots:
            parts.append("...")
            index.append(...)
        axis = k if dots is None or k < dots else len(shape) - count + k
        size = shape[axis]
        if size and draw(st.booleans()):
            at = draw(st.integers(-size, size - 1))
            parts.append(str(at))
            index.append(at)
            continue
        bound = st.none() | st.integers(-size - 2, size + 2)
        start, stop, step = draw(bound), draw(bound), draw(st.none() | st.integers(1, 3))
        texts = ["" if bound is None else str(bound) for bound in (start, stop, step)]
        parts.append(":".join(texts[:2] if step is None else texts))
        index.append(slice(start, stop, step))
    return parts, tuple(index)


@st.composite
def numbers(draw: st.DrawFn, order: str, depth: int = 2) -> Pair:
    """An expression of floats."""
    kind = draw(st.sampled_from(["indexed", "indexed", "literal", "unary", "binary"])) if depth else "indexed"
    if kind == "literal":
        value = draw(st.floats(0, 100, width=16))
        return Pair(repr(value), np.array(value))
    if kind == "unary":
        inner = draw(numbers(order, depth - 1))
        function = draw(st.sampled_from(["-", "abs", "exp"]))
        with np.errstate(all="ignore"):
            if function == "-":
                return Pair(f"-({inner.text})", -inner.array)
            apply = {"abs": np.abs, "exp": np.exp}[function]
            return Pair(f"{function}({inner.text})", apply(inner.array))
    if kind == "binary":
        left, right = draw(numbers(order, depth - 1)), draw(numbers(order, depth - 1))
        sign = draw(st.sampled_from("+-*"))
        try:
            with np.errstate(all="ignore"):
                array = {"+": np.add, "-": np.subtract, "*": np.multiply}[sign](
                    *np.broadcast_arrays(left.array, right.array)
                )
        except ValueError:  # shapes that do not go together: one side alone
            return left
        return Pair(f"({left.text}) {sign} ({right.text})", array)
    return draw(indexed(order))


@settings(max_examples=300, deadline=2000)
@given(st.sampled_from(ORDERS).flatmap(lambda order: st.tuples(st.just(order), indexed(order))))
def test_indexing_is_numpys(case: tuple[str, Pair]) -> None:
    order, pair = case
    result = evaluate(pair.text, FRAMES[order])
    assert result.array.dtype == pair.array.dtype
    assert np.array_equal(result.array, pair.array, equal_nan=True)
    assert result.shape == pair.array.shape


@settings(max_examples=300, deadline=2000)
@given(st.sampled_from(ORDERS).flatmap(lambda order: st.tuples(st.just(order), numbers(order))))
def test_arithmetic_is_numpys(case: tuple[str, Pair]) -> None:
    order, pair = case
    try:
        result = evaluate(pair.text, FRAMES[order], limits=LIMITS)
    except ExpressionError as error:
        assert "the result would hold" in error.message or "too much" in error.message  # noqa: PT017
        return
    assert result.shape == pair.array.shape
    # a lone number is float64 here and there; exp may differ in its last bits
    assert np.allclose(result.array, pair.array, rtol=1e-4, atol=1e-5, equal_nan=True)


@settings(max_examples=200, deadline=2000)
@given(st.sampled_from(ORDERS), st.data())
def test_channels_named_are_channels_selected(order: str, data: st.DataObject) -> None:
    """The numbers under each label are that channel's, at that slot: a tensor of its own addresses tells."""
    layout = Layout(order=order)
    slots = torch.arange(2 * 4 * 6 * 2).view(2, 4, 6, 2, 1)
    address = (slots * 100 + torch.arange(8)).float()
    seen = Frame(snapshot(layout, pred=address))
    array = seen.snapshot.tensors["pred.0"].numpy()
    parts, index = data.draw(index_of(array.shape))
    result = evaluate(f"pred[{', '.join(parts)}]", seen)
    assert np.array_equal(result.array, array[index])
    if not result.array.size:
        return
    names = ["conf", "x", "y", "w", "h", "class0", "class1", "class2"]
    selected = {names[int(number) % 100] for number in result.array.reshape(-1)}
    (channels,) = result.channels
    assert set(channels.names) == selected
    for k, axis in enumerate(result.value.axes):
        if set(axis.coords) == {"c:pred"}:
            first = np.moveaxis(result.array, k, -1).reshape(-1, result.shape[k])[0]
            assert result.value.labels(k) == [names[int(number) % 100] for number in first]


@settings(max_examples=150, deadline=2000)
@given(st.sampled_from(ORDERS), st.data())
def test_where_selects_the_slots_that_it_names(order: str, data: st.DataObject) -> None:
    layout = Layout(order=order)
    slots = torch.arange(2 * 4 * 6 * 2).view(2, 4, 6, 2, 1)
    seen = Frame(snapshot(layout, pred=(slots * 100 + torch.arange(8)).float()))
    array = seen.snapshot.tensors["pred.0"].numpy()
    parts, index = data.draw(index_of(array.shape))
    part = array[index]
    if not isinstance(part, np.ndarray) or not part.ndim:
        return
    positive = np.isin(part // 100, (torch.arange(96).view(2, 4, 6, 2)[seen.positives(0)]).numpy())
    text = f"pred[{', '.join(parts)}] where mask > 0"
    try:
        result = evaluate(text, seen)
    except ExpressionError as error:
        assert "does not fit" in error.message  # noqa: PT017  half of a merged axis, or no slot axis left
        return
    assert sorted(result.array.reshape(-1)) == sorted(part[positive])


@pytest.mark.parametrize("order", ORDERS)
def test_the_soup_holds_valid_things_too(order: str) -> None:
    for text in (
        "pred[..., 1:5] where mask > 0",
        "mean(pred.w.exp(), dim=-1)",
        "not (mask > 0)",
        "loss.lbox@1",
    ):
        answered(text, FRAMES[order], 0)
        evaluate(text, FRAMES[order])
