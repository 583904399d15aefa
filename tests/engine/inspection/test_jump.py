"""Jumps land where they say, around the ends, over heads, past NaN."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.inspection.expression import ExpressionError
from engine.inspection.frames import Frame
from engine.inspection.jump import find, next_in, parse_slot, rank
from engine.inspection.slots import Slot, raw_text
from engine.layout import Layout

from .scenes import COARSE, HEAD, ORDERS, POSITIVES, canonical_pred, frame, sliced_decode, snapshot

PLACES = [Slot(0, *at) for at in POSITIVES]


def test_positives_in_order_and_around_the_end() -> None:
    seen = frame()
    slot, visited = Slot(0, 0, 0, 0, 0), []
    for _ in range(4):
        found = find(seen, "positive", slot)
        assert found is not None
        visited.append((found.slot, found.number, found.wrapped))
        slot = found.slot
    assert visited == [
        (PLACES[0], 1, False),
        (PLACES[1], 2, False),
        (PLACES[2], 3, False),
        (PLACES[0], 1, True),
    ]
    back = find(seen, "positive", PLACES[0], backwards=True)
    assert back is not None
    assert (back.slot, back.number, back.count, back.wrapped) == (PLACES[2], 3, 3, True)


@given(st.integers(0, 1), st.integers(0, 3), st.integers(0, 5), st.integers(0, 1), st.booleans())
def test_next_is_the_nearest_in_order(image: int, y: int, x: int, anchor: int, backwards: bool) -> None:
    slot = Slot(0, image, y, x, anchor)
    found = find(frame(), "positive", slot, backwards=backwards)
    assert found is not None
    beyond = [place for place in PLACES if (place < slot if backwards else place > slot)]
    expected = (beyond or PLACES)[-1 if backwards else 0]
    assert found.slot == expected
    assert found.wrapped == (not beyond)
    assert PLACES[found.number - 1] == found.slot


def test_over_heads() -> None:
    seen = frame(heads=(HEAD, COARSE))
    found = find(seen, "positive", PLACES[-1])
    assert found is not None
    assert found.slot == Slot(1, 0, 1, 2, 1)
    assert found.count == 5  # two of the three truths have a cell in the coarse head too


def test_nan_and_infinity_in_any_tensor() -> None:
    pred = canonical_pred()
    pred[0, 2, 2, 0, 7] = float("nan")
    pred[1, 0, 0, 1, 0] = float("inf")
    pred[1, 3, 3, 1] = 3e38  # finite, though its sum is not
    made = snapshot(pred=pred, decoded=torch.zeros(2, 4, 6, 2, 4))
    tensors = dict(made.tensors)
    tensors["loss.lbox.0"] = tensors["loss.lbox.0"].clone()
    tensors["loss.lbox.0"][1, 1, 1, 1] = float("nan")
    tensors["grad.0"] = torch.zeros(2, 4, 6, 2, 8)
    seen = Frame(made.__class__(1, 1, made.layout, made.heads, tensors))
    slot, visited = Slot(0, 0, 0, 0, 0), []
    for _ in range(3):
        found = find(seen, "nonfinite", slot)
        assert found is not None
        assert found.count == 3
        slot = found.slot
        visited.append(slot)
    assert visited == [Slot(0, 0, 2, 2, 0), Slot(0, 1, 0, 0, 1), Slot(0, 1, 1, 1, 1)]


def test_nowhere_to_go() -> None:
    seen = frame()
    assert find(seen, "nonfinite", PLACES[0]) is None
    assert find(seen, "mismatch", PLACES[0]) is None
    _, wrong = sliced_decode(Layout())
    found = find(wrong, "mismatch", Slot(0, 1, 3, 5, 1))
    assert found is not None
    assert (found.slot, found.wrapped) == (Slot(0, 0, 0, 0, 0), True)


def test_ranking_is_sorted_with_nan_in_its_place() -> None:
    pred = canonical_pred()
    pred[0, 0, 0, 0, 1], pred[1, 1, 1, 1, 1] = float("nan"), 99.0
    seen = frame(pred=pred)
    largest, smallest = rank(seen, "largest", "pred.x"), rank(seen, "smallest", "pred.x", limit=5)
    values = [float(pred[slot[1:]][1]) for slot in largest]
    assert len(largest) == 95  # all but the NaN
    assert values == sorted(values, reverse=True)
    assert largest[0] == Slot(0, 1, 1, 1, 1)
    assert len(smallest) == 5
    assert smallest[0] == largest[-1]
    worst = rank(seen, "worst gradient")
    assert worst[0] == Slot(0, 0, 0, 0, 0)
    assert worst[1] == Slot(0, 1, 1, 1, 1)
    assert next_in(largest, largest[0]) == largest[1]
    assert next_in(largest, Slot(0, 0, 0, 0, 0)) == largest[0]
    assert next_in(largest, largest[-1]) == largest[0]
    assert next_in(largest, largest[0], backwards=True) == largest[-1]
    assert next_in([], largest[0]) is None


def test_worst_loss_adds_the_terms_of_the_total() -> None:
    seen = frame()
    maps = {term: seen.loss_map(term, 0) for term in ("lcls", "lbox", "lobj")}
    total = sum(values for values in maps.values() if values is not None)
    assert isinstance(total, torch.Tensor)
    assert rank(seen, "worst loss")[0][1:] == tuple((total == total.max()).nonzero()[0].tolist())
    lbox = maps["lbox"]
    assert lbox is not None
    assert rank(seen, "worst loss", "loss.lbox")[0][1:] == tuple((lbox == lbox.max()).nonzero()[0].tolist())
    with pytest.raises(KeyError):
        rank(seen, "largest", "nothing")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 2, 3, 0]", Slot(0, 1, 2, 3, 0)),
        ("1 2 3 0", Slot(0, 1, 2, 3, 0)),
        (" -1,-1,-1,-1 ", Slot(0, 1, 3, 5, 1)),
        ("[1]", Slot(0, 1, 1, 2, 1)),
        ("[1, 0, 0]", Slot(0, 1, 0, 0, 1)),
        ("@1 [1, 1, 2]", Slot(1, 1, 1, 2, 1)),
        ("pred[1, 2, 3, 0, 4]", Slot(0, 1, 2, 3, 0)),
        ("targets@1[1, 1, 2, 0, 7]", Slot(1, 1, 1, 2, 0)),
    ],
)
def test_places_typed(text: str, expected: Slot) -> None:
    assert parse_slot(text, frame(heads=(HEAD, COARSE)), Slot(0, 0, 1, 2, 1)) == expected


@pytest.mark.parametrize("order", ORDERS)
def test_a_raw_index_typed_is_read_in_the_declared_order(order: str) -> None:
    layout = Layout(order=order)
    seen = frame(layout)
    for slot in (Slot(0, 1, 2, 5, 0), Slot(0, 0, 3, 0, 1)):
        text = raw_text("pred", layout, (HEAD,), 2, slot, 6, 8)
        assert parse_slot(text, seen, PLACES[0]) == slot


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "no place"),
        ("[]", 1, "no place"),
        ("[0, 4, 0, 0]", 5, "4 is outside axis row of size 4"),
        ("0 0 0 0 0", 9, "5 numbers for 4 axes"),
        ("[0, 1.5]", 5, "'1.5'"),
        ("[0, 1", 6, "not closed"),
        ("image[0]", 1, "'image' is none of"),
        ("@3 [0]", 2, "head 3"),
        ("pred[0, 0, 0, 0, 8]", 18, "8 is outside axis c"),
        ("[99999999999999]", 2, "'99999999999999'"),
    ],
)
def test_places_mistyped(text: str, column: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_slot(text, frame(), PLACES[0])
    assert message in caught.value.message
    assert caught.value.column == column


@given(st.text(alphabet="[]0123456789-, pred@x.²", max_size=20))
def test_whatever_is_typed_is_a_place_or_an_error_with_a_column(text: str) -> None:
    seen = frame()
    column, slot = 1, PLACES[0]
    try:
        slot = parse_slot(text, seen, PLACES[0])
    except ExpressionError as error:
        column = error.column
    assert 1 <= column <= len(text) + 1
    assert seen.holds(slot)
