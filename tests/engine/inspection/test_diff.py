"""Where a step and its reference disagree, and the line that says so."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.inspection.diff import Tolerance, differing, find_disagreements, mismatch_mask
from engine.inspection.frames import Frame, built_in_decode
from engine.inspection.jump import find
from engine.inspection.slots import Slot
from engine.layout import Layout
from engine.runs.snapshots import CodePlace

from .scenes import HEAD, ORDERS, canonical_pred, canonical_targets, frame, sliced_decode, snapshot


@pytest.mark.parametrize("order", ORDERS)
def test_the_wrong_slice_is_named(order: str) -> None:
    _, seen = sliced_decode(Layout(order=order))
    (found,) = find_disagreements(seen)
    assert found.text == (
        "`decode` (my.py:41) reads conf x y w where x y w h are declared: "
        "96 of 96 slots differ from the reference in x y w h"
    )
    assert (found.function, found.tensor, found.reads) == ("decode", "decoded", ("conf", "x", "y", "w"))
    assert found.count == found.slots == 96
    assert found.worst is not None
    assert find(seen, "mismatch", Slot(0, 0, 0, 0, 0)) is not None


def test_swapped_width_and_height_are_named() -> None:
    pred = canonical_pred()
    swapped = pred[..., [0, 1, 2, 4, 3, 5, 6, 7]]
    made = snapshot(decoded=built_in_decode(Layout())(swapped, HEAD))
    (found,) = find_disagreements(Frame(made, reference_decode=built_in_decode(Layout())))
    assert found.reads == ("x", "y", "h", "w")
    assert found.channels == ["w", "h"]
    assert found.text.startswith("`decode` reads x y h w where")


def test_the_wrong_slice_is_named_beside_a_reference_snapshot_too() -> None:
    made, _ = sliced_decode(Layout())
    decoded = [found for found in find_disagreements(Frame(made, snapshot())) if found.tensor == "decoded"]
    assert decoded[0].reads == ("conf", "x", "y", "w")
    other_run = snapshot(pred=canonical_pred(seed=9))
    decoded = [found for found in find_disagreements(Frame(made, other_run)) if found.tensor == "decoded"]
    assert decoded[0].count > 0
    assert decoded[0].reads == ()  # another prediction was decoded there: nothing can be told


def test_another_fault_is_counted_without_a_guess() -> None:
    boxes = built_in_decode(Layout())(canonical_pred(), HEAD)
    boxes[1, 2, 3, 0, 2] += 0.5
    boxes[0, 0, 0, 1, 2] += 0.01
    made = snapshot(decoded=boxes, functions={"decode": CodePlace("my.py", 7)})
    (found,) = find_disagreements(Frame(made, reference_decode=built_in_decode(Layout())))
    assert found.text == "`decode` (my.py:7): 2 of 96 slots differ from the reference in w"
    assert found.counts == {"x": 0, "y": 0, "w": 2, "h": 0}
    assert found.worst == Slot(0, 1, 2, 3, 0)
    assert found.reads == ()


def test_agreement_is_said_too() -> None:
    (found,) = find_disagreements(Frame(snapshot(), reference_decode=built_in_decode(Layout())))
    assert found.text == "`decode`: agrees with the reference in all 96 slots"
    assert (found.channels, found.worst) == ([], None)
    assert find_disagreements(frame()) == []
    assert mismatch_mask(frame(), 0) is None


def test_a_whole_reference_is_compared_in_the_order_of_causes() -> None:
    other = canonical_pred()
    other[0, 0, 0, 0, 3] += 1
    targets = canonical_targets()
    targets[1, 1, 1, 1, :6] = torch.tensor([1, 2, 0.2, 0.3, 0.1, 0.1])
    made = snapshot(pred=other)
    theirs = made.__class__(
        1, 1, made.layout, made.heads, {**made.tensors, "targets.0": made.layout.write_targets(targets, HEAD)}
    )
    pred, assigned, decoded = find_disagreements(Frame(snapshot(), theirs, reference_name="run two"))
    assert pred.text == "pred: 1 of 96 slots differ from run two in w"
    assert assigned.text == "`assign`: 1 of 96 slots differ from run two in mask class x y w h"
    assert decoded.channels == ["w"]
    mask = mismatch_mask(Frame(snapshot(), theirs), 0)
    assert mask is not None
    assert mask.nonzero().tolist() == [[0, 0, 0, 0], [1, 1, 1, 1]]


def test_nan_against_a_number_differs_and_is_the_worst() -> None:
    boxes = built_in_decode(Layout())(canonical_pred(), HEAD)
    boxes[0, 1, 1, 1, 0] += 100
    boxes[1, 1, 1, 1, 0] = float("nan")
    (found,) = find_disagreements(Frame(snapshot(decoded=boxes), reference_decode=built_in_decode(Layout())))
    assert found.count == 2
    assert found.worst == Slot(0, 1, 1, 1, 1)


def test_nan_on_both_sides_agrees() -> None:
    pred = canonical_pred()
    pred[0, 0, 0, 0, 1] = float("nan")
    (found,) = find_disagreements(Frame(snapshot(pred=pred), reference_decode=built_in_decode(Layout())))
    assert found.count == 0


numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(numbers, numbers)
def test_one_number_agrees_as_tensors_do(value: float, reference: float) -> None:
    for tolerance in (Tolerance(), Tolerance(0.0, 0.0), Tolerance(1.0, 0.5)):
        whole = differing(
            torch.tensor(value, dtype=torch.float64), torch.tensor(reference, dtype=torch.float64), tolerance
        )
        assert bool(whole) == (not tolerance.agree(value, reference))
