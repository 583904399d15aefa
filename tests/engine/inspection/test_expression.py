"""The slice language gives torch's own numbers, names the channels, and points at what is wrong."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from engine.inspection.expression import ExpressionError, Limits, complete, evaluate
from engine.inspection.frames import Frame
from engine.inspection.quantities import quantity_map
from engine.layout import Head, Layout
from engine.runs.snapshots import Snapshot

from .scenes import COARSE, HEAD, ORDERS, POSITIVES, frame, snapshot

PRED = snapshot().tensors["pred.0"]
TARGETS = snapshot().tensors["targets.0"]
MASK = TARGETS[..., 0]

AS_IN_CODE = {
    "pred": PRED,
    "pred[0, :, :, 1, 1:5]": PRED[0, :, :, 1, 1:5],
    "pred[-1, ..., 0]": PRED[-1, ..., 0],
    "pred[..., ::2]": PRED[..., ::2],
    "pred[:, 1:-1, -3:, :, 5:]": PRED[:, 1:-1, -3:, :, 5:],
    "pred[0][1][2]": PRED[0][1][2],
    "pred[0, 1, 2, 1].w": PRED[0, 1, 2, 1, 3],
    "pred[0, 1, 2, 1, 3]": PRED[0, 1, 2, 1, 3],
    "pred.xywh": PRED[..., 1:5],
    "pred.class": PRED[..., 5:],
    "pred.class2[1]": PRED[1, ..., 7],
    "targets.class": TARGETS[..., 1],
    "targets.iou[0, :, :, 0]": TARGETS[0, :, :, 0, 7],
    "pred[9:]": PRED[9:],
    "pred[..., 3:1]": PRED[..., 3:1],
    "pred[..., 1:5] - targets[..., 2:6]": PRED[..., 1:5] - TARGETS[..., 2:6],
    "-pred[0] ** 2": -(PRED[0] ** 2),
    "2 ** -pred.x": 2 ** -PRED[..., 1],
    "2 - 1 - 1 * 3 / 4": torch.tensor(2 - 1 - 1 * 3 / 4, dtype=torch.float64),
    "2 ** 3 ** 2": torch.tensor(512.0, dtype=torch.float64),
    "not pred.x > 0 and pred.y > 0": ~(PRED[..., 1] > 0) & (PRED[..., 2] > 0),
    "(pred.x > 0) & ~(pred.y > 0) | (pred.w == pred.h)": (PRED[..., 1] > 0) & ~(PRED[..., 2] > 0),
    "pred[..., 1:5] where mask > 0": PRED[..., 1:5][MASK > 0],
    "pred[mask > 0]": PRED[MASK > 0],
    "pred[mask > 0, 1:5]": PRED[MASK > 0, 1:5],
    "pred[0, mask[0] > 0, 1]": PRED[0, MASK[0] > 0, 1],
    "pred[targets[..., 0] > 0][..., 4]": PRED[MASK > 0][..., 4],
    "pred where pred > 1": PRED[PRED > 1],
    "pred[0] where mask > 0": PRED[0][MASK[0] > 0],
    "pred[0, :, 2, :, 1:3] where mask > 0": PRED[0, :, 2, :, 1:3][MASK[0, :, 2] > 0],
    "pred[:, 1:3].w where targets.w > 0": PRED[:, 1:3, :, :, 3][TARGETS[:, 1:3, :, :, 4] > 0],
    "mean(pred.conf where mask > 0)": PRED[..., 0][MASK > 0].mean(),
    "mean(pred)": PRED.mean(),
    "pred.mean(dim=-1)": PRED.mean(-1),
    "max(pred, dim=c)": PRED.amax(-1),
    "min(pred, (y, x))": PRED.amin((1, 2)),
    "std(pred, dim=(0, 1))": PRED.std((0, 1)),
    "sum(abs(pred), axis=0)": PRED.abs().sum(0),
    "torch.sigmoid(pred[..., 0])": PRED[..., 0].sigmoid(),
    "pred.w.exp().log()": PRED[..., 3].exp().log(),
    "sqrt(pred.x)": PRED[..., 1].sqrt(),
    "count(mask > 0)": torch.tensor(3),
    "any(pred > 3, dim=(b, y, x, a))": (PRED > 3).any(0).any(0).any(0).any(0),
    "all(isfinite(pred))": torch.tensor(True),
    "isnan(sqrt(pred.x)) == (pred.x < 0)": torch.ones(2, 4, 6, 2, dtype=torch.bool),
    "1e3 + .5": torch.tensor(1000.5, dtype=torch.float64),
    "mask + (mask > 0)": MASK + 1 * (MASK > 0),
    "images[0].red[:2, :2]": torch.tensor([[0, 1], [192, 193]], dtype=torch.uint8),
    "images[0, 0, 0, 0] - images[0, 0, 0, 1]": torch.tensor(-1.0),  # bytes would have wrapped around
    "pred.w[0, 0, 0, 0] + 1": PRED[0, 0, 0, 0, 3] + 1,
    "1 / 0": torch.tensor(float("inf"), dtype=torch.float64),
    "2 ** 99999": torch.tensor(float("inf"), dtype=torch.float64),
}


@pytest.mark.parametrize("text", AS_IN_CODE)
def test_the_numbers_are_those_of_torch(text: str) -> None:
    result = evaluate(text, frame())
    expected = AS_IN_CODE[text]
    assert result.shape == tuple(expected.shape)
    assert result.array.dtype == expected.numpy().dtype
    assert np.array_equal(result.array, expected.numpy(), equal_nan=True)


@pytest.mark.parametrize("order", ORDERS)
def test_raw_slices_are_those_of_the_declared_tensor(order: str) -> None:
    layout = Layout(order=order, pred=("x", "y", "w", "h", "class*", "conf"))
    made = snapshot(layout)
    for text in ("[0]", "[..., 1:3]", "[-1, 1:]", "[:, 0]", "[1, 1, 1]"):
        index = eval(f"np.s_{text}")  # the test's own text
        for name in ("pred", "targets", "decoded", "grad"):
            result = evaluate(name + text, Frame(made))
            assert np.array_equal(result.array, made.tensors[f"{name}.0"].numpy()[index])


@pytest.mark.parametrize("order", ORDERS)
def test_names_mean_the_same_in_every_order(order: str) -> None:
    plain, other = frame(), frame(Layout(order=order, pred=("y", "x", "class*", "conf", "h", "w")))
    for text in (
        "mean(pred.w where mask > 0)",
        "sum(loss.lbox where targets.class == 1)",
        "max(pred.class1 - grad.class1)",
        "count(conf > 0.5)",
        "sum(pred.w - targets.w)",
        "sum(abs(decoded.x - targets.x) where mask > 0)",
        "mean(error.h where mask > 0)",
    ):
        assert evaluate(text, plain).array == pytest.approx(evaluate(text, other).array, rel=1e-5), text
    slots = {tuple(slot) for slot in np.argwhere(quantity_map(other, "pred.w", 0).numpy() > 1)}
    result = evaluate("pred.w where pred.w > 1", other)
    assert len(result.array) == len(slots)
    if "(" not in order:
        named = {tuple(int(n) for n in label.strip("[]").split(", ")) for label in result.column_labels()}
        assert named == slots


def test_channels_are_followed_through_the_slice() -> None:
    seen = frame()
    for text, channels in {
        "pred[0, :, :, 1, 1:5]": "x y w h",
        "pred[..., 0:4]": "conf x y w",
        "pred": "conf x y w h class0 class1 class2",
        "pred[..., -1]": "class2",
        "pred[0, 1, 2, 1].w": "w",
        "pred.wh": "w h",
        "exp(pred[..., ::4]) * 2": "conf h",
        "mean(pred[..., 1:3])": "x y",
        "pred[..., 1:3] where mask > 0": "x y",
        "pred[..., 1:5] - targets[..., 2:6]": "pred: x y w h; targets: x y w h",
        "pred[..., 0:4] - targets[..., 2:6]": "pred: conf x y w; targets: x y w h",
        "pred[..., 0:4] - pred[..., 1:5]": "pred: conf x y w; pred: x y w h",
        "pred.w - pred.w": "w",
        "loss.lbox / loss.lobj": "loss: lbox; loss: lobj",
        "conf": "conf",
        "2 + 2": "",
    }.items():
        assert evaluate(text, seen).channel_text == channels, text
    assert evaluate("pred[..., 0:4] - targets[..., 2:6]", seen).channels_clash
    assert not evaluate("pred[..., 1:5] - targets[..., 2:6]", seen).channels_clash
    labels = evaluate("pred[..., 0:4] - targets[..., 2:6]", seen).column_labels()
    assert labels == ["conf/x", "x/y", "y/w", "w/h"]
    many = Head(1, 1, 32, torch.ones(1, 2), 20)
    wide = Frame(Snapshot(1, 1, Layout(), (many,), {"pred.0": torch.zeros(1, 1, 1, 1, 25)}))
    assert evaluate("pred", wide).channel_text == "conf x y w h class0..class19"
    assert evaluate("pred[0, 0, 0, 0, 3:7]", wide).channel_text == "w h class0 class1"


def test_merged_axes_are_followed_too() -> None:
    seen = frame(Layout(order="b (a c) y x"))
    result = evaluate("pred[0, 6:10, 1, 2]", seen)
    assert result.channel_text == "class1 class2 conf x"
    assert result.column_labels() == ["a0 class1", "a0 class2", "a1 conf", "a1 x"]
    assert result.selection == "b=0 y=1 x=2 a=0:2 c=class1 class2 conf x"
    one = evaluate("pred[0, 11, 1, 2]", seen)
    assert (one.channel_text, one.selection) == ("w", "b=0 y=1 x=2 a=1 c=w")
    assert evaluate("pred[0, :, 1, 2].w", seen).shape == (2,)


def test_selection_shape_and_statistics() -> None:
    pred = PRED.clone()
    pred[0, 0, 0, 0, 1], pred[0, 0, 0, 0, 2], pred[1, 0, 0, 0, 1] = float("nan"), float("-inf"), float("inf")
    result = evaluate("pred[:, ::2, 1:3, 0, 1:5]", frame(pred=pred))
    assert result.selection == "b=0:2 y=0:3:2 x=1:3 a=0 c=x y w h"
    assert result.shape_text == "[b 2, y 2, x 2, c 4]"
    assert result.dtype == "float32"
    statistics = evaluate("pred.xywh", frame(pred=pred)).statistics
    values = pred[..., 1:5].numpy().astype(np.float64)
    finite = values[np.isfinite(values)]
    assert (statistics.count, statistics.nan, statistics.infinite) == (384, 1, 2)
    assert statistics.mean == pytest.approx(finite.mean())
    assert statistics.std == pytest.approx(finite.std())
    assert (statistics.min, statistics.max) == (finite.min(), finite.max())
    empty = evaluate("pred[9:]", frame()).statistics
    assert empty.count == 0
    assert np.isnan(empty.mean)


def test_grid_and_labels() -> None:
    result = evaluate("pred[:, :, 2, 1, 1:5]", frame())
    assert result.leading_shape == (2,)
    assert np.array_equal(result.grid([1]), PRED[1, :, 2, 1, 1:5].numpy())
    assert result.leading_text([1]) == "b=1"
    assert result.row_labels() == ["0", "1", "2", "3"]
    assert result.row_labels(1, 3) == ["1", "2"]
    assert result.column_labels() == ["x", "y", "w", "h"]
    assert evaluate("pred.w[0, 1, 2, 1]", frame()).grid().shape == (1, 1)
    assert evaluate("pred[0, 1, 2, 1]", frame()).grid().shape == (1, 8)
    assert evaluate("pred[3:]", frame()).grid().size == 0
    chosen = evaluate("pred.conf where mask > 0", frame())
    assert chosen.column_labels() == [str(list(slot)) for slot in POSITIVES]


def test_heads() -> None:
    seen = frame(heads=(HEAD, COARSE))
    coarse = seen.snapshot.tensors["pred.1"]
    assert np.array_equal(evaluate("pred@1[0, 1, 2]", seen).array, coarse[0, 1, 2].numpy())
    assert np.array_equal(evaluate("pred[0]", seen, head=1).array, coarse[0].numpy())
    assert np.array_equal(evaluate("loss@1.lbox", seen).array, evaluate("loss.lbox@1", seen).array)
    assert evaluate("(pred.conf where mask > 0)@1", seen).shape == (2,)
    assert evaluate("mean(pred@0) - mean(pred@1)", seen, head=1).array == PRED.mean() - coarse.mean()


def test_reference_names() -> None:
    theirs = snapshot(Layout(order="b a c y x"), pred=PRED * 2)
    seen = Frame(snapshot(), theirs)
    assert torch.equal(evaluate("reference_pred", seen).value.tensor, PRED * 2)
    assert evaluate("max(abs(decoded - reference))", seen).array > 0
    assert evaluate("all(reference_targets == targets)", seen).array
    assert evaluate("differ.w", seen).channel_text == "w"


ERRORS = {
    "": (1, "nothing to evaluate"),
    "   ": (1, "nothing to evaluate"),
    "prde": (1, "unknown name 'prde', did you mean 'pred'?"),
    "pred[0, 4]": (9, "4 is outside axis 'y' of size 4"),
    "pred[-3]": (6, "-3 is outside axis 'b' of size 2"),
    "pred[0, 0, 0, 0, 0, 0]": (21, "too many indices for shape [b 2, y 4, x 6, a 2, c 8]"),
    "pred.ww": (6, "no channel 'ww' here (conf x y w h class0 class1 class2), did you mean 'w'?"),
    "pred[..., 1:3].w": (16, "no channel 'w' here (x y)"),
    "pred.w.w": (8, ".w does not fit: it is w already"),
    "loss": (1, "loss is several maps: loss.lcls loss.lbox loss.lobj"),
    "loss.lbx": (6, "no loss.lbx (lcls lbox lobj), did you mean 'lbox'?"),
    "x": (1, "x of which tensor? pred.x or targets.x or decoded.x or grad.x"),
    "reference": (1, "reference is not in this snapshot"),
    "pred[0, :, :, 2, 1:5": (21, "expected ']'"),
    "pred[0)": (7, "expected ']', got ')'"),
    "(pred": (6, "expected ')'"),
    "pred)": (5, "')' closes nothing"),
    "pred]": (5, "']' closes nothing"),
    "pred +": (7, "something is missing at the end"),
    "pred[]": (6, "an index is empty"),
    "pred[..., ...]": (11, "an index has one ... at most"),
    "pred[::0]": (8, "a step is 1 or more, as in torch"),
    "pred[::-1]": (8, "a step is 1 or more, as in torch"),
    "pred[None]": (6, "None is not taken as an index"),
    "pred[0.5]": (6, "0.5 is no whole number"),
    "pred[99999999999999]": (6, "999999999999... is too large"),
    "pred[pred]": (6, "an index is whole numbers, slices, ... or a condition"),
    "pred.0": (5, "write @0 for a head"),
    "pred@7": (5, "head 7 is not there, there are 1: 0 to 0"),
    "pred@x": (6, "expected a head's number, as in pred@1"),
    "2x": (2, "a number runs into a name"),
    "pred $ 2": (6, "'$' is no part of an expression"),
    "pred = 2": (6, "= assigns nothing here, compare with =="),
    "0 < pred < 1": (10, "comparisons do not chain"),
    "mask > 0 & conf > 0": (17, "comparisons do not chain"),
    "mask & conf": (6, "& joins conditions"),
    "~pred": (1, "~ turns a condition round"),
    "mean": (1, "unknown name 'mean'"),
    "mean()": (6, "mean() of what?"),
    "maen(pred)": (1, "no function 'maen', did you mean 'mean'?"),
    "pred.maen()": (6, "no function 'maen', did you mean 'mean'?"),
    "torch.save(pred)": (7, "torch.save is not a function here"),
    "exp(pred, 0)": (11, "exp takes one thing"),
    "mean(pred, dim=7)": (16, "no axis 7 in [b 2, y 4, x 6, a 2, c 8]"),
    "mean(pred, dim=z)": (16, "no axis 'z'"),
    "mean(pred, dim=(0, 0))": (20, "that axis is named twice"),
    "max(pred[9:])": (1, "max of nothing: shape [b 0, y 4, x 6, a 2, c 8]"),
    "pred - targets[..., :3]": (6, "do not go together under -"),
    "pred where mask": (6, "a condition is needed here, as in mask > 0"),
    "pred where": (11, "something is missing at the end"),
    "pred where mask > 0 where conf > 0": (21, "one where at a time"),
    "pred.w[0, 0, 0, 0] where pred.class > 0": (20, "does not fit"),
    "__import__": (1, "unknown name '__import__'"),
    "pred.__class__": (6, "no channel '__class__' here"),
    "pred.numpy()": (6, "no function 'numpy'"),
    "'pred'": (1, '"\'" is no part of an expression'),
    "lambda: 1": (7, "':' cannot follow here"),
    "[1]": (1, "an index needs a tensor before it"),
}


@pytest.mark.parametrize("text", ERRORS)
def test_errors_point_at_the_column(text: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, frame())
    column, message = ERRORS[text]
    assert message in caught.value.message
    assert caught.value.column == column


@pytest.mark.parametrize(
    "text",
    [
        "(" * 500 + "1" + ")" * 500,
        "-" * 1500 + "1",
        "not " * 400 + "mask > 0",
        "+".join(["1"] * 900),
        "2" + "**2" * 600,
        "pred" + "[0:]" * 400,
        "pred[" * 300 + "0" + "]" * 300,
        "1" * 1900 + "**" + "9" * 50,
        "exp(" * 400 + "1" + ")" * 400,
        "(" * 20 + "1" + "+1)" * 20 + "+1" * 60,
        "x" * 5000,
        "pred@" + "1" * 500,
        "pred" + ".w" * 800,
        "(" * 24 + "pred" + "".join("+1" * 60 + ")" for _ in range(8)) + ")" * 16,
    ],
)
def test_monsters_get_an_answer_at_once(text: str) -> None:
    started = time.perf_counter()
    try:
        evaluate(text, frame())
    except ExpressionError as error:
        assert 1 <= error.column <= len(text) + 1  # noqa: PT017  an answer is as good
    assert time.perf_counter() - started < 2


def test_memory_and_work_are_bounded_before_they_are_spent() -> None:
    head = Head(64, 64, 8, torch.ones(2, 2), 1)
    big = Frame(Snapshot(1, 1, Layout(), (head,), {"pred.0": torch.zeros(1, 64, 64, 2, 6)}))
    outer = "pred[0, :, :, 0, 0:1] * pred[0, :, :, 0]"
    assert evaluate(outer, big).shape == (64, 64, 6)
    wide = "(pred.x[..., 0:1] * pred.w[0, 0, :, 0]) * (pred.x[0, :, 0:1] * 1)"
    with pytest.raises(ExpressionError, match="the limit is 1,000"):
        evaluate(wide, big, limits=Limits(elements=1000))
    with pytest.raises(ExpressionError, match="too much to compute"):
        evaluate("+".join(["pred"] * 20), big, limits=Limits(work=500_000))
    with pytest.raises(ExpressionError, match="the limit is"):
        evaluate("pred where pred > 0", big, limits=Limits(elements=1000))


def test_completion() -> None:
    seen = frame(heads=(HEAD, COARSE))

    def offers(text: str) -> list[str]:
        return complete(text, len(text), seen)

    assert offers("tar") == ["targets"]
    assert offers("mean(pr") == ["pred"]
    assert offers("pred[0, 1].cl") == ["class0", "class1", "class2"]
    assert offers("pred.x") == ["xy", "xywh"]
    assert offers("loss.") == ["lcls", "lbox", "lobj"]
    assert offers("targets@1.we") == ["weight"]
    assert "where" in offers("pred wh")
    assert offers("pred@") == []
    assert offers("nothing.") == []
    assert "pred" in offers("")
    assert complete("pred.w - tar.x", 12, seen) == ["targets"]
    assert complete("pr", 99, seen) == ["pred"]
    assert complete("pr", -1, seen) == complete("", 0, seen)
