"""The user's ``decode`` alone: values, which channel influences which coordinate, gradients, inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ...boxes import to_xyxy
from ..calling import Called
from ..findings import Finding, Table
from ..inputs import decoded, noise
from ..stage import BOX_NAMES, GROUPS, Stage, columns
from .explained import explain

Results = Iterator[tuple[str, list[Finding]]]
TOLERANCE = 2e-4
BATCH = 2


def probe_decode(called: Called, stage: Stage, tables: list[Table]) -> Results:
    """Random logits (several scales, zero among them) on every head."""
    findings: list[Finding] = []
    for k in range(len(stage.heads)):
        preds = [noise(stage, BATCH, seed, scale)[k] for seed, scale in ((1, 1.0), (2, 0.3), (3, 0.0))]
        outputs = [_canonical(called, stage, k, pred) for pred in preds]
        if k == 0:
            yield "decode.call", []
        expected = [_expected(stage, k, pred) for pred in preds]
        table = influence(called, stage, k, preds[0])
        if k == 0 and stage.name == "own":
            tables.append(table)
        findings = _judged(called, stage, k, preds, outputs, expected, table)
        if findings:
            break
    yield "decode.influence", [f for f in findings if f.probe == "decode.influence"]
    yield "decode.values", [f for f in findings if f.probe == "decode.values"]
    if not findings:
        yield "decode.inputs", _inputs(called, stage)
        yield "decode.grad", _without_grad(called, stage)


def _expected(stage: Stage, k: int, pred: Tensor) -> Tensor:
    preds = [torch.zeros(BATCH, h.grid_h, h.grid_w, h.anchor_count, 5 + h.classes) for h in stage.heads]
    preds[k] = pred
    return decoded(stage, preds)[k]


def _canonical(called: Called, stage: Stage, k: int, pred: Tensor) -> Tensor:
    """What the user's decode makes of a canonical prediction, on canonical axes ``[B, H, W, A, 4]``."""
    head = stage.heads[k]
    handed = stage.layout.write_pred(pred, head).clone()
    got = called.call("decode", handed, head)
    expected = list(stage.layout.from_canonical_axes(pred[..., :4]).shape)
    if not isinstance(got, Tensor) or list(got.shape) != expected:
        what = f"shape {list(got.shape)}" if isinstance(got, Tensor) else type(got).__name__
        raise called.refusal(
            "decode",
            "shape",
            f"decode of a pred of shape {list(handed.shape)} returns {what}",
            expected=f"shape {expected}: the axes of pred, 4 channels cx, cy, w, h",
            got=what,
            fix="return torch.cat((xy, wh), -1) on the declared axes",
        )
    return stage.layout.to_canonical_axes(got.detach().float().contiguous(), head, 4)


def influence(called: Called, stage: Stage, k: int, pred: Tensor) -> Table:
    """Mean absolute change of each coordinate when one channel group of every slot is moved."""
    before = _canonical(called, stage, k, pred)
    rows = []
    for group in GROUPS:
        moved = pred.clone()
        moved[..., columns(group)] += 0.37
        change = (_canonical(called, stage, k, moved) - before).abs().nan_to_num(1.0)
        rows.append(tuple(change.flatten(0, 3).mean(0).tolist()))
    expected = tuple(tuple(group == name for name in BOX_NAMES) for group in GROUPS)
    return Table(
        "decode: which channel of pred moves which coordinate", GROUPS, BOX_NAMES, tuple(rows), expected
    )


def read_by(table: Table) -> dict[str, set[str]]:
    """Coordinate -> the channel groups that move it."""
    return {
        name: {table.rows[r] for r in range(len(table.rows)) if table.got[r][c] > 1e-7}
        for c, name in enumerate(table.columns)
    }


def _judged(
    called: Called,
    stage: Stage,
    k: int,
    preds: list[Tensor],
    outputs: list[Tensor],
    expected: list[Tensor],
    table: Table,
) -> list[Finding]:
    off = [~((o - e).abs() <= TOLERANCE * (1 + e.abs())) for o, e in zip(outputs, expected, strict=True)]
    wrong = [name for c, name in enumerate(BOX_NAMES) if any(bool(o[..., c].any()) for o in off)]
    support = read_by(table)
    misread = [name for name in BOX_NAMES if support[name] != {name}]
    if not wrong and not (set(misread) - set(wrong) and _gross(support)):
        return []
    if _only_clipped(outputs, expected):
        return []
    read = set().union(*support.values())
    extra_or_missing = [g for g in GROUPS if (g in read) != (g in BOX_NAMES)]
    channels = tuple(extra_or_missing or misread or wrong)
    first = off[0] if bool(off[0].any()) else off[-1]
    place = first.any(-1).nonzero()
    cell = tuple(place[0].tolist()) if len(place) else (0, 0, 0, 0)
    slots = int(first.any(-1).sum())
    explained = explain(stage, k, preds[0], outputs[0], support)
    head = f" (head {k})" if len(stage.heads) > 1 else ""
    if misread:
        probe = "decode.influence"
        reads = ", ".join(f"{name} from {'+'.join(sorted(support[name])) or 'nothing'}" for name in misread)
        message = f"decode takes {reads}{head}"
        fix = f"slice {stage.raw(BOX_NAMES)} for x y w h (conf is {stage.raw(['conf'])})"
    else:
        probe = "decode.values"
        message = f"decode reads the right channels, but computes {' '.join(wrong)} otherwise{head}"
        fix = explained.fix or "compare with the declared decode: " + _formula(stage)
    if explained.text:
        message += f"; {explained.text}"
        fix = fix if misread else (explained.fix or fix)
    message += f"; {slots} of {first[..., 0].numel()} slots differ from the declared {stage.layout.decode!r}"
    index = cell
    finding = Finding(
        "error",
        probe,
        "decode",
        message,
        tensor="pred",
        channels=channels,
        expected=_four(expected[0][index]) + f" ({_formula(stage)})",
        got=_four(outputs[0][index]),
        fix=fix,
        cell=cell,
    )
    return [called.placed(finding)]


def _gross(support: dict[str, set[str]]) -> bool:
    """A coordinate moved by a channel of another kind, and not merely by rounding."""
    return any("conf" in read or "class" in read for read in support.values())


def _only_clipped(outputs: list[Tensor], expected: list[Tensor]) -> bool:
    """Boxes cut to the picture are the declared boxes: nothing but what lies outside differs."""
    for got, wanted in zip(outputs, expected, strict=True):
        if not bool(((got - wanted.clamp(0, 1)).abs() <= TOLERANCE).all()):
            return False
    return True


def _four(values: Tensor) -> str:
    return " ".join(f"{name}={value:.4g}" for name, value in zip(BOX_NAMES, values.tolist(), strict=True))


def _formula(stage: Stage) -> str:
    if stage.layout.decode == "yolov2" and any(head.scale_xy != 1 for head in stage.heads):
        stretched = "x = (s sigmoid(tx) - (s - 1) / 2 + column) / grid_w with s = head.scale_xy"
        return f"{stretched}, w = anchor_w * exp(tw) / grid_w"
    return {
        "yolov2": "x = (sigmoid(tx) + column) / grid_w, w = anchor_w * exp(tw) / grid_w",
        "yolov5": "x = (2 sigmoid(tx) - 0.5 + column) / grid_w, w = anchor_w * (2 sigmoid(tw))^2 / grid_w",
        "linear": "x = (tx + 0.5 + column) / grid_w, w = anchor_w * exp(tw) / grid_w",
    }[stage.layout.decode]


def _inputs(called: Called, stage: Stage) -> list[Finding]:
    head = stage.heads[0]
    pred = noise(stage, BATCH, 1)[0]
    handed = stage.layout.write_pred(pred, head).clone()
    before = handed.clone()
    anchors = head.anchors.clone()
    called.call("decode", handed, head)
    if torch.equal(handed, before) and torch.equal(head.anchors, anchors):
        return []
    changed = stage.layout.read_pred(handed, head) != stage.layout.read_pred(before, head)
    names = tuple(group for group in GROUPS if bool(changed[..., columns(group)].any()))
    head.anchors.copy_(anchors)
    finding = Finding(
        "error",
        "decode.inputs",
        "decode",
        f"decode writes into its input ({' '.join(names) or 'head.anchors'})",
        tensor="pred",
        channels=names,
        expected="pred and head as they were",
        got="overwritten",
        fix="assign to a copy: boxes = torch.empty_like(...), never pred[...] = ... or sigmoid_()",
    )
    return [called.placed(finding)]


def _without_grad(called: Called, stage: Stage) -> list[Finding]:
    """The same boxes within ``torch.no_grad()``, where detect calls it, as with gradients, where loss does.

    Only those that lie in the picture as a whole: what sticks out may be cut where nothing is learnt.
    """
    head = stage.heads[0]
    pred = noise(stage, BATCH, 1)[0]
    handed = stage.layout.write_pred(pred, head)
    usual = _canonical(called, stage, 0, pred)
    given = called.call_without_grad("decode", handed.clone(), head)
    if not isinstance(given, Tensor) or given.numel() != usual.numel():
        return [called.placed(_grad_finding(BOX_NAMES, "another shape"))]
    bare = stage.layout.to_canonical_axes(given.detach().float().contiguous(), head, 4)
    corners = to_xyxy(usual)
    whole = ((corners >= 0) & (corners <= 1)).all(-1, keepdim=True)
    off = whole & ~((bare - usual).abs() <= TOLERANCE * (1 + usual.abs()))
    if not bool(off.any()):
        return []
    at = tuple(off.any(-1).nonzero()[0].tolist())
    names = tuple(name for c, name in enumerate(BOX_NAMES) if bool(off[..., c].any()))
    got = f"{_four(bare[at])} without gradients, {_four(usual[at])} with them"
    return [called.placed(replace(_grad_finding(names, got), cell=at))]


def _grad_finding(names: tuple[str, ...], got: str) -> Finding:
    return Finding(
        "error",
        "decode.grad",
        "decode",
        f"decode gives another {' '.join(names)} within torch.no_grad(): detect sees other boxes than loss",
        tensor="pred",
        channels=names,
        expected="the same boxes with gradients and without",
        got=got,
        fix="no branch on torch.is_grad_enabled() or requires_grad; make pixels in detect",
    )


def cuts_gradient(called: Called, stage: Stage) -> tuple[str, ...]:
    """The box channels through which no gradient comes back, where the reference has one."""
    head = stage.heads[0]
    pred = noise(stage, BATCH, 1)[0].requires_grad_()
    got = called.call("decode", stage.layout.write_pred(pred, head), head)
    if not isinstance(got, Tensor) or not got.requires_grad:
        return BOX_NAMES
    (moved,) = torch.autograd.grad(got.sum(), pred, allow_unused=True)
    if moved is None:
        return BOX_NAMES
    return tuple(name for name in BOX_NAMES if not bool((moved[..., columns(name)] != 0).any()))
