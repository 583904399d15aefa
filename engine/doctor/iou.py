"""The user's ``iou`` alone: closed forms, symmetry, invariances, shapes, against the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..boxes import iou as corner_iou
from ..boxes import to_xyxy
from .calling import Called
from .findings import Finding
from .inputs import generator

Results = Iterator[tuple[str, list[Finding]]]
TOLERANCE = 2e-3
"""Room for somebody's epsilon in the denominator."""


def reference(a: Tensor, b: Tensor) -> Tensor:
    return corner_iou(to_xyxy(a), to_xyxy(b))


def probe_iou(called: Called) -> Results:
    """Pairs of all kinds; where values are off, the formula that was computed instead is looked for."""
    a, b = pairs()
    got = _values(called, a, b)
    yield "iou.call", []
    wrong = _wrong_values(called, a, b, got)
    yield "iou.values", wrong
    if wrong:
        return
    yield "iou.shapes", _shapes(called)
    yield "iou.inputs", _inputs(called)
    yield "iou.degenerate", _degenerate(called)


def pairs() -> tuple[Tensor, Tensor]:
    """Overlapping to every degree, nested, touching, identical, disjoint in x, in y and in both."""
    g = generator(11)
    size = 0.08 + 0.4 * torch.rand(160, 2, generator=g)
    a = torch.cat((0.3 + 0.4 * torch.rand(160, 2, generator=g), size), 1)
    shift = (torch.rand(160, 2, generator=g) - 0.5) * size * 1.6
    b = torch.cat((a[:, :2] + shift, size * (0.6 + 0.9 * torch.rand(160, 2, generator=g))), 1)
    b[:8] = a[:8]
    b[8:16, :2] = a[8:16, :2]
    b[8:16, 2:] = a[8:16, 2:] * torch.tensor([0.5, 0.8])
    b[16:24, 0] = a[16:24, 0] + (a[16:24, 2] + b[16:24, 2]) * 0.9  # apart in x
    b[24:32, 1] = a[24:32, 1] - (a[24:32, 3] + b[24:32, 3]) * 0.8  # apart in y
    b[32:40, :2] = a[32:40, :2] + (a[32:40, 2:] + b[32:40, 2:]) * 0.7  # apart in both
    return a, b


def _values(called: Called, a: Tensor, b: Tensor) -> Tensor:
    got = called.call("iou", a.clone(), b.clone())
    shape = tuple(a.shape[:-1])
    if not isinstance(got, Tensor) or tuple(got.shape) != shape:
        what = f"shape {list(got.shape)}" if isinstance(got, Tensor) else type(got).__name__
        message = f"iou of {list(a.shape)} and {list(b.shape)} returns {what}"
        if isinstance(got, Tensor) and tuple(got.shape) == (len(a), len(b)) and a.ndim == 2:
            message += ": every box of one with every box of the other, where pairs are wanted"
        raise called.refusal(
            "iou",
            "shapes",
            message,
            expected=f"shape {list(shape)}",
            got=what,
            fix="compare box with box along the last axis: a[..., 0] with b[..., 0]",
        )
    return got.detach().float()


def _wrong_values(called: Called, a: Tensor, b: Tensor, got: Tensor) -> list[Finding]:
    wanted = reference(a, b)
    off = ~((got - wanted).abs() <= TOLERANCE)
    if not bool(off.any()):
        return []
    name, fix = _explained(a, b, got)
    worst = int((got - wanted).abs().nan_to_num(9).argmax())
    pair = f"a = {_box(a[worst])}, b = {_box(b[worst])}"
    facts = _facts(a, b, got)
    message = f"iou is not the IoU: {int(off.sum())} of {len(a)} pairs differ"
    message += f"; it computes {name}" if name else (f"; {facts}" if facts else "")
    finding = Finding(
        "error",
        "iou.values",
        "iou",
        message,
        tensor="boxes",
        channels=_axes(called),
        expected=f"{float(wanted[worst]):.4f} for {pair}",
        got=f"{float(got[worst]):.4f}",
        fix=fix or "intersection / (area of a + area of b - intersection), boxes as cx, cy, w, h",
    )
    return [called.placed(finding)]


def _box(box: Tensor) -> str:
    return "(" + ", ".join(f"{value:.3f}" for value in box.tolist()) + ")"


def _facts(a: Tensor, b: Tensor, got: Tensor) -> str:
    if bool(((got[:8] - 1).abs() > TOLERANCE).any()):
        return f"a box with itself gives {float(got[0]):.3f}"
    if bool((got[16:40].abs() > TOLERANCE).any()):
        return f"boxes apart give {float(got[16:40].abs().max()):.3f}"
    if not bool(torch.isfinite(got).all()):
        return "some values are not finite"
    return ""


def _axes(called: Called) -> tuple[str, ...]:
    """Which axis is handled wrongly: pairs that differ along one axis only."""
    a, b = pairs()
    wrong: list[str] = []
    for axis, names in ((0, ("x", "w")), (1, ("y", "h"))):
        other = a.clone()
        other[:, axis], other[:, axis + 2] = b[:, axis], b[:, axis + 2]
        got = called.call("iou", a.clone(), other.clone()).detach().float()
        if bool(((got - reference(a, other)).abs() > TOLERANCE).any()):
            wrong += names
    return tuple(name for name in ("x", "y", "w", "h") if name in wrong) or ("x", "y", "w", "h")


def _explained(a: Tensor, b: Tensor, got: Tensor) -> tuple[str, str]:
    """The formula that gives exactly what the user's function gives, and what to write instead."""
    for name, formula, fix in _formulas():
        value = formula(a, b)
        if bool(((value - got).abs() <= TOLERANCE * (1 + value.abs())).all()):
            return name, fix
    return "", ""


def _formulas() -> list[tuple[str, Callable[[Tensor, Tensor], Tensor], str]]:
    def parts(a: Tensor, b: Tensor, clamp: bool = True, plus: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        a, b = to_xyxy(a), to_xyxy(b)
        side = torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2]) + plus
        inter = (side.clamp(min=0) if clamp else side).prod(1)
        return inter, (a[:, 2:] - a[:, :2] + plus).prod(1), (b[:, 2:] - b[:, :2] + plus).prod(1)

    def plain(**keywords: float) -> Callable[[Tensor, Tensor], Tensor]:
        def formula(a: Tensor, b: Tensor) -> Tensor:
            inter, one, two = parts(a, b, bool(keywords.get("clamp", 1)), keywords.get("plus", 0.0))
            return inter / (one + two - inter)

        return formula

    def of(kind: str) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda a, b: corner_iou(to_xyxy(a), to_xyxy(b), kind)  # type: ignore[arg-type]

    def by(divisor: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        def formula(a: Tensor, b: Tensor) -> Tensor:
            inter, one, two = parts(a, b)
            return inter / divisor(inter, one, two)

        return formula

    def corners(eps: float, clamped_areas: bool) -> Callable[[Tensor, Tensor], Tensor]:
        def formula(a: Tensor, b: Tensor) -> Tensor:
            inter = (
                (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
            )
            sides = [each[:, 2:] - each[:, :2] for each in (a, b)]
            one, two = [(s.clamp(min=0) if clamped_areas else s).prod(1) for s in sides]
            union = one + two - inter
            return inter / (union.clamp(min=eps) if clamped_areas else union + eps)

        return formula

    clamp_fix = "clamp each side of the intersection at 0 before multiplying: .clamp(min=0)"
    corner_fix = "boxes are cx, cy, w, h: x1 = cx - w / 2, x2 = cx + w / 2"
    return [
        ("an intersection that is not clamped at 0", plain(clamp=0), clamp_fix),
        ("areas with one pixel added to every side", plain(plus=1.0), "drop the + 1: boxes are continuous"),
        (
            "a union from which the intersection is not taken",
            by(lambda i, a, b: a + b),
            "union = area_a + area_b - intersection",
        ),
        (
            "intersection over the smaller area",
            by(lambda i, a, b: torch.minimum(a, b)),
            "divide by the union",
        ),
        ("intersection over the area of a", by(lambda i, a, b: a), "divide by the union"),
        ("intersection over the area of b", by(lambda i, a, b: b), "divide by the union"),
        ("the intersection alone", by(lambda i, a, b: torch.ones_like(i)), "divide by the union"),
        ("1 - IoU", lambda a, b: 1 - reference(a, b), "return the overlap, not the loss"),
        ("GIoU", of("giou"), 'return the plain IoU; a GIoU loss belongs into loss, as box = "giou"'),
        ("DIoU", of("diou"), 'return the plain IoU; a DIoU loss belongs into loss, as box = "diou"'),
        ("CIoU", of("ciou"), 'return the plain IoU; a CIoU loss belongs into loss, as box = "ciou"'),
        (
            "IoU of the sizes alone",
            lambda a, b: by(lambda i, c, d: c + d - i)(_centred(a), _centred(b)),
            "use the centres too",
        ),
        *[
            ("boxes read as corners x1, y1, x2, y2", corners(eps, clamped), corner_fix)
            for eps in (0.0, 1e-9, 1e-6, 1e-16)
            for clamped in (False, True)
        ],
        (
            "boxes of twice the size (w and h not halved)",
            lambda a, b: reference(_wider(a, 2), _wider(b, 2)),
            corner_fix,
        ),
        (
            "corners from x1 = cx, x2 = cx + w: the centre taken for a corner",
            lambda a, b: reference(_moved(a), _moved(b)),
            corner_fix,
        ),
    ]


def _centred(boxes: Tensor) -> Tensor:
    return torch.cat((torch.zeros_like(boxes[:, :2]), boxes[:, 2:]), 1)


def _wider(boxes: Tensor, factor: float) -> Tensor:
    return torch.cat((boxes[:, :2], boxes[:, 2:] * factor), 1)


def _moved(boxes: Tensor) -> Tensor:
    return torch.cat((boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]), 1)


def _shapes(called: Called) -> list[Finding]:
    """Any number of leading axes, one pair alone included."""
    a, b = pairs()
    for shape in ((2, 4, 5, 4, 4), (40, 4, 4), (1, 4)):
        count = torch.Size(shape).numel() // 4
        one, two = a[:count].reshape(shape), b[:count].reshape(shape)
        got = _values(called, one, two)
        if bool(((got - reference(one, two)).abs() > TOLERANCE).any()):
            finding = Finding(
                "error",
                "iou.shapes",
                "iou",
                f"iou of boxes of shape {list(shape)} differs from that of the same boxes in a row",
                tensor="boxes",
                channels=("x", "y", "w", "h"),
                expected="the same values, whatever axes stand in front",
                got=f"up to {float((got - reference(one, two)).abs().max()):.3g} off",
                fix="index the last axis: a[..., 0], not a[:, 0]",
            )
            return [called.placed(finding)]
    return []


def _inputs(called: Called) -> list[Finding]:
    a, b = pairs()
    one, two = a.clone(), b.clone()
    called.call("iou", one, two)
    if torch.equal(one, a) and torch.equal(two, b):
        return []
    finding = Finding(
        "error",
        "iou.inputs",
        "iou",
        "iou changes the boxes it is given",
        tensor="boxes",
        channels=tuple(
            n
            for k, n in enumerate("xywh")
            if not torch.equal(one[:, k], a[:, k]) or not torch.equal(two[:, k], b[:, k])
        ),
        expected="inputs as they were",
        got="boxes overwritten",
        fix="work on copies: no assignment into a or b, no method that ends in _",
    )
    return [called.placed(finding)]


def _degenerate(called: Called) -> list[Finding]:
    """Boxes without area: a NaN here spreads, but no valid batch holds two of them."""
    box = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 0.0, 0.2]])
    with_area = torch.tensor([[0.5, 0.5, 0.2, 0.2]] * 2)
    alone = called.call("iou", box.clone(), box.clone()).detach()
    beside = called.call("iou", with_area, box.clone()).detach()
    if bool(torch.isfinite(alone).all() & torch.isfinite(beside).all()):
        return []
    decisive = not bool(torch.isfinite(beside).all())
    finding = Finding(
        "error" if decisive else "warning",
        "iou.degenerate",
        "iou",
        "iou is not finite for boxes without area",
        tensor="boxes",
        channels=("w", "h"),
        expected="0",
        got=str(beside.tolist() if decisive else alone.tolist()),
        fix="divide by union.clamp(min=1e-9)",
    )
    return [called.placed(finding)]
