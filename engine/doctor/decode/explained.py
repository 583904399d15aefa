"""What a wrong ``decode`` computes: formulas tried until one gives the user's numbers exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...boxes import to_xyxy
from ...yolo.decode import decode_boxes, grid_cells
from ..inputs import generator
from ..stage import BOX_NAMES, COLUMNS, Stage

SLOTS = 48
NEAR = 3e-4


@dataclass(frozen=True)
class Explained:
    text: str = ""
    fix: str = ""


def explain(stage: Stage, k: int, pred: Tensor, got: Tensor, support: dict[str, set[str]]) -> Explained:
    """Whole-box explanations first (another decode, corners), then a formula for each coordinate."""
    head = stage.heads[k]
    whole = _whole(stage, k, pred, got)
    if whole.text:
        return whole
    flat = got.flatten(0, 3)
    pick = torch.randperm(len(flat), generator=generator(5))[:SLOTS]
    cells = (
        grid_cells(head, pred).expand(*pred.shape[1:4], 2).expand(pred.shape[0], -1, -1, -1, -1).flatten(0, 3)
    )
    numbers = torch.arange(head.anchor_count).expand(pred.shape[:4]).flatten()
    sample = _Sample(pred.flatten(0, 3)[pick], cells[pick], numbers[pick], stage, k)
    declared = [next(iter(_formulas(sample, c, {name}))).text for c, name in enumerate(BOX_NAMES)]
    texts, fixes = [], []
    for c, name in enumerate(BOX_NAMES):
        wanted = flat[pick][:, c]
        found = next((f for f in _formulas(sample, c, support[name]) if _same(f.value(), wanted)), None)
        if found is not None and found.text != declared[c]:
            texts.append(f"{name} = {found.text}")
            fixes.append(f"{name} = {declared[c]}")
    return Explained("it computes " + ", ".join(texts), "; ".join(fixes)) if texts else Explained()


def _whole(stage: Stage, k: int, pred: Tensor, got: Tensor) -> Explained:
    head, layout = stage.heads[k], stage.layout
    own = decode_boxes(pred, head, layout.decode)
    for name in ("yolov2", "yolov5", "linear"):
        if name != layout.decode and _same(decode_boxes(pred, head, name), got):
            return Explained(
                f"it is the {name!r} decode",
                f'declare layout.decode = "{name}", or compute {layout.decode!r}',
            )
    if _same(to_xyxy(own), got):
        return Explained("it returns corners x1 y1 x2 y2", "return cx, cy, w, h")
    if _same(torch.cat((own[..., :2] - own[..., 2:] / 2, own[..., 2:]), -1), got):
        return Explained("it returns the top left corner for the centre", "return cx, cy, w, h")
    return Explained()


@dataclass(frozen=True)
class _Sample:
    raw: Tensor
    cells: Tensor
    anchor: Tensor
    stage: Stage
    head: int


@dataclass(frozen=True)
class _Formula:
    text: str
    value: Callable[[], Tensor]


def _same(a: Tensor, b: Tensor) -> bool:
    return bool(((a - b).abs() <= NEAR * (1 + b.abs())).all())


def _formulas(sample: _Sample, coordinate: int, support: set[str]) -> Iterator[_Formula]:
    """Centre-like and size-like formulas, the likeliest kind first; the first is the declared one
    when ``support`` is the coordinate's own channel."""
    name = BOX_NAMES[coordinate]
    sources = [s for s in (name, *COLUMNS) if s in support]
    sources = list(dict.fromkeys(sources))
    kinds = (_centres, _sizes) if coordinate < 2 else (_sizes, _centres)
    for kind in kinds:
        for source in sources:
            yield from kind(sample, coordinate % 2, source)


def _divisors(sample: _Sample, axis: int) -> list[tuple[str, float]]:
    head = sample.stage.heads[sample.head]
    own, other = (head.grid_w, head.grid_h) if axis == 0 else (head.grid_h, head.grid_w)
    names = ("grid_w", "grid_h") if axis == 0 else ("grid_h", "grid_w")
    side = head.input_w if axis == 0 else head.input_h
    options = [
        (f" / {names[0]}", float(own)),
        (f" / {names[1]}", float(other)),
        ("", 1.0),
        (" / " + ("input_w" if axis == 0 else "input_h"), float(side)),
        (" / stride", float(head.stride)),
        (f" * stride / {names[0]}", own / head.stride),
        (" * stride", 1.0 / head.stride),
        (f" / ({names[0]} - 1)", max(own - 1.0, 1.0)),
        (f" / ({names[0]} + 1)", own + 1.0),
        (f" / {names[0]}^2", float(own) ** 2),
    ]
    seen: dict[float, str] = {}
    for text, value in options:
        seen.setdefault(value, text)
    return [(text, value) for value, text in seen.items()]


def _centres(sample: _Sample, axis: int, source: str) -> Iterator[_Formula]:
    t = sample.raw[:, COLUMNS[source]].squeeze(1)
    declared = {
        "yolov2": ("sigmoid(t)", t.sigmoid()),
        "yolov5": ("2 sigmoid(t) - 0.5", 2 * t.sigmoid() - 0.5),
        "linear": ("t + 0.5", t + 0.5),
    }[sample.stage.layout.decode]
    acts = [
        declared,
        ("t", t),
        ("sigmoid(t)", t.sigmoid()),
        ("sigmoid(sigmoid(t))", t.sigmoid().sigmoid()),
        ("tanh(t)", t.tanh()),
        ("exp(t)", t.exp()),
        ("2 sigmoid(t) - 0.5", 2 * t.sigmoid() - 0.5),
        ("2 sigmoid(t)", 2 * t.sigmoid()),
        ("2 t - 0.5", 2 * t - 0.5),
        ("t + 0.5", t + 0.5),
        ("sigmoid(t) - 0.5", t.sigmoid() - 0.5),
        ("relu(t)", t.relu()),
    ]
    lines = ("column", "row") if axis == 0 else ("row", "column")
    own, other = sample.cells[:, axis], sample.cells[:, 1 - axis]
    bases = [
        (f" + {lines[0]}", own),
        (f" + {lines[1]}", other),
        (f" + {lines[0]} + 1", own + 1),
        (f" + {lines[0]} - 1", own - 1),
        (f" + {lines[0]} + 0.5", own + 0.5),
        (f" + {lines[0]} - 0.5", own - 0.5),
        (f" - {lines[0]}", -own),
        (f" + stride * {lines[0]}", own * sample.stage.heads[sample.head].stride),
        ("", torch.zeros_like(own)),
    ]
    for divided, divisor in _divisors(sample, axis):
        for added, base in bases:
            for act, value in acts:
                text = f"({_shown(act, source)}{added}){divided}"
                yield _Formula(text, lambda v=value, b=base, d=divisor: (v + b) / d)  # type: ignore[misc]


def _shown(act: str, source: str) -> str:
    """``sigmoid(t)`` of channel x is ``sigmoid(tx)``."""
    return act.replace("(t)", f"(t{source})") if "(t)" in act else act.replace("t", f"t{source}", 1)


def _sizes(sample: _Sample, axis: int, source: str) -> Iterator[_Formula]:
    head = sample.stage.heads[sample.head]
    t = sample.raw[:, COLUMNS[source]].squeeze(1)
    squared = ("(2 sigmoid(t))^2", (2 * t.sigmoid()) ** 2)
    acts = [
        squared if sample.stage.layout.decode == "yolov5" else ("exp(t)", t.exp()),
        ("exp(t)", t.exp()),
        ("t", t),
        ("sigmoid(t)", t.sigmoid()),
        squared,
        ("exp(sigmoid(t))", t.sigmoid().exp()),
        ("exp(t)^2", (2 * t).exp()),
        ("exp(t / 2)", (t / 2).exp()),
        ("exp(-t)", (-t).exp()),
        ("2 exp(t)", 2 * t.exp()),
        ("exp(t) / 2", t.exp() / 2),
        ("(1 + t)", 1 + t),
        ("2^t", 2**t),
        ("4 sigmoid(t)", 4 * t.sigmoid()),
        ("2 sigmoid(t)", 2 * t.sigmoid()),
        ("sigmoid(t)^2", t.sigmoid() ** 2),
        ("t^2", t**2),
        ("softplus(t)", torch.nn.functional.softplus(t)),
    ]
    anchors = head.anchors.float()
    letters = ("anchor_w", "anchor_h") if axis == 0 else ("anchor_h", "anchor_w")
    own, other = anchors[:, axis], anchors[:, 1 - axis]
    tables = [
        (f"{letters[0]} * ", own),
        (f"{letters[1]} * ", other),
        (f"{letters[0]} (anchors in reverse order) * ", own.flip(0)),
        (f"{letters[0]} (of the next anchor) * ", own.roll(-1)),
        (f"{letters[0]} (of the anchor before) * ", own.roll(1)),
        (f"{letters[0]} (of the first anchor) * ", own[:1].expand_as(own)),
        (f"{letters[0]}^2 * ", own**2),
        (f"sqrt({letters[0]}) * ", own.sqrt()),
        ("", torch.ones_like(own)),
    ]
    for divided, divisor in _divisors(sample, axis):
        for scaled, table in tables:
            factor = table[sample.anchor]
            for act, value in acts:
                shown = (
                    act.replace("(t)", f"(t{source})") if "(t)" in act else act.replace("t", f"t{source}", 1)
                )
                yield _Formula(f"{scaled}{shown}{divided}", lambda v=value, f=factor, d=divisor: v * f / d)  # type: ignore[misc]
